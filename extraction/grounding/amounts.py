"""Numbers and amounts of money as texts write them: 1,234.5, US$ 4.2 million, R$ 1,3 bilhões, 12,5 Mio. EUR."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

from price_parser import Price

from extraction.grounding.text_folding import Span, everywhere, text_key

GROUPING = ",.'’\u00a0\u2009\u202f"  # signs that only stand between the digits of one number
NO_DIGIT = re.compile(r"\D+")
IN_A_NUMBER = re.compile(r"(?<=\d)['’](?=\d{3})")
MINUS_SIGNS = ("-", "−", "–")
APART = f" {GROUPING}"
STRETCH = re.compile(rf"\d[\d{APART}]*")  # what the patterns look at: around it they need not be tried
AFTER = rf"(?![0-9]|[{GROUPING}]\d)"
BEFORE = rf"(?<![0-9])(?<!\d[{GROUPING}])"
NUMERALS = tuple(
    map(
        re.compile,
        (
            rf"{BEFORE}(?P<digits>[0-9]{{1,3}}(?:[{APART}][0-9]{{3}})+|[0-9]{{1,2}}(?:,[0-9]{{2}})+,[0-9]{{3}}|[0-9]++)"
            rf"(?:[.,]00?)?{AFTER}",  # the second as in India: 1,50,000
            rf"{BEFORE}(?P<digits>[0-9]++)(?:[.,]00?)?{AFTER}",  # 12 345 may be two
            rf"(?<=\d[.,])(?P<digits>[0-9]{{4}}){AFTER}",  # a year in a date: 12.03.1994
            r"(?<![0-9])(?P<digits>[0-9]{4})(?=\.\d\d?\.\d)",  # 1994.03.12
        ),
    )
)


def numerals(digits: str, text: str) -> Iterator[Span]:
    """The places of a number by its digits, whatever letters run on from them; decimals of .00 belong to one."""
    end = 0
    for at in everywhere(digits[-3:], text):  # a group of thousands at least
        if at < end:
            continue
        start = at
        while start and (text[start - 1].isdecimal() or text[start - 1] in APART):
            start -= 1
        stretch = next(STRETCH.finditer(text, start))
        start, end = stretch.span()
        alone = stretch[0].rstrip(APART)
        if alone == digits:
            yield start, start + len(digits)
        elif digits in NO_DIGIT.sub("", alone) and not (alone.isascii() and alone.isdigit()):
            matches = (match for pattern in NUMERALS for match in pattern.finditer(text, start, end))
            yield from sorted({match.span() for match in matches if NO_DIGIT.sub("", match["digits"]) == digits})


def fractions(value: float, text: str) -> Iterator[Span]:
    """The places of a positive number that is not whole, whatever letters run on from them: 1,234.5 or 1.234,50."""
    whole, _, decimals = f"{Decimal(str(value)):f}".partition(".")
    if decimals in text:
        yield from (match.span() for match in _fraction(whole, decimals).finditer(text))


@lru_cache(maxsize=4_096)
def _fraction(whole: str, decimals: str) -> re.Pattern[str]:
    first = len(whole) % 3 or 3
    head, *groups = [whole[:first], *(whole[at : at + 3] for at in range(first, len(whole), 3))]
    # One sign groups all thousands, or none does, and another one stands before the decimals.
    if groups:
        more = (f"(?(apart)(?P=apart)){group}" for group in groups[1:])
        head += "".join([rf"(?P<apart>[{APART}])?{groups[0]}", *more, "(?(apart)(?!(?P=apart)))"])
    return re.compile(rf"{BEFORE}{'0?' if whole == '0' else head}[.,]{decimals}0*{AFTER}")


def amount_key(value: Any) -> str:
    """Equal for amounts that have the same currency, number and words beside them, such as `million`."""
    value = IN_A_NUMBER.sub("", str(value))
    price = Price.fromstring(value)
    if price.amount is None or not price.amount_text:
        return text_key(value)
    words = text_key(value.replace(price.amount_text, " ").replace(price.currency or "", " ", 1))
    return " ".join(filter(None, ((price.currency or "").casefold(), f"{price.amount.normalize():f}", words)))
