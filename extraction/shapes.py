"""Shapes: what values look like where a caption names them, and how one is taken from the text there.

Each take gives a value only where it is certain: of the right shape and kind, and the only one. What it leaves is
for the model to read.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from extraction.addresses import seat
from extraction.captions import LINE, MARKS, Take, Taken
from extraction.contacts import website_key
from extraction.keys import digits_key, text_key
from extraction.names import SMALL, company_key, is_company_name
from extraction.places import city_name, is_city

LONGEST_CITY = 5  # words
LEAST_SPELLED = 4  # letters
MOST_DIGITS = 9  # of a count of people

EIN = re.compile(r"(?<![\d-])\d\d[-‐–]\d{7}(?![\d-])")
CNPJ = re.compile(r"(?<![\d.])\d\d\.?\d{3}\.?\d{3}/?\d{4}-?\d\d(?![\d-])")
TAX_NUMBER = re.compile(r"(?<!\w)(?:[A-Z]{2,3}[ -]?)?\d[\dA-Z./ -]{6,18}[\dA-Z](?!\w)")
CNAE = re.compile(r"(?<![\d.])\d\d\.?\d\d-?\d[-/]\d\d(?!\d)")
CODE = re.compile(r"(?<!\w)[A-Z\d]{6,20}(?!\w)")
NUMBER = re.compile(r"\+?\(?\d[\d ().\-–]{5,22}\d")
AREA_NUMBER = re.compile(
    r"\+\d[\d ().-]{7,18}\d|\(\d{2,4}\)[ \t-]*\d[\d -]{5,12}\d|(?<![\d-])\d{3}[-. ]\d{3}[-. ]\d{4}(?![\d-])"
)
SITE = re.compile(
    r"(?<![@\w.-])(?:https?://)?(?:[\w-]+\.)+[^\W\d_]{2,}(?::\d+)?(?:/[^\s,;)\]>\"']*)?(?!\w|@)", re.IGNORECASE
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
YEAR = re.compile(r"(?<!\d)(?:1[6-9]|20)\d\d(?!\d)")
# A number, neither a part of one nor of a range.
COUNT = re.compile(
    r"(?P<value>\d{1,3}(?:[.,' ]\d{3})+|\d{1,9})(?:[.,]00?)?(?![\d.,]*\d)"
    r"(?!\s*(?:[-–+%]|(?:to|a|at[eé]|or|ou)\b))"
)
ABOUT = re.compile(r"[\s*_`~]*(?:(?:about|around|approximately|approx\.?|ca\.?|circa|cerca de)\s+)?", re.I)
# A cell with a symbol, then one with an exchange.
LISTED = re.compile(
    r"(?:^|[\n\t|])[^\S\n\t]*(?P<value>[A-Z]{1,5})[^\S\n\t]*[\n\t|]\s*"
    r"(?i:(?:the\s+)?(?:new york stock|nyse|nasdaq|chicago stock|otc|toronto stock|london stock|euronext|b3))\b"
)
SYMBOL = re.compile(r"^\W*(?:[A-Z][A-Za-z ]{1,20}:\s*)?(?P<value>[A-Z]{1,5}\d{0,2}(?:\.[A-Z]{1,2})?)\W*$")
LEAD = re.compile(r"[\s*_`]*")
# What follows a name in its line: ACME LTDA - CNPJ 12.345.678/0001-95.
NO_PART_OF_NAME = re.compile(r"(?:\s*[-–—,;(]\s*|\s+)(?:CNPJ|CPF|NIRE|CNAE|EIN|VAT)\b.*|\s{3,}.*")


def only(pattern: re.Pattern[str], valid: Callable[[Any], bool], key: Callable[[Any], str] = digits_key) -> Take:
    """The one value of a shape; where a text holds several, it is open which."""

    def take(text: str) -> Taken | None:
        found = [m for m in _values(pattern, text) if valid(m.value)]
        return found[0] if len({key(m.value) for m in found}) == 1 else None

    return take


def first(pattern: re.Pattern[str], valid: Callable[[Any], bool]) -> Take:
    """The first value of a shape."""
    return lambda text: next((m for m in _values(pattern, text) if valid(m.value)), None)


def whole(valid: Callable[[Any], bool], form: Callable[[str], str] = str) -> Take:
    """All of a text, if it is a value."""

    def take(text: str) -> Taken | None:
        value = form(text.strip(MARKS + "\"'“”"))
        start = text.find(value)
        return Taken(" ".join(value.split()), start, start + len(value)) if value and valid(value) else None

    return take


def item(take: Take, part: str, **others: Any) -> Take:
    """A value as a part of an item, with its other parts."""

    def taken(text: str) -> Taken | None:
        found = take(text)
        return found and found._replace(value={**others, part: found.value})

    return taken


def _values(pattern: re.Pattern[str], text: str) -> Iterator[Taken]:
    """The places of a shape; of its group `value`, if it has one."""
    group = "value" if "value" in pattern.groupindex else 0
    return (Taken(" ".join(m[group].split()), *m.span(group)) for m in pattern.finditer(text))


def name(text: str) -> Taken | None:
    """A company's name, without what else a line says of it."""
    lead = LEAD.match(text)
    begin = max(0, lead.end() - 1) if lead else 0  # one space stays: what comes behind it may be no part of a name
    found = whole(is_company_name)(NO_PART_OF_NAME.sub("", text[begin:]))
    return found and found.after(begin)


