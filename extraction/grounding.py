"""Grounding: where a value stands in the text that it was read from, if it stands there at all.

Exact first, then folded: case, accents, kinds of quotes and dashes, and runs of white space do not
matter. A value is found whole or not at all: 14 does not stand in 2014.
"""

import re
import unicodedata
from functools import cached_property
from typing import Any

PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-", "\u00ad": None})
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
Span = tuple[int, int]


class Text:
    """A text that values are looked for in, folded once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _folded(self) -> tuple[str, list[int]]:
        """The folded text, and for each of its characters the offset in the text it came from."""
        folded: list[str] = []
        offsets: list[int] = []
        for offset, character in enumerate(self.text):
            if character.isspace():
                if folded and folded[-1] == " ":
                    continue
                folded.append(" ")
                offsets.append(offset)
                continue
            for plain in fold(character):
                folded.append(plain)
                offsets.append(offset)
        return "".join(folded), offsets

    def find(self, value: Any) -> Span | None:
        """The first place where a value stands as a whole: (start, end) in characters of the text."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return self._number(value)
        for spelling in spellings(str(value)):
            span = _whole(spelling, self.text) or self._find_folded(spelling)
            if span:
                return span
        return None

    def _find_folded(self, value: str) -> Span | None:
        folded, offsets = self._folded
        span = _whole(" ".join(fold(value).split()), folded)
        return (offsets[span[0]], offsets[span[1] - 1] + 1) if span else None

    def _number(self, value: float) -> Span | None:
        """A number, its thousands grouped by comma, point, space or apostrophe or not at all."""
        if value != int(value):
            return _whole(str(value), self.text) or _whole(str(value).replace(".", ","), self.text)
        grouped = f"{abs(int(value)):,}".replace(",", r"[,.'’\s\u00a0\u202f]?")
        match = re.search(rf"(?<![\w.,]){grouped}(?![\w]|[.,]\d)", self.text) or re.search(
            rf"(?<!\w){grouped}(?!\w|[.,]\d{{3}})", self.text
        )
        return match.span() if match else None


def fold(text: str) -> str:
    """Case, accents, quotes and dashes folded; may be shorter or longer than the text."""
    decomposed = unicodedata.normalize("NFKD", text.translate(PLAIN)).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def spellings(value: str) -> list[str]:
    """Ways in which a document may write a value: a web address with or without its scheme."""
    bare = SCHEME.sub("", value.strip()).rstrip("/")
    found = [value.strip(), bare, bare.removeprefix("www.")] if "." in bare else [value.strip()]
    return [spelling for spelling in dict.fromkeys(found) if spelling]


def _whole(value: str, text: str) -> Span | None:
    """The first occurrence that no letter or digit runs on from."""
    start = text.find(value)
    while start >= 0 and value:
        end = start + len(value)
        before = start > 0 and value[0].isalnum() and text[start - 1].isalnum()
        after = end < len(text) and value[-1].isalnum() and text[end].isalnum()
        if not before and not after:
            return start, end
        start = text.find(value, start + 1)
    return None
