"""Finding: values that a standard can check, read from a text whatever the model made of it.

Telephone numbers (phonenumbers), mail and web addresses (email-validator, tldextract), tax and company numbers, LEI
and ISIN (python-stdnum). A finder only adds evidence: it refuses nothing, and takes no vote from what the model
says.

    list(find_emails("Write to sales@acme.example.", Hints()))
    # [Found(value='sales@acme.example', start=9, end=27, checked=True)]
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import phonenumbers

from extraction.grounding.contacts import is_email, is_url
from extraction.grounding.identifiers import Number, numbers_in

MAIL = re.compile(r"[^\s<>()\[\],;:\"'|]+@[^\s<>()\[\],;:\"'|]+")
WEB = re.compile(r"(?:https?://|www\.)[^\s<>()\[\]\"'|]+", re.IGNORECASE)
ENDS = ".,;:!?"


class Found(NamedTuple):
    """A value and where it stands in the text. `checked` says that check digits hold, or that a list of the
    standard knows it (a public suffix, a country's ranges of numbers)."""

    value: Any
    start: int
    end: int
    checked: bool


@dataclass(frozen=True)
class Hints:
    """What is known before one looks: the countries (ISO codes) in which a number without one may be."""

    countries: tuple[str, ...] = ()


Finder = Callable[[str, Hints], Iterator[Found]]


def find_phones(text: str, hints: Hints) -> Iterator[Found]:
    """Telephone numbers with their country's code, and those that are valid in one of the hinted countries."""
    taken: set[int] = set()
    for region in (None, *hints.countries):
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            if match.start not in taken:
                taken.add(match.start)
                yield Found(text[match.start : match.end], match.start, match.end, True)


def find_emails(text: str, hints: Hints) -> Iterator[Found]:
    """Mail addresses."""
    if "@" not in text:
        return
    for match in MAIL.finditer(text):
        value = match[0].rstrip(ENDS)
        if is_email(value):
            yield Found(value, match.start(), match.start() + len(value), True)


def find_websites(text: str, hints: Hints) -> Iterator[Found]:
    """Web addresses that say that they are some: with `http://`, `https://` or `www.`."""
    for match in WEB.finditer(text):
        value = match[0].rstrip(ENDS)
        if is_url(value):
            yield Found(value, match.start(), match.start() + len(value), True)


def find_tax_ids(text: str, hints: Hints) -> Iterator[Found]:
    """Tax and company numbers as text: with their country's prefix, written as their standard writes them, or valid
    in one of the hinted countries. An EIN has no check digit: it counts where it is written as one, unchecked."""
    for number in numbers_in(text, hints.countries):
        if number.scheme not in ("LEI", "ISIN"):
            yield _found(text[number.start : number.end], number)


def find_identifiers(text: str, hints: Hints) -> Iterator[Found]:
    """The same, LEI and ISIN too, as items with `scheme`, `value` and `issuer`."""
    for number in numbers_in(text, hints.countries):
        item = {"scheme": number.scheme, "value": text[number.start : number.end], "issuer": None}
        yield _found(item, number)


def _found(value: Any, number: Number) -> Found:
    return Found(value, number.start, number.end, number.checked)