def name_with_form(text: str) -> Taken | None:
    """A name with its legal form: a cell under a caption may as well be the next caption."""
    found = name(text)
    return found if found and company_key(found.value) != text_key(found.value) else None


def firm(text: str) -> Taken | None:
    """A line that is a name with its legal form, and no sentence: **Acme Tools Ltd**."""
    if any(word.islower() and word not in SMALL for word in NO_PART_OF_NAME.sub("", text.strip()).split()):
        return None
    found = name_with_form(text.lstrip("#= "))
    return found.after(len(text) - len(text.lstrip("#= "))) if found else None


def line_above(text: str) -> Taken | None:
    """The last whole line that says something, if it is a name."""
    lines = [line for line in LINE.finditer(text) if any(map(str.isalnum, line[0]))]
    if not lines or lines[-1].end() == len(text) or "\t" in lines[-1][0].strip():
        return None
    found = whole(is_company_name)(lines[-1][0])
    return found and found.after(lines[-1].start())


def title(text: str) -> Taken | None:
    """The first line of a page, if the web address at its end spells it: # Acme ... Website: acme.com."""
    line, sites = LINE.search(text.lstrip()), list(_values(SITE, text))
    bare = line[0].strip(MARKS + "#=\r") if line else ""
    if not sites or not is_company_name(bare) or not _spells(website_key(sites[-1].value), bare):
        return None
    start = text.index(bare)
    return Taken(bare, start, start + len(bare))


def _spells(domain: str, named: str) -> bool:
    """Whether a domain is made of a name: acme.example, getacme.example or acme.tools of Acme Tools."""
    name, site = digits_key(company_key(named)), digits_key(domain.partition(".")[0])
    if min(len(name), len(site)) < LEAST_SPELLED:
        return False
    return name.startswith(site) or (name in site and 2 * len(name) >= len(site))


def year(text: str) -> Taken | None:
    """The year of a date, or alone."""
    found = only(YEAR, bool)(text[:60])
    return found and found._replace(value=int(found.value))


def count(text: str) -> Taken | None:
    """A number with which a text begins; no range, and no number of something else in it."""
    begin = ABOUT.match(text)
    number = COUNT.match(text, begin.end() if begin else 0)
    digits = digits_key(number["value"]) if number else ""
    return Taken(int(digits), *number.span()) if number and len(digits) <= MOST_DIGITS else None


def town(text: str) -> Taken | None:
    """A city's name, with or without its state: no words of a sentence."""
    found = whole(is_city, city_name)(text)
    words = found.value.split() if found else []
    named = all(word[0].isupper() or text_key(word) in SMALL for word in words)
    return found if named and len(words) <= LONGEST_CITY else None


def city(text: str) -> Taken | None:
    """The city of an address."""
    return seat(text).city


def country(text: str) -> Taken | None:
    """The country of an address."""
    return seat(text).country
