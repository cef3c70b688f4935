"""Fills a JSON schema with values from a text, the same ones each time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

WORD = re.compile(r"\w+(?:[&'’.-]\w+)*")
INTEGER = re.compile(r"(?<![\w.,-])-?\d{1,15}(?!\w|[.,]\d)")
NUMBER = re.compile(r"(?<![\w.,-])-?\d{1,15}(?:\.\d{1,9})?(?!\w|[.,]\d)")
FORMATS = {  # format -> pattern in the text, and default
    "uri": (r"^https?://\S*\w$", "https://example.com/"),
    "email": (r"^[\w.+-]+@[\w-]+\.[\w.]*\w$", "nobody@example.com"),
    "date": (r"^\d{4}-\d\d-\d\d$", "2000-01-01"),
    "date-time": (r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "2000-01-01T00:00:00Z"),
}
MAX_DEPTH = 12  # deeper optional values are left out, so that recursive schemas end


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
        if kind == "null" or (nullable and depth > MAX_DEPTH):
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
        non_null = [option for option in options if self._resolved(option).get("type") != "null"]
        nullable = nullable or len(non_null) < len(options)
        if not non_null or (nullable and depth > MAX_DEPTH):
            return None
        return self.value(non_null[0], nullable=nullable, depth=depth + 1)

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
        min_items = schema.get("minItems", 0)
        wanted = 1 + self.digest % 2 if depth <= MAX_DEPTH else 0
        count = max(min_items, min(wanted, schema.get("maxItems", wanted)))
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
            match = self._matching(pattern)
        elif place < len(self.runs):
            match = self.runs[place]
        else:
            match = self.words[place % len(self.words)] if self.words else None
        if match is None and nullable:
            return None
        text = stand_in if match is None else match
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
        candidates = (low if "minimum" in schema else 0, 0, low + 1, high, high - 1, (low + high) / 2, low)
        return next((g for g in candidates if within(g, schema) and (not integer or g == int(g))), low)


def kind_of(schema: Schema, nullable: bool) -> tuple[str, bool]:
    """The one JSON type to fill in, and whether null would do as well."""
    untyped = "object" if "properties" in schema else "array" if "items" in schema else "string"
    kinds = schema.get("type", untyped)
    if isinstance(kinds, str):
        return kinds, nullable
    non_null = [kind for kind in kinds if kind != "null"]
    return (non_null or ["null"])[0], nullable or "null" in kinds


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
