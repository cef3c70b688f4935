"""Text without the differences of writing that do not matter.

`Folded` keeps the way back to each character of the text. `text_key` is a key: equal for texts that say the same.

    text_key("São Paulo – Nord") == text_key("SAO PAULO NORD") == "sao paulo nord"
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, AnyStr

Span = tuple[int, int]
# Soft hyphen, zero-width spaces and joiners, marks of direction, and the stroke that makes an Arabic word longer.
UNSEEN_CHARACTERS = (
    "\u00ad\u200b\u200c\u200d\u2060\ufeff\u0640"
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
UNSEEN = str.maketrans(dict.fromkeys(UNSEEN_CHARACTERS))

PLAIN = str.maketrans(
    {
        **dict.fromkeys("’‘‚‛´ʼ׳", "'"),
        **dict.fromkeys("“”„‟«»״", '"'),
        **dict.fromkeys("–—‐‑‒―−", "-"),
        **dict.fromkeys(UNSEEN_CHARACTERS),
    }
)


UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d"
    r"\U00020000-\U0003ffff"
)


SPACED = re.compile(rf"[^\W_{UNSPACED}]")


def is_spaced(character: str) -> bool:
    """Whether a character is a letter or digit of a script with spaces between words; "" is none."""
    return character.isalnum() and (character.isascii() or SPACED.match(character) is not None)


WORD_CHARACTER = re.compile(r"\w")


def fold_text(text: str) -> str:
    """Case, accents, quotes and dashes folded; may be shorter or longer than the text."""
    if text.isascii():
        return text.casefold()
    decomposed = unicodedata.normalize("NFKD", text.translate(PLAIN)).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def everywhere(part: AnyStr, text: AnyStr) -> Iterator[int]:
    """Where a part of a text begins, each time."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


ALL_ASCII = bytes(range(128))


def without_ascii(text: str, left_out: bytes = ALL_ASCII) -> str:
    """A text without some ASCII characters. This takes a tenth of the time that a pattern takes."""
    return text.encode("utf-8", "surrogatepass").translate(None, left_out).decode("utf-8", "surrogatepass")


def ascii_digits(text: str) -> str:
    """A text with the digits of every script as ASCII's, of the same length."""
    if text.isascii():
        return text
    digits = filter(str.isdecimal, set(without_ascii(text)))
    return _replaced(text, {digit: str(unicodedata.decimal(digit)) for digit in digits})


class Shapes:
    """Classes of characters, to search a text in which each character is a byte: the first character of its class,
    which is an ASCII one, or a line end where it is of none. Patterns are much faster on it."""

    def __init__(self, *classes: str) -> None:
        self._first = {character: characters[0] for characters in classes for character in characters}
        self._table = bytes(ord(self._first.get(chr(n), "\n")) for n in range(256))

    def of(self, text: str) -> bytes:
        """The shape of a text, of the same length."""
        if not text.isascii():
            strange = self._first.keys() & without_ascii(text)
            text = _replaced(text, {character: self._first[character] for character in strange})
        return text.encode("ascii", "replace").translate(self._table)


@lru_cache(maxsize=4096)
def _fold_one(character: str) -> str:
    return " " if character.isspace() else fold_text(character)


ASCII = {n: _fold_one(chr(n)) for n in range(128)}
FOLDED_ASCII = {chr(n): fold for n, fold in ASCII.items() if fold != chr(n)}
SPACES = re.compile("  +")
UNALIKE = "\0"  # stands for a character that folds to none or several
FEW = 100
# Of these and spaces, but not one space alone.
UNALIKE_RUN = re.compile(f"[ {UNALIKE}](?:(?<! )[ {UNALIKE}]*|[ {UNALIKE}]+)")


class Folded:
    """A text folded, its runs of white space made one space, with the way back to its own characters.

    From the folded text's character `_starts[n]` on, characters stand one by one for those of the original from
    `_origins[n]` on, up to the next of these places.
    """

    def __init__(self, original: str) -> None:
        self._starts, self._origins = [0], [0]
        folds = {character: _fold_one(character) for character in set(without_ascii(original))}
        plain = {c: fold for c, fold in folds.items() if len(fold) == 1 and _fold_one(fold) == fold}
        text = _replaced(original, plain)
        text = text.translate(ASCII) if text.isascii() else _replaced(text, FOLDED_ASCII)
        self.text = self._respaced(text, {c: fold for c, fold in folds.items() if c not in plain})

    def _respaced(self, text: str, folds: dict[str, str]) -> str:
        """A text with the folds of characters that become none, several, or one that itself folds to another; each
        run of spaces made one, the first of them."""
        parts: list[str] = []
        length = reached = 0
        marked, runs = _replaced(text, dict.fromkeys(folds, UNALIKE)), UNALIKE_RUN if folds else SPACES
        for match in runs.finditer(marked):
            start, end = match.span()
            parts.append(text[reached:start])
            length += start - reached
            folded = [" "] if match[0].isspace() else [folds.get(c, c) for c in text[start:end]]
            places = [place for place, fold in enumerate(folded, start) for _ in fold]
            run = "".join(folded)
            if "  " in run:
                places = [place for n, place in enumerate(places) if not run.startswith("  ", n - 1)]
                run = SPACES.sub(" ", run)
            self._starts.extend(range(length, length + len(run) + 1))
            self._origins.extend((*places, end))
            parts.append(run)
            length += len(run)
            reached = end
        return "".join([*parts, text[reached:]])

    def origin(self, start: int, end: int) -> tuple[int, int] | None:
        """The original's characters that a span of the folded text stands for; None where it cuts one apart."""
        first, last = self._at(start), self._at(end)
        if (start and first == self._at(start - 1)) or last == self._at(end - 1):
            return None
        return first, last

    def whole(self, start: int, end: int) -> tuple[int, int] | None:
        """The same for a span with no letter or digit beside it; None for any other."""
        apart = not is_spaced(self.text[max(0, start - 1) : start]) and not is_spaced(self.text[end : end + 1])
        return self.origin(start, end) if apart else None

    def _at(self, offset: int) -> int:
        place = bisect_right(self._starts, offset) - 1
        return self._origins[place] + offset - self._starts[place]


def _replaced(text: str, others: Mapping[str, str]) -> str:
    """A text with some characters replaced. Few are replaced much faster one after the other."""
    changed = {character: other for character, other in others.items() if character != other}
    if len(changed) > FEW:
        return text.translate({ord(character): other for character, other in changed.items()})
    for character, other in changed.items():
        text = text.replace(character, other)
    return text


PLAIN_GAP = re.compile(r"[^a-z0-9]+")


def text_key(value: Any) -> str:
    """Equal for texts that differ in case, accents, punctuation or spacing only."""
    text = str(value)
    if text.isascii():
        return PLAIN_GAP.sub(" ", text.lower()).strip()
    plain = unicodedata.normalize("NFKD", text.translate(PLAIN))
    folded = unicodedata.normalize("NFKD", plain.casefold())
    letters = [c for c in folded if not unicodedata.combining(c)]
    # What marks the vowel in Hindi or Thai is no letter, and no accent either.
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in letters)
    return " ".join("".join(kept).split())


def digits_key(value: Any) -> str:
    """The digits and letters of an identifier or phone number."""
    return text_key(value).replace(" ", "")
