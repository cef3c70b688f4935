"""Grounding: where a value stands in the text that it was read from, if it stands there at all.

Exact first, then folded: case, accents, kinds of quotes and dashes, and runs of white space do not
matter. A value is found whole or not at all: 14 does not stand in 2014. Scripts that put no spaces
between words have no such wholes: there, any run of characters is one.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from functools import cached_property
from typing import Any

UNSEEN = "\u00ad\u200b\u200c\u200d\u2060\ufeff"  # soft hyphen, zero-width spaces and joiners
PLAIN = str.maketrans(
    {
        **dict.fromkeys("’‘‚‛", "'"),
        **dict.fromkeys("“”„‟«»", '"'),
        **dict.fromkeys("–—‐‑‒―−", "-"),
        **dict.fromkeys(UNSEEN),
    }
)
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
WWW = re.compile(r"^www\.", re.IGNORECASE)
# Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean (whose particles follow without a space)
UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d"
    r"\U00020000-\U0003ffff"
)
SPACED = re.compile(rf"[^\W_{UNSPACED}]")
GROUPING = ",.'’\u00a0\u2009\u202f"  # signs that only stand between the digits of one number
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
            for plain in " " if character.isspace() else fold(character):
                if plain == " " and folded[-1:] == [" "]:
                    continue
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
            span = next(_wholes(spelling, self.text), None) or self._find_folded(spelling)
            if span:
                return span
        return None

    def _find_folded(self, value: str) -> Span | None:
        folded, offsets = self._folded
        bounds = [*offsets, len(self.text)]
        for start, end in _wholes(" ".join(fold(value).split()), folded):
            # Not a part of what one character folds to: 1 does not stand in ½.
            if bounds[start] != bounds[start - 1] and bounds[end] != bounds[end - 1]:
                return bounds[start], bounds[end]
        return None

    def _number(self, value: float) -> Span | None:
        """A number, its thousands grouped by comma, point, space or apostrophe or not at all."""
        if not math.isfinite(value):
            return None
        if value != int(value):
            spelled = str(value)
            return next((s for v in (spelled, spelled.replace(".", ",")) for s in _wholes(v, self.text)), None)
        sign, plain = "[-−–]" if value < 0 else "", str(abs(int(value)))
        grouped = f"{abs(int(value)):,}".replace(",", f"[ {GROUPING}]?")
        before, after = f"(?<!{SPACED.pattern})", f"(?!{SPACED.pattern}|[{GROUPING}]\\d)"
        match = re.search(rf"{before}(?<!\d[{GROUPING}]){sign}{grouped}(?:[.,]00?)?{after}", self.text)
        if match is None and len(plain) == 4:  # a year in a date: 12.03.1994, 1994.03.12
            match = re.search(rf"(?<=\d[.,]){plain}{after}|{before}{plain}(?=\.\d\d?\.\d)", self.text)
        return match.span() if match else None


def fold(text: str) -> str:
    """Case, accents, quotes and dashes folded; may be shorter or longer than the text."""
    decomposed = unicodedata.normalize("NFKD", text.translate(PLAIN)).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def spellings(value: str) -> list[str]:
    """Ways in which a document may write a value: a web address with or without its scheme."""
    bare = SCHEME.sub("", value.strip()).rstrip("/")
    found = [value.strip(), bare, WWW.sub("", bare)] if "." in bare else [value.strip()]
    return [spelling for spelling in dict.fromkeys(found) if any(map(str.isalnum, spelling))]


def _wholes(value: str, text: str) -> Iterator[Span]:
    """The occurrences that no letter or digit runs on from."""
    start = text.find(value)
    while start >= 0 and value:
        end = start + len(value)
        before = SPACED.match(value[0]) and start > 0 and SPACED.match(text[start - 1])
        after = SPACED.match(value[-1]) and end < len(text) and SPACED.match(text[end])
        if not before and not after:
            yield start, end
        start = text.find(value, start + 1)
