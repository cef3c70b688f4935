"""Finding: values that a standard can check, read from a text whatever the model made of it.

Telephone numbers (phonenumbers), mail and web addresses (email-validator, tldextract), tax and company numbers, LEI
and ISIN (python-stdnum). A finder only adds evidence: it refuses nothing, and takes no vote from what the model
says.

    list(find_emails("Write to sales@acme.example.", Hints()))
    # [FoundValue(value='sales@acme.example', start=9, end=27)]
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers

from extraction.grounding.contacts import is_email, is_url
from extraction.grounding.identifiers import numbers_in
from extraction.grounding.text_folding import Shapes, everywhere

NOT_LOCAL = re.compile(r"[\s<>()\[\],;:\"'|@]")
DOMAIN = re.compile(r"@[^\s<>()\[\],;:\"'|]+")
WEB_SIGNS = (b"http://", b"https://", b"www.")
WEB = re.compile(r"(?:[hH][tT]{2}[pP][sS]?://|[wW]{3}\.)[^\s<>()\[\]\"'|]+")
ENDS = ".,;:!?"
LONGEST_LOCAL = 64  # characters before the @ (RFC 5321)
TEXTS_KEPT = 256  # whose addresses are asked for once for themselves and once for the countries that they tell
BETWEEN_DIGITS = (  # of a telephone number, as phonenumbers joins them
    "-x\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\uff0d\uff0e\uff0f \u00a0\u00ad\u200b\u2060\u3000()"
    "\uff08\uff09\uff3b\uff3d.[]/~\u2053\u223c\uff5e"
)
DIGIT_SHAPES = Shapes("".join(filter(str.isdecimal, map(chr, range(sys.maxunicode + 1)))), BETWEEN_DIGITS)
DIGIT_RUN = re.compile(rb"0(?:-{0,4}0){6,}")
BEFORE_A_PHONE, BEHIND_A_PHONE = 12, 40  # characters: of a bracket or a plus sign, of an extension


class FoundValue(NamedTuple):
    """A value and where it stands in the text."""

    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class Hints:
    """What is known before one looks: the countries (ISO codes) in which a number without one may be."""

    countries: tuple[str, ...] = ()


Finder = Callable[[str, Hints], Iterator[FoundValue]]


def find_phones(text: str, hints: Hints) -> Iterator[FoundValue]:
    """Telephone numbers with their country's code, and those that are valid in one of the hinted countries."""
    for start, end in _digit_runs(text):
        for place, number in _phones(text[start:end], hints.countries):
            yield FoundValue(number, start + place, start + place + len(number))


@lru_cache(maxsize=16_384)
def _phones(text: str, countries: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """The numbers in a part of a text, which many documents of a company repeat."""
    numbers: dict[int, str] = {}
    for region in countries or (None,):  # each finds those with a country's code too
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            numbers.setdefault(match.start, match.raw_string)
    return tuple(numbers.items())


def _digit_runs(text: str) -> list[tuple[int, int]]:
    """Where telephone numbers may stand, with what the matcher looks at around them: it is slow on all else."""
    runs: list[tuple[int, int]] = []
    for match in DIGIT_RUN.finditer(DIGIT_SHAPES.of(text)):
        start, end = max(0, match.start() - BEFORE_A_PHONE), match.end() + BEHIND_A_PHONE
        if runs and start <= runs[-1][1]:
            start, _ = runs.pop()
        runs.append((start, end))
    return runs


def find_emails(text: str, hints: Hints) -> Iterator[FoundValue]:
    """Mail addresses."""
    yield from _emails(text)


@lru_cache(maxsize=TEXTS_KEPT)
def _emails(text: str) -> tuple[FoundValue, ...]:
    emails = []
    for domain in DOMAIN.finditer(text):
        local = NOT_LOCAL.split(text[max(0, domain.start() - LONGEST_LOCAL) : domain.start()])[-1]
        start = domain.start() - len(local)
        value = text[start : domain.end()].rstrip(ENDS)
        if local and is_email(value):
            emails.append(FoundValue(value, start, start + len(value)))
    return tuple(emails)


def find_websites(text: str, hints: Hints) -> Iterator[FoundValue]:
    """Web addresses that say that they are some: with `http://`, `https://` or `www.`."""
    yield from _websites(text)


@lru_cache(maxsize=TEXTS_KEPT)
def _websites(text: str) -> tuple[FoundValue, ...]:
    lower = text.encode("ascii", "replace").lower()  # a byte a character
    websites, end = [], 0
    for start in sorted(at for sign in WEB_SIGNS for at in everywhere(sign, lower)):
        if start >= end and (match := WEB.match(text, start)):
            end = match.end()
            value = match[0].rstrip(ENDS)
            if is_url(value):
                websites.append(FoundValue(value, start, start + len(value)))
    return tuple(websites)


def find_tax_ids(text: str, hints: Hints) -> Iterator[FoundValue]:
    """Tax and company numbers as text: with their country's prefix, written as their standard writes them, or valid
    in one of the hinted countries. An EIN has no check digit: it counts where it is written as one."""
    for number in numbers_in(text, hints.countries):
        if number.scheme not in ("LEI", "ISIN"):
            yield FoundValue(text[number.start : number.end], number.start, number.end)


def find_identifiers(text: str, hints: Hints) -> Iterator[FoundValue]:
    """The same, LEI and ISIN too, as items with `scheme`, `value` and `issuer`."""
    for number in numbers_in(text, hints.countries):
        item = {"scheme": number.scheme, "value": text[number.start : number.end], "issuer": None}
        yield FoundValue(item, number.start, number.end)
