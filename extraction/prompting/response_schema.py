"""The wire schema: the JSON schema that the server's grammar is built from.

Lighter than the pydantic schema, which judges the reply afterwards: only what all grammars know, `$ref`
resolved, and bounds on strings only for grammars that take them cheaply (xgrammar decodes at 870 tokens/s with
`maxLength` and 5,070 without on one H100; llguidance and llama.cpp hardly notice).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import BaseModel

from extraction.schema.arrow_types import Node, definition_of
from extraction.schema.profile_model import json_schema

TEXT_TYPES = frozenset({"title", "description", "default", "examples", "$defs"})
SHAPE = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "prefixItems", "enum", "const", "anyOf"}
)
LIST_BOUNDS = frozenset({"minItems", "maxItems"})
STRING_BOUNDS = frozenset({"minLength", "maxLength"})
FORMATS = {  # that grammars know, and how a prompt tells them
    "date": "YYYY-MM-DD",
    "date-time": "YYYY-MM-DDThh:mm:ss",
    "time": "hh:mm:ss",
    "uuid": "a UUID",
}


def wire_schema(model: type[BaseModel], *, bounded: bool) -> dict[str, Any]:
    """The schema to send: `bounded` keeps the lengths of strings; list limits and the form of dates stay in any
    case.

    Bounds on numbers never go out: xgrammar 0.2.1 accepts 121 for 5..120 and refuses 0.5 for at least 0.
    """
    kept = SHAPE | LIST_BOUNDS | (STRING_BOUNDS if bounded else frozenset())
    return _light(model, lambda key, value: key in kept or (key == "format" and value in FORMATS))


def judging_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What replies are held to afterwards: the wire schema with all its bounds, without the texts."""
    return _light(model, lambda key, value: key not in TEXT_TYPES)


@cache
def _shape(model: type[BaseModel]) -> Draft202012Validator:
    return Draft202012Validator(_light(model, lambda key, value: key in SHAPE, closed=False))


def has_shape(value: Any, model: type[BaseModel]) -> bool:
    """Whether a reply has the fields and JSON types that were asked for; what grammars can't be asked for (bounds,
    patterns, dates, validators) does not count."""
    return bool(_shape(model).is_valid(value))


def unknown_keys(value: Any, model: type[BaseModel]) -> list[str]:
    """The keys of an example that the model does not write, such as a field's alias."""
    wire = Draft202012Validator(wire_schema(model, bounded=False))
    errors = (error for error in wire.iter_errors(value) if error.validator == "additionalProperties")
    return [key for error in errors for key in error.instance if key not in error.schema["properties"]]


def _light(model: type[BaseModel], keep: Callable[[str, Any], bool], *, closed: bool = True) -> dict[str, Any]:
    """The schema of a model with the keywords to keep. Closed, every field has to be written, and no other."""
    schema = json_schema(model, "validation")
    definitions: Node = schema.get("$defs", {})

    def light(node: Any) -> Any:
        if isinstance(node, list):
            return [light(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return light(definitions[definition_of(node)])
        # Few grammars know oneOf.
        named = {"anyOf" if key == "oneOf" else key: value for key, value in node.items()}
        made = {
            key: {name: light(part) for name, part in value.items()} if key == "properties" else light(value)
            for key, value in named.items()
            if keep(key, value)
        }
        if closed and made.get("type") == "object" and "properties" in made:
            made["required"] = list(made["properties"])
            made["additionalProperties"] = False
        return made

    lightened: dict[str, Any] = light(schema)
    return lightened
