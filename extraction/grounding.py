"""Grounding: where a value stands in the text that it was read from, if it stands there at all.

Exact first, then folded: case, accents, kinds of quotes and dashes, and runs of white space do not
matter. A value is found whole or not at all: 14 does not stand in 2014. Scripts that put no spaces
between words have no such wholes: there, any run of characters is one.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
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
CUE_REACH = 60  # characters to either side: less than a line
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

    def find(self, value: Any, cues: Sequence[str] = ()) -> Span | None:
        """The first place where a value stands as a whole: (start, end) in characters of the text.

        With cues (folded beginnings of words), the first place that has one of them near: 12 is a number
        of employees where somebody is employed.
        """
        return next((span for span in self._places(value) if not cues or self._near(span, cues)), None)

    def _near(self, span: Span, cues: Sequence[str]) -> bool:
        around = fold(self.text[max(0, span[0] - CUE_REACH) : span[1] + CUE_REACH])
        return any(re.search(rf"(?<!\w){re.escape(cue)}", around) for cue in cues)

    def _places(self, value: Any) -> Iterator[Span]:
        if isinstance(value, bool) or value is None:
            return
        if isinstance(value, int | float):
            yield from self._numbers(value)
            return
        for spelling in spellings(str(value)):
            yield from _wholes(spelling, self.text)
            yield from self._folded_places(spelling)

    def _folded_places(self, value: str) -> Iterator[Span]:
        folded, offsets = self._folded
        bounds = [*offsets, len(self.text)]
        for start, end in _wholes(" ".join(fold(value).split()), folded):
            # Not a part of what one character folds to: 1 does not stand in ½.
            if bounds[start] != bounds[start - 1] and bounds[end] != bounds[end - 1]:
                yield bounds[start], bounds[end]

    def _numbers(self, value: float) -> Iterator[Span]:
        """A number, its thousands grouped by comma, point, space or apostrophe or not at all."""
        if not math.isfinite(value):
            return
        if value != int(value):
            spelled = str(value)
            yield from (s for v in (spelled, spelled.replace(".", ",")) for s in _wholes(v, self.text))
            return
        sign, plain = "[-−–]" if value < 0 else "", str(abs(int(value)))
        grouped = f"{abs(int(value)):,}".replace(",", f"[ {GROUPING}]?")
        before, after = f"(?<!{SPACED.pattern})", f"(?!{SPACED.pattern}|[{GROUPING}]\\d)"
        patterns = [rf"{before}(?<!\d[{GROUPING}]){sign}{grouped}(?:[.,]00?)?{after}"]
        if len(plain) == 4:  # a year in a date: 12.03.1994, 1994.03.12
            patterns.append(rf"(?<=\d[.,]){plain}{after}|{before}{plain}(?=\.\d\d?\.\d)")
        for pattern in patterns:
            yield from (match.span() for match in re.finditer(pattern, self.text))


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
