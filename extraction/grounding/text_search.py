"""Grounding: where a value stands in the text that it was read from, if it stands there at all.

Exact first, then folded: case, accents, kinds of quotes and dashes, and runs of white space do not matter. A value
is found whole or not at all: 14 does not stand in 2014. Scripts without spaces between words have no such wholes:
there, any run of characters is one. A word may be broken at the end of a line, and a name may have in its word what
its language glues to it. Last, words that differ by a letter here and there (FUZZY), never by a digit. A date in
ISO 8601 stands where the day does, in whatever way the text writes it.
"""

import datetime
import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote

from rapidfuzz import fuzz

from extraction.grounding.affixes import SHOWN_WITHIN, Affixes, families, glued
from extraction.grounding.amounts import MINUS_SIGNS, NO_DIGIT, fractions, numerals
from extraction.grounding.contacts import is_url, unicode_host
from extraction.grounding.dates import dates, is_moment, places_of, times
from extraction.grounding.text_folding import (
    UNSEEN,
    UNSPACED,
    WORD_CHARACTER,
    Folded,
    Span,
    ascii_digits,
    everywhere,
    fold_text,
    is_spaced,
    text_key,
    without_ascii,
)

SCHEME_PREFIX = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
WWW = re.compile(r"^www\.", re.IGNORECASE)
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
ISO_CLOCK = re.compile(r"\d\d:\d\d(?::[\d.]+)?(?:Z|[+-]\d\d:?\d\d)?")  # a time in ISO 8601
ADDRESS_GOES_ON = re.compile(r"\.\w")  # acme.com in acme.com.br
PATH_GOES_ON = re.compile(r"[.-]\w")
CODE = re.compile(r"[\d\s()./+-]+")  # registration and telephone numbers, whatever stands between their digits
ASCII_NO_DIGITS = bytes(set(range(128)) - set(b"0123456789"))
CODE_DIGITS = 7  # a telephone number without its area code; fewer is a number
# Up to a place: an address's host, behind which a comma or bracket ends it, and its path, which may hold some.
ADDRESS_BEFORE = re.compile(r"(?:@|://|www\.)[^\s|<>\[\]\",;()']*(?:/[^\s|<>\[\]\"]*)?$", re.IGNORECASE)
ADDRESS_REACH = 60  # characters before a place in which the sign of an address may stand
FUZZY = 90  # of 100, rapidfuzz's partial_ratio
FUZZY_LENGTH = 8  # characters; in less, one letter makes another word
RUN_TOGETHER = re.compile(rf"[^\W\d_]{{{FUZZY_LENGTH},}}|[{UNSPACED}]{{3,}}")  # words with or without their spaces
HYPHEN_AT_END = re.compile(  # or where one was; not that of a list's item
    r"[-\u2010\u00ad\u00ac](?:(?<=[^\W\d_].)(?=\s*[^\W\d_])|(?<=[^\W\d_]\n.)(?=\n*[^\W\d_]))"
)
LEAST_BROKEN = 4  # letters of a word that may be broken
WORD_WITH_HYPHEN = re.compile(r"(\w+)([-\u2010\u00ad\u00ac])(\s*)(\w+)")
LINE_IN_A_RUN = re.compile(rf"(?<=[{UNSPACED}])\s*\n\s*(?=[{UNSPACED}])")  # a script without spaces breaks anywhere
BREAK = "\x01"  # stands for a hyphen at the end of a line
UNBROKEN = re.compile(rf"[-\u00ac{BREAK}\s]")


