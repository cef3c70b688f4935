"""What is said to the model: instructions, worked examples as chat turns, then the document.

All but the last message is the same for every request of a run, so a server's prefix cache holds it.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_jsonable_python

from extraction.documents import KnownCompany
from extraction.errors import OperatorError
from extraction.prompting.response_schema import FORMATS, complete, unknown_keys, without_empty
from extraction.schema.arrow_types import Node, members_of
from extraction.schema.profile_model import json_schema, shape_of

Message = Mapping[str, str]  # role and content
SPECIAL_TOKEN = re.compile(r"<(?=\|[^|<>\s]{1,40}\|>|/?(?:bos|eos|pad|unk|s|start_of_turn|end_of_turn)>)")


class Example(BaseModel):
    """A document and the profile that is right for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    company_name: str | None = Field(
        default=None, description="Name of the company that is meant, where the example's input knows it"
    )
    website: str | None = Field(
        default=None, description="Website of that company, where the example's input knows it"
    )
    title: str | None = Field(default=None, description="The document's title")
    text: str = Field(description="The document's text")
    profile: Annotated[dict[str, Any], AfterValidator(to_jsonable_python)] = Field(  # YAML has dates of its own
        description="The reply that is right for it; it has to fit the profile model"
    )


class Prompt(BaseModel):
    """Instructions and examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instructions: str = Field(
        min_length=1,
        description="The system message; `{fields}` becomes the list of fields with their descriptions, `{schema}` "
        "the JSON schema",
    )
    examples: tuple[Example, ...] = Field(
        default=(), description="Worked examples, each sent as a user message and the reply to it"
    )
    unstated: Literal["null", "omitted"] = Field(
        default="null",
        description="How a reply says that the text does not state a field: by `null` (`[]` for a list), or by "
        "leaving it out (`omitted`), which takes fewer tokens; the instructions have to say the same",
    )

    def messages(self, model: type[BaseModel], content: str) -> list[Message]:
        """The chat for one chunk, its content as the last user message."""
        guides = {"{fields}": field_guide, "{schema}": compact_schema}
        instructions = self.instructions.strip()
        for place, guide in guides.items():
            if place in instructions:
                instructions = instructions.replace(place, guide(model))
        turns: list[Message] = [{"role": "system", "content": instructions}]
        for example in self.examples:
            profile = json.dumps(self._written(example.profile, model), ensure_ascii=False)
            known = KnownCompany(example.company_name, example.website)
            shown = known_header(known) + content_of(example.title, without_special_tokens(example.text.strip()))[0]
            turns.append({"role": "user", "content": shown})
            turns.append({"role": "assistant", "content": profile})
        return [*turns, {"role": "user", "content": content}]

    @property
    def optional(self) -> bool:
        """Whether a reply may leave fields out."""
        return self.unstated == "omitted"

    def _written(self, profile: Any, model: type[BaseModel]) -> Any:
        """An example's profile as a reply is to be written."""
        return without_empty(profile, model) if self.optional else profile

    def check(self, model: type[BaseModel]) -> None:
        """Raise OperatorError unless every example's profile is one that the model type accepts."""
        for number, example in enumerate(self.examples, start=1):
            profile = copy.deepcopy(example.profile)
            if self.optional:
                complete(profile, model, {})
            if reason := _misfit(profile, model):
                raise OperatorError(
                    f"example {number} of the prompt is no {model.__name__} ({reason}): give a prompt of its own, "
                    "or leave the examples out with --set prompt.examples=[]"
                )


def _misfit(profile: dict[str, Any], model: type[BaseModel]) -> str | None:
    """What is wrong with the profile of an example, which has to be a reply as the model is asked for one."""
    try:
        model.model_validate_json(json.dumps(profile), by_alias=True, by_name=True)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except Exception as error:  # a validator's own
        return f"{type(error).__name__}: {error}"
    unknown = unknown_keys(profile, model)
    return f"{unknown[0]!r} is no field's name: write names, without aliases" if unknown else None


def prompt_digest(prompt: Mapping[str, Any] | None) -> str:
    """What tells a prompt, as settings are written down, from others."""
    return hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()[:16]


def content_of(title: str | None, text: str) -> tuple[str, int]:
    """The user message for a piece of a document, and where in it the piece begins.

    The piece stands there as it is: cleaning has changed what a template would read, and noted where.
    """
    name = without_special_tokens(" ".join((title or "").split()))
    header = "" if _opens_with(text, name) else f"# {name}\n\n"
    return header + text, len(header)


def known_header(known: KnownCompany) -> str:
    """The line before a text whose company the input knows; nothing where it knows none."""
    names = ", ".join(" ".join(part.split()) for part in (known.name, known.website) if part)
    return without_special_tokens(f"COMPANY: {names}\n\n") if names else ""


def without_special_tokens(text: str) -> str:
    """The text without what a chat template would read as a turn of its own, such as `<|im_end|>`.

    One character of it becomes another that looks alike, so the text is as long as before.
    """
    return SPECIAL_TOKEN.sub("‹", text)


def _opens_with(text: str, name: str) -> bool:
    """Whether the text's first lines say the name already, or there is none."""
    opening = text.lstrip()[: 2 * len(name) + 40]
    return name.casefold() in " ".join(opening.split()).casefold()


@lru_cache(maxsize=16)  # each request's instructions hold it, and a model's schema takes milliseconds
def compact_schema(model: type[BaseModel]) -> str:
    """The JSON schema of a profile model in as few characters as it takes."""
    return json.dumps(json_schema(model, "validation"), ensure_ascii=False, separators=(",", ":"))


def _form(shape: Node) -> str:
    """How a value is written where it is no free text or number."""
    if shape.get("type") == "boolean":
        return "true | false"
    return " | ".join(map(str, members_of(shape))) or FORMATS.get(shape.get("format", ""), "")


@lru_cache(maxsize=16)  # each request's instructions hold it, and a model's schema takes milliseconds
def field_guide(model: type[BaseModel], indent: str = "") -> str:
    """The fields of a profile model, a line each, as the instructions list them."""
    lines = []
    for name, described in _properties(json_schema(model, "validation")):
        lines.append(f"{indent}- {name}: {described}" if described else f"{indent}- {name}")
    return "\n".join(lines)


def _properties(schema: Node) -> list[tuple[str, str]]:
    """Dotted names and descriptions of a schema's leaves, lists of objects as `name[].part`."""
    definitions = schema.get("$defs", {})

    def walk(node: Node, prefix: str) -> list[tuple[str, str]]:
        leaves: list[tuple[str, str]] = []
        for name, inner in node["properties"].items():
            path, shape, described = prefix + name, shape_of(inner, definitions), inner.get("description", "")
            if shape.get("type") == "array" and "items" in shape:
                path, shape = path + "[]", shape_of(shape["items"], definitions)
            if form := _form(shape):
                described = f"{described} ({form})".strip()
            leaves += walk(shape, path + ".") if "properties" in shape else [(path, described)]
        return leaves

    return walk(schema, "")
