"""Answers: what a chat request asks for, and the deterministic completion that it gets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

Schema = dict[str, Any]

WORD = re.compile(r"\w+(?:[&'’.-]\w+)*")
INTEGER = re.compile(r"(?<![\w.,-])-?\d{1,15}(?!\w|[.,]\d)")
NUMBER = re.compile(r"(?<![\w.,-])-?\d{1,15}(?:\.\d{1,9})?(?!\w|[.,]\d)")
FORMATS = {  # format -> what to look for in the text, and what stands in for it
    "uri": (r"^https?://\S*\w$", "https://example.com/"),
    "email": (r"^[\w.+-]+@[\w-]+\.[\w.]*\w$", "nobody@example.com"),
    "date": (r"^\d{4}-\d\d-\d\d$", "2000-01-01"),
    "date-time": (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "2000-01-01T00:00:00Z"),
}
DEEPEST = 12  # below this level optional things are left out, so that recursive schemas end


class BadRequest(ValueError):
    """A request that the server answers with 400 and this message."""


class Filler:
    """Fills one schema with values taken from one text, the same ones each time."""

    def __init__(self, root: Schema, text: str) -> None:
        self.root = root
        self.text = text
        self.words = WORD.findall(text)
        self.runs = list(capitalised_runs(text))
        self.digest = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        self.strings = 0

    def value(self, schema: Schema, *, nullable: bool = False, depth: int = 0) -> Any:
        """A value valid for the schema; null only where the text offers nothing and null is allowed."""
        schema = self._resolved(schema)
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self._choice(options, nullable, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._enum(schema["enum"], nullable)
        kind, nullable = kind_of(schema, nullable)
        if kind == "null" or (nullable and depth > DEEPEST):
            return None
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "boolean":
            return self.digest % 2 == 0
        if kind == "string":
            return self._string(schema, nullable)
        if kind in ("integer", "number"):
            return self._number(schema, nullable, integer=kind == "integer")
        raise BadRequest(f"Failed to compile json grammar: unknown type {kind!r}")

    def _resolved(self, schema: Schema) -> Schema:
        if not isinstance(schema, dict):
            raise BadRequest(f"Failed to compile json grammar: {schema!r} is no schema")
        for part in schema.get("allOf", []):
            schema = {**self._resolved(part), **{k: v for k, v in schema.items() if k != "allOf"}}
        if "$ref" not in schema:
            return schema
        node: Any = self.root
        try:
            for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
                node = node[step.replace("~1", "/").replace("~0", "~")] if step else node
        except (KeyError, TypeError):
            raise BadRequest(f"Failed to compile json grammar: cannot find {schema['$ref']}") from None
        return self._resolved({**node, **{k: v for k, v in schema.items() if k != "$ref"}})

    def _choice(self, options: list[Schema], nullable: bool, depth: int) -> Any:
        some = [option for option in options if self._resolved(option).get("type") != "null"]
        nullable = nullable or len(some) < len(options)
        if not some or (nullable and depth > DEEPEST):
            return None
        return self.value(some[0], nullable=nullable, depth=depth + 1)

    def _enum(self, members: list[Any], nullable: bool) -> Any:
        for member in members:
            if isinstance(member, str) and re.search(rf"\b{re.escape(member)}\b", self.text, re.I):
                return member
        return None if nullable or None in members else members[self.digest % len(members)]

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        if not properties and isinstance(extra, dict):
            properties = {self._string({}, nullable=False): extra}
        return {name: self.value(part, depth=depth + 1) for name, part in properties.items()}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        wanted = 1 + self.digest % 2 if depth <= DEEPEST else 0
        count = max(least, min(wanted, schema.get("maxItems", wanted)))
        first = schema.get("prefixItems", [])[:count]
        items = [self.value(part, depth=depth + 1) for part in first]
        rest = schema.get("items", {})
        for _ in range(0 if rest is False else count - len(first)):
            item = self.value(rest if isinstance(rest, dict) else {}, depth=depth + 1)
            if not schema.get("uniqueItems") or item not in items:
                items.append(item)
        return items

    def _string(self, schema: Schema, nullable: bool) -> str | None:
        place, self.strings = self.strings, self.strings + 1
        pattern, stand_in = FORMATS.get(schema.get("format", ""), (schema.get("pattern"), "unknown"))
        if pattern is not None:
            found = self._matching(pattern)
        elif place < len(self.runs):
            found = self.runs[place]
        else:
            found = self.words[place % len(self.words)] if self.words else None
        if found is None and nullable:
            return None
        text = stand_in if found is None else found
        return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "x")

    def _matching(self, pattern: str) -> str | None:
        try:
            shape = re.compile(pattern)
        except re.error as error:
            raise BadRequest(f"Failed to compile json grammar: {error}") from None
        candidates = [*self.runs, *self.words, *self.text.split()]
        return next((text for text in candidates if shape.search(text)), None)

    def _number(self, schema: Schema, nullable: bool, *, integer: bool) -> float | None:
        for match in (INTEGER if integer else NUMBER).finditer(self.text):
            number = int(match[0]) if integer else float(match[0])
            if within(number, schema):
                return number
        if nullable:
            return None
        low: float = next((schema[b] for b in ("minimum", "exclusiveMinimum") if b in schema), 0)
        high: float = next((schema[b] for b in ("maximum", "exclusiveMaximum") if b in schema), low)
        guesses = (low if "minimum" in schema else 0, 0, low + 1, high, high - 1, (low + high) / 2, low)
        return next((g for g in guesses if within(g, schema) and (not integer or g == int(g))), low)


def kind_of(schema: Schema, nullable: bool) -> tuple[str, bool]:
    """The one JSON type to fill in, and whether null would do as well."""
    untyped = "object" if "properties" in schema else "array" if "items" in schema else "string"
    kinds = schema.get("type", untyped)
    if isinstance(kinds, str):
        return kinds, nullable
    some = [kind for kind in kinds if kind != "null"]
    return (some or ["null"])[0], nullable or "null" in kinds


def within(number: float, schema: Schema) -> bool:
    """Whether the number keeps the schema's bounds."""
    step = schema.get("multipleOf")
    return (
        number >= schema.get("minimum", number)
        and number <= schema.get("maximum", number)
        and ("exclusiveMinimum" not in schema or number > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or number < schema["exclusiveMaximum"])
        and (not step or number % step == 0)
    )


