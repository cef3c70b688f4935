"""What is said to the model: instructions, worked examples as chat turns, then the document.

All but the last message is the same for every request of a run, so a server's prefix cache holds it.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.documents import Known
from extraction.errors import OperatorError

Message = Mapping[str, str]  # role and content
DEFUSED = re.compile(r"<(?=\|[^|<>\s]{1,40}\|>|/?(?:bos|eos|pad|unk|s|start_of_turn|end_of_turn)>)")


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
    profile: dict[str, Any] = Field(description="The reply that is right for it; it has to fit the profile model")


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
    shown: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        description="Numbers of the examples that are sent, from 1, in this order; `null` sends all",
    )

    def messages(self, model: type[BaseModel], content: str) -> list[Message]:
        """The chat for one chunk, its content as the last user message."""
        told = {"{fields}": field_guide, "{schema}": compact_schema}
        instructions = self.instructions.strip()
        for place, tell in told.items():
            if place in instructions:
                instructions = instructions.replace(place, tell(model))
        turns: list[Message] = [{"role": "system", "content": instructions}]
        for example in self._shown():
            profile = json.dumps(example.profile, ensure_ascii=False)
            known = Known(example.company_name, example.website)
            shown = known_header(known) + content_of(example.title, defused(example.text.strip()))[0]
            turns.append({"role": "user", "content": shown})
            turns.append({"role": "assistant", "content": profile})
        return [*turns, {"role": "user", "content": content}]

    def _shown(self) -> list[Example]:
        """The examples in the order in which they are shown."""
        numbers = range(1, len(self.examples) + 1) if self.shown is None else self.shown
        return [self.examples[number - 1] for number in numbers]

    def check(self, model: type[BaseModel]) -> None:
        """Raise OperatorError unless every example's profile is one that the model type accepts."""
        last = max(self.shown or (0,))
        if last > len(self.examples):
            raise OperatorError(f"prompt.shown: there is no example {last}, the last is {len(self.examples)}")
        for number, example in enumerate(self.examples, start=1):
            try:
                model.model_validate(example.profile)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise OperatorError(
                    f"example {number} of the prompt is no {model.__name__}: {where}: {first['msg']}"
                ) from error


def prompt_digest(prompt: Mapping[str, Any] | None) -> str:
    """What tells a prompt, as settings are written down, from others."""
    return hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()[:16]


def content_of(title: str | None, text: str) -> tuple[str, int]:
    """The user message for a piece of a document, and where in it the piece begins.

    The piece stands there as it is: cleaning has defused it, and told where.
    """
    name = defused(" ".join((title or "").split()))
    header = "" if _opens_with(text, name) else f"# {name}\n\n"
    return header + text, len(header)


def known_header(known: Known) -> str:
    """The line before a text whose company the input knows; nothing where it knows none."""
    told = ", ".join(" ".join(part.split()) for part in (known.name, known.website) if part)
    return defused(f"COMPANY: {told}\n\n") if told else ""


def defused(text: str) -> str:
    """The text without what a chat template would read as a turn of its own, such as `<|im_end|>`.

    One character of it becomes another that looks alike, so the text is as long as before.
    """
    return DEFUSED.sub("‹", text)


def _opens_with(text: str, name: str) -> bool:
    """Whether the text's first lines say the name already, or there is none."""
    opening = text.lstrip()[: 2 * len(name) + 40]
    return name.casefold() in " ".join(opening.split()).casefold()


@lru_cache(maxsize=16)  # each request's instructions hold it, and a model's schema takes milliseconds
def compact_schema(model: type[BaseModel]) -> str:
    """The JSON schema of a profile model in as few characters as it takes."""
    return json.dumps(model.model_json_schema(), ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=16)  # each request's instructions hold it, and a model's schema takes milliseconds
def field_guide(model: type[BaseModel], indent: str = "") -> str:
    """The fields of a profile model, a line each, as the instructions list them."""
    lines = []
    for name, described in _properties(model.model_json_schema()):
        lines.append(f"{indent}- {name}: {described}" if described else f"{indent}- {name}")
    return "\n".join(lines)


def _properties(schema: dict[str, Any]) -> list[tuple[str, str]]:
    """Dotted names and descriptions of a schema's leaves, lists of objects as `name[].part`."""
    definitions = schema.get("$defs", {})

    def shape_of(node: dict[str, Any]) -> dict[str, Any]:
        """What a value looks like, optional or not, wherever that is defined."""
        if "$ref" in node:
            return shape_of(definitions[node["$ref"].rsplit("/", 1)[1]])
        options = [option for option in node.get("anyOf", []) if option.get("type") != "null"]
        return shape_of(options[0]) if len(options) == 1 else node

    def walk(node: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for name, inner in node["properties"].items():
            path, shape, described = prefix + name, shape_of(inner), inner.get("description", "")
            if shape.get("type") == "array":
                path, shape = path + "[]", shape_of(shape["items"])
            if "enum" in shape:
                described = f"{described} ({' | '.join(map(str, shape['enum']))})".strip()
            found += walk(shape, path + ".") if "properties" in shape else [(path, described)]
        return found

    return walk(schema, "")
