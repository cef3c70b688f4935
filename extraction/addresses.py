"""Addresses: the city and country that one ends with, and when two are the same."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from extraction.captions import MARKS, Taken
from extraction.keys import digits_key, text_key
from extraction.places import (
    STREETS,
    city_key,
    country_key,
    is_city,
    is_country,
    is_division,
    names_state,
)

APART = re.compile(r"[,;\n\t|()\[\]•·]|\s[-–—]\s|/(?=\s*[A-Z]{2}\b)")
TOKEN = re.compile(r"\S+")
CODES = frozenset(("cep", "zip", "plz", "uf", "cp", "code", "postal"))  # words before a code
DUTCH = re.compile(r"[A-Z]{2}")  # letters of a postal code: 1015 CS Amsterdam
STATES_FIRST = ("georgia",)  # that are countries too


class Seat(NamedTuple):
    """Where an address is, as far as that is certain."""

    city: Taken | None = None
    country: Taken | None = None


def seat(text: str) -> Seat:
    """The city and country that an address ends with.

    A city is the part before a state or country: `Reston, Virginia 20190`. One that may as well be a
    province, as in `Wuxi, Jiangsu, China`, leaves the city open.
    """
    country: Taken | None = None
    state = False
    parts = list(_parts(text))
    while parts:
        part = parts.pop()
        name = part.value
        if _is_country(name) and (country is None or _same_country(part, country)):
            if country and is_city(name):  # Singapore, SG
                return Seat(part, country)
            country = part if country is None or len(name) > len(country.value) else country
        elif (state or country) and is_city(name) and not _is_street(name):
            before = parts[-1].value if parts else ""
            city_before = is_city(before) and not _is_street(before)
            open_ = country and is_division(name, country_key(country.value)) and city_before
            return Seat(None if open_ else part, country)
        elif names_state(name):
            state = True
        else:
            break
    return Seat(None, country)


def _is_country(name: str) -> bool:
    written = len(name) > 3 or name.isupper()
    return written and is_country(name) and text_key(name) not in STATES_FIRST


def _same_country(one: Taken, other: Taken) -> bool:
    return country_key(one.value) == country_key(other.value)


def _is_street(name: str) -> bool:
    return text_key(name).rsplit(" ", 1)[-1] in STREETS


def _parts(text: str) -> Iterator[Taken]:
    """What commas and lines part an address into, without postal codes and numbers around words."""
    begin = 0
    for end in (*(gap.span() for gap in APART.finditer(text)), (len(text), len(text))):
        tokens = list(TOKEN.finditer(text, begin, end[0]))
        begin = end[1]
        numbered = bool(tokens) and _is_number(tokens[0][0])
        while tokens and _is_number(tokens[0][0]):
            tokens.pop(0)
        if numbered and len(tokens) > 1 and DUTCH.fullmatch(tokens[0][0]):
            tokens.pop(0)
        while tokens and _is_number(tokens[-1][0]):
            tokens.pop()
        if not tokens or (numbered and not STREETS.isdisjoint(text_key(token[0]) for token in tokens)):
            continue
        first, last = tokens[0].start(), tokens[-1].end()
        name = text[first:last]
        kept = name.strip(MARKS + ".:")
        if kept:
            first += name.index(kept)
            yield Taken(" ".join(kept.split()), first, first + len(kept))


def _is_number(token: str) -> bool:
    return any(map(str.isdigit, token)) or text_key(token) in CODES


def address_key(item: Any) -> str:
    """City, house number and the longest word of the street's name; without a street, the postal code."""
    if not isinstance(item, dict):
        return text_key(item)
    street, city, code = (item.get(part) or "" for part in ("street", "city", "postal_code"))
    words = text_key(street).split()
    number = next((word for word in words if word[0].isdigit()), "")
    names = [word for word in words if word not in STREETS and word != number]
    name = max(names, key=lambda word: (word.isalpha(), len(word), word), default="")
    place = f"{number} {name}" if number or name else digits_key(code)
    found = " ".join((*city_key(city).split(), *place.split()))
    return found or text_key(" ".join(str(part) for part in item.values() if part))
