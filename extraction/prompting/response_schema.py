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
from extraction.schema.profile_model import json_schema, shape_of

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


def wire_schema(model: type[BaseModel], *, bounded: bool, optional: bool = False) -> dict[str, Any]:
    """The schema to send: `bounded` keeps the lengths of strings; list limits and the form of dates stay in any
    case. `optional` requires only what can't be empty, so that a reply may leave out what the text does not state.

    Bounds on numbers never go out: xgrammar 0.2.1 accepts 121 for 5..120 and refuses 0.5 for at least 0.
    """
    kept = SHAPE | LIST_BOUNDS | (STRING_BOUNDS if bounded else frozenset())
    return _light(
        model, lambda key, value: key in kept or (key == "format" and value in FORMATS), optional=optional
    )


def _empty(node: Node) -> Any:
    """What says that a value is not stated: null, [], or an object of such values; Ellipsis where nothing does."""
    options = node.get("anyOf", [node])
    if any(option.get("type") == "null" for option in options):
        return None
    if len(options) > 1:
        return ...
    kind, parts = options[0].get("type"), options[0].get("properties", {})
    if kind == "array" and not options[0].get("minItems"):
        return []
    return {} if kind == "object" and all(_empty(inner) is not Ellipsis for inner in parts.values()) else ...


def complete(value: Any, model: type[BaseModel], mirrors: dict[int, Any]) -> None:
    """Write into a reply what it leaves out, as null, [] or an object of such; `mirrors` has its scores."""
    _complete(value, _shape(model), mirrors)


def _complete(value: Any, node: Node, mirrors: dict[int, Any]) -> None:
    shape = shape_of(node, {})
    if isinstance(value, list):
        for item in value:
            if isinstance(item, (list, dict)):
                _complete(item, shape.get("items", {}), mirrors)
    properties = shape.get("properties", {})
    if not isinstance(value, dict) or not value.keys() <= properties.keys():  # one of aliases says what it means
        return
    scores = mirrors.get(id(value), {})
    for name, inner in properties.items():
        if name not in value and (empty := _empty(inner)) is not Ellipsis:
            value[name], scores[name] = empty, None
    for name, part in value.items():
        if isinstance(part, (list, dict)):
            _complete(part, properties[name], mirrors)


def without_empty(value: Any, model: type[BaseModel]) -> Any:
    """A profile without what a reply may leave out."""
    return _without_empty(value, _shape(model))


def _without_empty(value: Any, node: Node) -> Any:
    shape = shape_of(node, {})
    if isinstance(value, list):
        return [_without_empty(item, shape.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties = shape.get("properties", {})
    left = {name: _without_empty(inner, properties.get(name, {})) for name, inner in value.items()}
    return {k: v for k, v in left.items() if k not in properties or v != _empty(properties[k])}


def judging_schema(model: type[BaseModel]) -> dict[str, Any]:
    """What replies are held to afterwards: the wire schema with all its bounds, without the texts."""
    return _light(model, lambda key, value: key not in TEXT_TYPES)


@cache
def _shape(model: type[BaseModel]) -> Node:
    return _light(model, lambda key, value: key in SHAPE, closed=False)


@cache
def _shape_validator(model: type[BaseModel]) -> Draft202012Validator:
    return Draft202012Validator(_shape(model))


def misshapen(value: Any, model: type[BaseModel]) -> tuple[int | str, ...] | None:
    """A place in a reply that lacks a field or has another JSON type than was asked for; None where there is none.
    What grammars can't be asked for (bounds, patterns, dates, validators) does not count."""
    return next((tuple(error.absolute_path) for error in _shape_validator(model).iter_errors(value)), None)


def unknown_keys(value: Any, model: type[BaseModel]) -> list[str]:
    """The keys of an example that the model does not write, such as a field's alias."""
    wire = Draft202012Validator(wire_schema(model, bounded=False))
    errors = (error for error in wire.iter_errors(value) if error.validator == "additionalProperties")
    return [key for error in errors for key in error.instance if key not in error.schema["properties"]]


def _light(
    model: type[BaseModel], keep: Callable[[str, Any], bool], *, closed: bool = True, optional: bool = False
) -> dict[str, Any]:
    """The schema of a model with the keywords to keep. Closed, every field has to be written, unless it is
    `optional` to write what can be empty, and no other."""
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
            parts = made["properties"].items()
            made["required"] = [name for name, part in parts if not optional or _empty(part) is Ellipsis]
            made["additionalProperties"] = False
        return made

    lightened: dict[str, Any] = light(schema)
    return lightened
