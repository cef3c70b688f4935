"""Numbers under which a company is registered, taxed or listed, by the standards that python-stdnum knows.

    is_tax_id("04.519.915/0001-69")              # a CNPJ whose check digits hold
    [n.scheme for n in numbers_in("LEI 529900T8BM49AURSDO55", ())]  # ["LEI"]

A number is refused only where a standard says that it is none.
"""

import pkgutil
import re
import string
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import stdnum
from stdnum import get_cc_module, isin, lei, vatin
from stdnum.br import cnpj
from stdnum.us import ein

from extraction.grounding.text_folding import Shapes, digits_key, text_key

NUMBER_KINDS = (
    "vat",
    "businessid",
    "ein",
    "siren",
    "siret",
    "orgnr",
    "ogrn",
    "regon",
    "cui",
)  # of companies, by python-stdnum
SHORTEST_NUMBER, LONGEST_NUMBER = 8, 22  # letters and digits of such a number
LEAST_DIGITS = 7
MOST_NUMBER_WORDS = 5  # that a number is written in: GB 123 4567 89, 552 100 554 00013
NUMBER_SHAPES = Shapes(string.ascii_uppercase + string.digits, "- \u00a0./–")
NUMBER_RUN = re.compile(rb"A(?:-?A){7,}")  # in which a number may stand
NO_NUMBER = r"\s(){}\[\]<>,;:|\"'"  # characters around a word of a number
NUMBER_WORD = re.compile(  # with a digit, or two capitals; a word is looked at once, from its begin
    rf"(?<![^{NO_NUMBER}])(?:[^\d{NO_NUMBER}]*+\d[^{NO_NUMBER}]*|[A-Z]{{2}}(?![^{NO_NUMBER}]))"
)
NUMBER_END = re.compile(rf"[{NO_NUMBER}]|$")
NEXT_SENTENCE = re.compile(r"(?<=\d)\.(?=[^\W\d_]*[^\W\d_A-Z])")
NUMBER_SIGNS = "./-–"
DIGIT = re.compile(r"\d")
PREFIX = re.compile(r"[A-Z]{2}")


class Number(NamedTuple):
    """A number in a text, `text[start:end]`."""

    scheme: str
    start: int
    end: int


@cache
def _national() -> dict[str, tuple[ModuleType, ...]]:
    """The standards of each country (ISO code) for its companies' numbers."""
    packages = (module.name.rstrip("_") for module in pkgutil.iter_modules(stdnum.__path__) if module.ispkg)
    countries = [name for name in packages if len(name) == 2 and name != "eu"]
    by_country: dict[str, list[Any]] = {cc: [get_cc_module(cc, kind) for kind in NUMBER_KINDS] for cc in countries}
    return {cc.upper(): tuple(dict.fromkeys(filter(None, modules))) for cc, modules in by_country.items()}


@cache
def _written() -> tuple[ModuleType, ...]:
    """The standards that say how their number is written."""
    modules = (module for group in _national().values() for module in group)
    return tuple(dict.fromkeys(module for module in modules if hasattr(module, "format")))


def numbers_in(text: str, countries: tuple[str, ...]) -> Iterator[Number]:
    """The numbers in a text that follow a standard: international ones, those with their country's prefix, those
    written the way their standard writes them, and those that are valid in one of some countries."""
    for run in NUMBER_RUN.finditer(NUMBER_SHAPES.of(text)):
        yield from _numbers_in_run(text, run.start(), run.end(), countries)


def _numbers_in_run(text: str, begin: int, stop: int, countries: tuple[str, ...]) -> Iterator[Number]:
    """The numbers in one run of capitals and digits; a number may be some of its words, the longest first."""
    matches = NUMBER_WORD.finditer(text, begin, next(NUMBER_END.finditer(text, stop)).start())
    words = [(match.start(), match.start() + len(_number_of(match[0]))) for match in matches]
    at = 0
    while at < len(words):
        last = at
        while last + 1 < len(words) and last - at < MOST_NUMBER_WORDS - 1 and _joined(text, words, last):
            last += 1
        for end in range(last, at - 1, -1):
            scheme = _scheme(text[words[at][0] : words[end][1]], countries)
            if scheme:
                yield Number(scheme, words[at][0], words[end][1])
                at = end
                break
        at += 1


