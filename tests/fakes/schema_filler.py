"""Fills a JSON schema, as the project sends them, with values from a text, the same ones each time."""

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
    "date": (r"\d{4}-\d\d-\d\d", "2000-01-01"),
    "date-time": (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2000-01-01T00:00:00Z"),
}


class BadRequest(ValueError):
    """A request that the server answers with 400 and this message."""


class Filler:
    """Fills one schema with values taken from one text, the same ones each time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = WORD.findall(text)
        self.runs = list(capitalised_runs(text))
        self.digest = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
        self.strings = 0

    def value(self, schema: Schema, *, nullable: bool = False) -> Any:
        """A value valid for the schema; null only where the text offers nothing and null is allowed."""
        if "anyOf" in schema:
            others = [option for option in schema["anyOf"] if option.get("type") != "null"]
            return self.value(others[0], nullable=nullable or len(others) < len(schema["anyOf"]))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._enum(schema["enum"], nullable)
        kind = schema.get("type", "string")
        if isinstance(kind, list):
            nullable = nullable or "null" in kind
            kind = next(each for each in kind if each != "null")
        if kind == "object":
            return {name: self.value(part) for name, part in schema.get("properties", {}).items()}
        if kind == "array":
            wanted = 1 + self.digest % 2
            count = max(schema.get("minItems", 0), min(wanted, schema.get("maxItems", wanted)))
            return [self.value(schema.get("items", {})) for _ in range(count)]
        if kind == "boolean":
            return self.digest % 2 == 0
        if kind == "string":
            return self._string(schema, nullable)
        if kind in ("integer", "number"):
            found = (INTEGER if kind == "integer" else NUMBER).search(self.text)
            return (None if nullable else 0) if found is None else (int if kind == "integer" else float)(found[0])
        raise BadRequest(f"Failed to compile json grammar: unknown type {kind!r}")

    def _enum(self, members: list[Any], nullable: bool) -> Any:
        for member in members:
            if isinstance(member, str) and re.search(rf"\b{re.escape(member)}\b", self.text, re.I):
                return member
        return None if nullable or None in members else members[self.digest % len(members)]

    def _string(self, schema: Schema, nullable: bool) -> str | None:
        place, self.strings = self.strings, self.strings + 1
        pattern, stand_in = FORMATS.get(schema.get("format", ""), (None, "unknown"))
        if pattern is not None:
            match = next((word for word in self.text.split() if re.fullmatch(pattern, word)), None)
        elif place < len(self.runs):
            match = self.runs[place]
        else:
            match = self.words[place % len(self.words)] if self.words else None
        if match is None and nullable:
            return None
        text = stand_in if match is None else match
        return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), "x")


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