class Text:
    """A text that values are looked for in, folded once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._shown: dict[str, bool] = {}

    @cached_property
    def _folded(self) -> Folded:
        return Folded(self.text)

    @cached_property
    def _broken(self) -> Folded | None:
        """The text folded, with BREAK for each hyphen at the end of a line; None where there is none."""
        text, count = HYPHEN_AT_END.subn(BREAK, self.text)
        return Folded(text) if count else None

    @cached_property
    def _unbroken(self) -> str:
        """The text with neither hyphens nor spaces."""
        return self._squeezed.replace("-", "").replace("¬", "").replace(BREAK, "")

    @cached_property
    def _plain(self) -> str:
        """The text with the digits of every script as ASCII's, character by character."""
        return ascii_digits(self.text)

    @cached_property
    def _digits(self) -> str:
        """All digits that stand in it, one after the other."""
        return NO_DIGIT.sub("", without_ascii(self._plain, ASCII_NO_DIGITS))

    @cached_property
    def _dates(self) -> dict[datetime.date, list[Span]]:
        return dates(self.text)

    @cached_property
    def _squeezed(self) -> str:
        return self._folded.text.replace(" ", "")

    def find(self, value: Any, *, within: Span | None = None) -> Span | None:
        """The first place where a value stands as a whole, `within` a span: (start, end) in characters of the
        text."""
        places = self.everywhere(value)
        if within:
            places = (span for span in places if within[0] <= span[0] and span[1] <= within[1])
        return next(places, None)

    def find_exactly(self, value: str) -> Span | None:
        """The first place where a value stands as a whole, letter by letter: US is no "us", and not in US$."""
        places = _wholes(value, self.text)
        return next((span for span in places if self.text[span[1] : span[1] + 1] != "$"), None)

    def find_in_word(self, name: str) -> Span | None:
        """The first place where a name stands with something that its language glues to it."""
        return next(self._glued(name), None)

    def as_written(self, value: Any, span: Span) -> Any:
        """A text that differs by a letter from where it stands, the way it is written there, but with its words
        whole where they are broken at the end of a line, and names without the ending of a case; else as it is,
        as dates in ISO 8601 are."""
        quote = self.text[slice(*span)]
        if (
            not isinstance(value, str)
            or value == quote
            or is_moment(value)
            or LINE_IN_A_RUN.sub("", quote) == value
        ):
            return value
        if HYPHEN_AT_END.search(quote):
            if UNBROKEN.sub("", fold_text(value)) == UNBROKEN.sub("", fold_text(quote)):
                return self._whole(value, quote)
            quote = self._whole(quote, quote)
        wanted, stands = " ".join(fold_text(value).split()), " ".join(fold_text(quote).split())
        if text_key(value) == text_key(quote) or fuzz.ratio(wanted, stands) < FUZZY or span in self._glued(value):
            return value
        return " ".join(quote.translate(UNSEEN).split())

    def _whole(self, value: str, quote: str) -> str:
        """What is said, with the words whole that are broken in a quote: as they stand elsewhere in the text, as
        they are said, or without the hyphen before a small letter."""

        def join(word: re.Match[str]) -> str:
            before, hyphen, space, after = word.groups()
            if not re.search(rf"{re.escape(before)}{hyphen}[^\S\n]*\n\s*{re.escape(after)}", quote):
                return word[0]
            for whole in (f"{before}-{after}", f"{before}{after}"):
                if next(_wholes(whole, self.text), None):
                    return whole
            kept = hyphen in "-\u2010" and not (space and after[0].islower())
            return f"{before}{'-' if kept else ''}{after}"

        return WORD_WITH_HYPHEN.sub(join, value)

    def everywhere(self, value: Any) -> Iterator[Span]:
        """All places where a value stands as a whole."""
        if isinstance(value, bool) or value is None:
            return
        if isinstance(value, (int, float)):
            yield from self._numbers(value)
            return
        words = str(value)
        for spelling in spellings(words):
            for span in chain(_wholes(spelling, self.text), self._folded_places(spelling)):
                if not self._is_part(span, words):
                    yield span
        if is_moment(words):
            yield from places_of(words, self.text, self._dates)
            return
        if ISO_CLOCK.fullmatch(words):
            yield from times(words, self.text)
            return
        yield from self._code(words)
        yield from self._spaced(words)
        yield from self._punctuated(words)
        yield from self._rejoined(words)
        yield from self._glued(words)
        yield from self._fuzzy(words)

    def _is_part(self, span: Span, value: str) -> bool:
        """Whether a place is a part of an address: where a name is no name, and an address another one."""
        if "." not in value:
            return self._in_address(span)
        if " " in value or not ("@" in value or is_url(value)):
            return False
        start, end = span
        goes_on = PATH_GOES_ON if "/" in SCHEME_PREFIX.sub("", value).rstrip("/") else ADDRESS_GOES_ON
        before, sign = self.text[max(0, start - 2) : max(0, start - 1)], self.text[max(0, start - 1) : start]
        joined = is_spaced(before) and sign in (("-", "+", ".") if "@" in value else ("-",))
        return joined or goes_on.match(self.text, end) is not None

    def _in_address(self, span: Span) -> bool:
        """Whether a place is a part of a web or mail address, where a name is no name."""
        start, end = span
        lead = self.text[max(0, start - ADDRESS_REACH) : start]
        if lead and not lead[-1].isspace() and ADDRESS_BEFORE.search(lead):
            return True
        return self.text.startswith("@", end)

    def _folded_places(self, value: str) -> Iterator[Span]:
        for start, end in _wholes(" ".join(fold_text(value).split()), self._folded.text):
            # Not a part of what one character folds to: 1 does not stand in ½.
            if span := self._folded.origin(start, end):
                yield span

    def _numbers(self, value: float) -> Iterator[Span]:
        """A number, its thousands grouped by comma, point, space or apostrophe or not at all, its decimals behind a
        point or comma."""
        if value != value or value in (float("inf"), float("-inf")):
            return
        digits, whole = str(abs(int(value))), value == int(value)
        for start, end in numerals(digits, self._plain) if whole else fractions(abs(value), self._plain):
            signed = self.text[start - 1 : start] in MINUS_SIGNS
            first = start - 1 if value < 0 else start
            apart = not is_spaced(self.text[first - 1 : first]) and not is_spaced(self.text[end : end + 1])
            if apart and (signed or value >= 0):
                yield first, end

    def _code(self, value: str) -> Iterator[Span]:
        """A number such as 12.345.678/0001-90 or +1 (555) 010-4477, its digits set apart in any way."""
        digits = NO_DIGIT.sub("", value)
        if len(digits) < CODE_DIGITS or digits not in self._digits or not CODE.fullmatch(value):
            return
        apart = r"[\s()./+\-‐‑–]{0,3}".join(digits)
        yield from (match.span() for match in re.finditer(rf"(?<![\d]){apart}(?!\d)", self._plain))

    def _spaced(self, value: str) -> Iterator[Span]:
        """Words that run together in the value, or in the text: LanternWorks and Lantern Works."""
        text, wanted = self._folded.text, fold_text(value).replace(" ", "")
        if wanted not in self._squeezed or not RUN_TOGETHER.fullmatch(normalize("NFC", wanted)):
            return
        letters = [at for at, character in enumerate(text) if character != " "]
        for match in re.finditer(wanted, self._squeezed):
            if span := self._folded.whole(letters[match.start()], letters[match.end() - 1] + 1):
                yield span

    def _punctuated(self, value: str) -> Iterator[Span]:
        """Words with other commas and points behind them: Tesla Inc. in Tesla, Inc."""
        words = [word.rstrip(".,") or word for word in fold_text(value).split()]
        if len(words) < 2 or not all(word in self._folded.text for word in words):
            return
        pattern = "[.,]{0,2} ".join(map(re.escape, words)) + (r"\.?" if value.rstrip().endswith(".") else "")
        for match in re.finditer(pattern, self._folded.text):
            if span := self._folded.whole(*match.span()):
                yield span

    def _rejoined(self, value: str) -> Iterator[Span]:
        """Words of which some are broken at the end of a line, with a hyphen that may be their own."""
        wanted = " ".join(fold_text(value).split())
        letters = UNBROKEN.sub("", wanted)
        if len(letters) < LEAST_BROKEN or letters not in self._unbroken or self._broken is None:
            return
        pattern = f"(?: ?{BREAK} ?)?".join(f"(?:-| ?{BREAK} ?)" if c == "-" else re.escape(c) for c in wanted)
        for match in re.finditer(pattern, self._broken.text):
            if BREAK in match[0] and (span := self._broken.whole(*match.span())):
                yield span

    def _glued(self, value: str) -> Iterator[Span]:
        """A name with prefixes or endings in the same word; a name in capital letters where there are some."""
        name, first = " ".join(fold_text(value).split()), value[:1]
        if first == first.lower() != first.title():
            return
        for family in filter(self._shows, families(name)):
            for place in glued(name, self._folded.text, family):
                span = self._folded.origin(*place)
                if span and (first == first.lower() or self.text[span[0]] != self.text[span[0]].lower()):
                    yield span

    def _shows(self, family: Affixes) -> bool:
        """Whether it shows letters of a family of languages often enough to be in one of them."""
        if family.shown not in self._shown:
            times = len(re.findall(family.shown, self.text)) if family.shown else len(self.text)
            self._shown[family.shown] = times * SHOWN_WITHIN >= len(self.text)
        return self._shown[family.shown]

    def _fuzzy(self, value: str) -> Iterator[Span]:
        """Several words, nearly as they stand in the text; their digits exactly."""
        wanted = " ".join(fold_text(value).split())
        if " " not in wanted or len(wanted) < FUZZY_LENGTH:
            return
        alignment = fuzz.partial_ratio_alignment(wanted, self._folded.text, score_cutoff=FUZZY)
        if alignment is None or alignment.dest_end - alignment.dest_start < FUZZY_LENGTH:
            return
        text = self._folded.text
        start, end = alignment.dest_start, alignment.dest_end
        while start > 0 and WORD_CHARACTER.match(text[start - 1]) and WORD_CHARACTER.match(text[start]):
            start -= 1
        while end < len(text) and WORD_CHARACTER.match(text[end]) and WORD_CHARACTER.match(text[end - 1]):
            end += 1
        stands = text[start:end].strip()
        start = text.index(stands, start)
        if stands[:1] != wanted[:1]:  # unprofitable growth is no profitable growth
            return
        if fuzz.ratio(wanted, stands) < FUZZY or re.findall(r"\d+", stands) != re.findall(r"\d+", wanted):
            return
        if span := self._folded.origin(start, start + len(stands)):
            yield span


@lru_cache(maxsize=4_096)
def spellings(value: str) -> tuple[str, ...]:
    """Ways in which a document may write a value: a web address with or without its scheme, or in the letters that
    its codes stand for; a UUID without hyphens."""
    written = [value.strip()]
    if "." in value:
        bare = SCHEME_PREFIX.sub("", written[0]).rstrip("/")
        written += [bare, WWW.sub("", bare)]
        written += [_decoded(one) for one in written if "%" in one or "xn--" in one]
    elif UUID.fullmatch(written[0]):
        written.append(written[0].replace("-", ""))
    return tuple(spelling for spelling in dict.fromkeys(written) if any(map(str.isalnum, spelling)))


def _decoded(address: str) -> str:
    """A web address in the letters that its codes stand for."""
    return unicode_host(unquote(address))


def _wholes(value: str, text: str) -> Iterator[Span]:
    """The occurrences that no letter or digit runs on from."""
    for start in everywhere(value, text) if value else ():
        end = start + len(value)
        before = start > 0 and is_spaced(text[start - 1]) and is_spaced(value[0])
        if not before and not (end < len(text) and is_spaced(text[end]) and is_spaced(value[-1])):
            yield start, end