def _joined(text: str, words: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether nothing but a space stands between a word and the next one, which has digits."""
    end, (start, stop) = words[at][1], words[at + 1]
    return text[end:start] in (" ", "\u00a0") and bool(DIGIT.search(text, start, stop))


def _number_of(word: str) -> str:
    """A word without what ends a sentence, and without the next one's begin: of `89.237.911/0289-08.The`."""
    return NEXT_SENTENCE.split(word, 1)[0].rstrip(".-–/")


@lru_cache(maxsize=65_536)
def _scheme(written: str, countries: tuple[str, ...]) -> str | None:
    """The standard that a number follows as it is written."""
    number = "".join(filter(str.isalnum, written)).upper()
    digits = sum(map(str.isdigit, number))
    if not (SHORTEST_NUMBER <= len(number) <= LONGEST_NUMBER and digits and number.isascii()):
        return None
    if digits < len(number) and written.isupper():  # without a letter none of these three is meant
        for scheme, module in (("LEI", lei), ("ISIN", isin), ("VAT", vatin)):
            if module.is_valid(number):
                return scheme
    if digits < LEAST_DIGITS:
        return None
    if any(sign in written for sign in NUMBER_SIGNS):
        for module in _written_as(DIGIT.sub("1", written)):
            if module.is_valid(written) and module.format(module.compact(written)) == written:
                return _name_of(module)
    for country in countries:
        for module in _national().get(country, ()):
            if module.is_valid(written) and _has_check_digit(module, number):
                return _name_of(module)
    return None


@lru_cache(maxsize=65_536)
def _written_as(shape: str) -> tuple[ModuleType, ...]:
    """The standards that would write a number of this shape as it is, with 1 for every digit."""
    return tuple(module for module in _written() if _formats(module, shape))


def _formats(module: ModuleType, shape: str) -> bool:
    try:
        return bool(module.format(module.compact(shape)) == shape)
    except (IndexError, ValueError):  # of another length than its numbers have
        return False


def _name_of(module: ModuleType) -> str:
    """A scheme of `company.Identifier` for a national standard."""
    return {cnpj: "CNPJ", ein: "EIN"}.get(module, "COMPANY_NUMBER")


def _has_check_digit(module: ModuleType, number: str) -> bool:
    """Whether a standard would tell if the last digit of a valid number were another."""
    others = (str(digit) for digit in range(10) if str(digit) != number[-1])
    return sum(bool(module.is_valid(number[:-1] + other)) for other in others) <= 1


def number_key(value: Any) -> str:
    """The letters and digits of a number, in capitals, without words before it: of `CNPJ/MF 04.519.915/0001-69`.
    Two capitals may be its country's: DE 123456788."""
    words = str(value).split()
    first = next((n for n, word in enumerate(words) if any(map(str.isdigit, word))), 0)
    if first and PREFIX.fullmatch(words[first - 1]):
        first -= 1
    return digits_key(" ".join(words[first:])).upper()


@lru_cache(maxsize=65_536)
def is_tax_id(value: Any) -> bool:
    """Whether a value is a company's number by the standard of any country."""
    number = number_key(value)
    modules = (module for group in _national().values() for module in group)
    return (
        number.isascii()
        and len(number) >= SHORTEST_NUMBER
        and (vatin.is_valid(number) or any(module.is_valid(number) for module in modules))
    )


def ticker_key(value: Any) -> str:
    """A symbol without the exchange before it: `NYSE: BA`."""
    text = str(value)
    return text_key(text.rpartition(":")[2]).upper() or text_key(text).upper()


def identifier_key(item: Any) -> str:
    """A number with its scheme. Takes an item with `scheme`, `value` and `issuer`; the issuer tells none apart."""
    if not isinstance(item, dict):
        return number_key(item)
    scheme, value = str(item.get("scheme") or "OTHER"), item.get("value")
    if scheme == "TICKER":
        return f"{scheme} {ticker_key(value)}"
    number = number_key(value)
    return f"{scheme} {number.lstrip('0') or number if scheme == 'CIK' else number}"


def is_identifier(item: Any) -> bool:
    """Whether an item's value is a number of its scheme, as far as there is a standard for it."""
    if not isinstance(item, dict) or item.get("value") is None:
        return False
    number = number_key(item["value"])
    match item.get("scheme"):
        case "CNPJ":
            return bool(cnpj.is_valid(number))
        case "EIN":
            return bool(ein.is_valid(number))
        case "LEI":
            return bool(lei.is_valid(number))
        case "ISIN":
            return bool(isin.is_valid(number))
        case "VAT":
            return is_tax_id(item["value"])
    return bool(number)


def industry_code_key(item: Any) -> str:
    """The digits of a classification's code with its system: CNAE 6201501. Takes an item with `system`, `code`."""
    if not isinstance(item, dict):
        return digits_key(item)
    return f"{item.get('system')} {digits_key(item.get('code'))}"
