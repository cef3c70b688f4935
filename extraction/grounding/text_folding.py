"""Text without the differences of writing that do not matter.

`Folded` keeps the way back to each character of the text. `text_key` is a key: equal for texts that say the same.

    text_key("São Paulo – Nord") == text_key("SAO PAULO NORD") == "sao paulo nord"
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

Span = tuple[int, int]
UNSEEN_CHARACTERS = "\u00ad\u200b\u200c\u200d\u2060\ufeff"  # soft hyphen, zero-width spaces and joiners


PLAIN = str.maketrans(
    {
        **dict.fromkeys("’‘‚‛", "'"),
        **dict.fromkeys("“”„‟«»", '"'),
        **dict.fromkeys("–—‐‑‒―−", "-"),
        **dict.fromkeys(UNSEEN_CHARACTERS),
    }
)


UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d"
    r"\U00020000-\U0003ffff"
)


SPACED = re.compile(rf"[^\W_{UNSPACED}]")


WORD_CHARACTER = re.compile(r"\w")


RUN_OF_SPACES = re.compile(r" *[^ ]+| +")


def fold_text(text: str) -> str:
    """Case, accents, quotes and dashes folded; may be shorter or longer than the text."""
    if text.isascii():
        return text.casefold()
    decomposed = unicodedata.normalize("NFKD", text.translate(PLAIN)).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def lowered(text: str) -> str:
    """A text in lower case, of the same length: İ, the one letter that would become two characters, as i."""
    return text.replace("İ", "i").lower()


def everywhere(part: str, text: str) -> Iterator[int]:
    """Where a part of a text begins, each time."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


@lru_cache(maxsize=4096)
def _fold_one(character: str) -> str:
    return " " if character.isspace() else fold_text(character)


ASCII = {n: _fold_one(chr(n)) for n in range(128)}


class Folded:
    """A text folded, its runs of white space made one space, with the way back to its own characters."""

    def __init__(self, original: str) -> None:
        self.length = len(original)
        self._offsets: list[int] | None = None
        if original.isascii():
            self.text = original.translate(ASCII)
        else:
            folds = {character: _fold_one(character) for character in set(original)}
            self.text = original.translate({ord(c): f for c, f in folds.items()})
            if any(len(f) != 1 for f in folds.values()):
                self._offsets = [n for n, c in enumerate(original) for _ in folds[c]]
        if "  " in self.text:
            self._squeeze()

    def _squeeze(self) -> None:
        """Make each run of spaces one, the first of them."""
        before = self._offsets or range(len(self.text))
        offsets: list[int] = []
        runs: list[str] = []
        for match in RUN_OF_SPACES.finditer(self.text):
            start, run = match.start(), match[0]
            spaces = len(run) - len(run.lstrip(" "))
            if spaces > 1:
                offsets.append(before[start])
                runs.append(" ")
                start, run = start + spaces, run[spaces:]
            offsets.extend(before[start : start + len(run)])
            runs.append(run)
        self.text, self._offsets = "".join(runs), offsets

    def origin(self, start: int, end: int) -> tuple[int, int] | None:
        """The original's characters that a span of the folded text stands for; None where it cuts one apart."""
        if self._offsets is None:
            return start, end
        bound = self._at(start), self._at(end)
        if (start and bound[0] == self._at(start - 1)) or bound[1] == self._at(end - 1):
            return None
        return bound

    def _at(self, offset: int) -> int:
        offsets = self._offsets or []
        return offsets[offset] if offset < len(offsets) else self.length


PLAIN_GAP = re.compile(r"[^a-z0-9]+")


def text_key(value: Any) -> str:
    """Equal for texts that differ in case, accents, punctuation or spacing only."""
    text = str(value)
    if text.isascii():
        return PLAIN_GAP.sub(" ", text.lower()).strip()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = [c for c in folded if not unicodedata.combining(c)]
    # What marks the vowel in Hindi or Thai is no letter, and no accent either.
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in letters)
    return " ".join("".join(kept).split())


def digits_key(value: Any) -> str:
    """The digits and letters of an identifier or phone number."""
    return text_key(value).replace(" ", "")