def capitalised_runs(text: str) -> Iterator[str]:
    """Runs of capitalised words one space apart, as they stand in the text."""
    start = end = -1
    for match in WORD.finditer(text):
        if not match[0][0].isupper():
            continue
        if start >= 0 and text[end : match.start()] != " ":
            yield text[start:end]
            start = -1
        start, end = (match.start() if start < 0 else start), match.end()
    if start >= 0:
        yield text[start:end]


@dataclass(frozen=True)
class Ask:
    """What one chat request asks for."""

    model: str
    text: str
    earlier_words: int
    prompt_words: int
    schema: Schema | None
    stream: bool
    include_usage: bool

    @classmethod
    def parse(cls, body: Any) -> Ask:
        """The request read from its JSON body, or BadRequest."""
        try:
            texts = [(m["role"], text_of(m.get("content"))) for m in body["messages"]]
            last = max(i for i, (role, _) in enumerate(texts) if role == "user")
        except (TypeError, KeyError, ValueError, AttributeError):
            raise BadRequest("messages: a list with at least one user message is required") from None
        words = [len(text.split()) for _, text in texts]
        options = body.get("stream_options") or {}
        return cls(
            model=str(body.get("model", "default")),
            text=texts[last][1],
            earlier_words=sum(words[:last]),
            prompt_words=sum(words),
            schema=schema_of(body.get("response_format")),
            stream=bool(body.get("stream")),
            include_usage=bool(options.get("include_usage")),
        )

    def content(self, text: str) -> str:
        """The right answer: JSON for the schema out of the text, else `ok`."""
        if self.schema is None:
            return "ok"
        try:
            return json.dumps(Filler(self.schema, text).value(self.schema), ensure_ascii=False)
        except RecursionError:
            raise BadRequest("Failed to compile json grammar: endless recursion") from None


def text_of(content: Any) -> str:
    """A message's text, whether it came as a string or as parts."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def schema_of(response_format: Any) -> Schema | None:
    """The schema that the answer is held to, if there is one."""
    kind = (response_format or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    schema = (response_format.get("json_schema") or {}).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest("schema_ is required for json_schema response format request.")
    return schema


@dataclass(frozen=True)
class Completion:
    """One completion, and the bytes that carry it."""

    ask: Ask
    number: int
    content: str
    finish: str = "stop"

    def spoiled(self, content: str, finish: str) -> Completion:
        """The same completion with other content."""
        return replace(self, content=content, finish=finish)

    def pieces(self) -> list[bytes]:
        """The body: server-sent events when streaming was asked for, else one JSON text."""
        return list(self._events()) if self.ask.stream else [json.dumps(self._whole()).encode()]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"fake-{self.number}", "object": kind, "created": 0, "model": self.ask.model}

    def _usage(self) -> dict[str, Any]:
        prompt, made = self.ask.prompt_words, max(1, len(self.content.split()))
        cached = self.ask.earlier_words if self.number > 1 else 0
        details = {"cached_tokens": cached} if cached else None  # SGLang leaves a zero out too
        total = prompt + made
        counts = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": total}
        return {**counts, "prompt_tokens_details": details}

    def _whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self.content, "tool_calls": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def _events(self) -> Iterator[bytes]:
        head = self._head("chat.completion.chunk")
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": self.content[i : i + 8]} for i in range(0, len(self.content), 8)]
        for delta in deltas:
            yield event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
        if self.ask.include_usage:
            yield event({**head, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"
