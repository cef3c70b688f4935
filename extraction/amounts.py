"""Amounts of money as texts write them: US$ 4.2 million, R$ 1,3 bilhões, 12,5 Mio. EUR."""

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Any

from babel.numbers import list_currencies
from price_parser import Price
from price_parser.parser import parse_number

from extraction.keys import text_key

# Powers of ten by folded word.
POINT_SCALES = {
    **dict.fromkeys(("thousand", "thousands", "k"), 3),
    **dict.fromkeys(("lakh", "lakhs", "lac", "lacs"), 5),
    **dict.fromkeys(("million", "millions", "mn", "mm", "m", "mln"), 6),
    **dict.fromkeys(("crore", "crores", "cr"), 7),
    **dict.fromkeys(("billion", "billions", "bn", "b", "bln"), 9),
    **dict.fromkeys(("trillion", "trillions", "tn"), 12),
}
# Of languages whose decimal sign is a comma: Portuguese, Spanish, German, French.
COMMA_SCALES = {
    **dict.fromkeys(("mil", "tsd", "tausend", "mille", "milliers"), 3),
    **dict.fromkeys(("mi", "milhao", "milhoes", "millon", "millones", "mio", "mill", "millionen"), 6),
    **dict.fromkeys(("bi", "bilhao", "bilhoes", "mil milhoes", "mil millones"), 9),
    **dict.fromkeys(("mrd", "milliarde", "milliarden", "milliard", "milliards", "md", "mds"), 9),
    **dict.fromkeys(("tri", "trilhao", "trilhoes", "bilioes", "billones", "billionen"), 12),
}
SCALES = POINT_SCALES | COMMA_SCALES
CURRENCIES = {
    **dict.fromkeys(("$", "us$", "u$", "dollar", "dollars", "dolar", "dolares"), "USD"),
    **dict.fromkeys(("r$", "real", "reais"), "BRL"),
    **dict.fromkeys(("€", "euro", "euros"), "EUR"),
    **dict.fromkeys(("£", "pound", "pounds", "libra", "libras"), "GBP"),
    **dict.fromkeys(("₹", "rs", "rupee", "rupees", "rupias"), "INR"),
    **dict.fromkeys(("c$", "ca$", "cdn$", "can$"), "CAD"),
    **dict.fromkeys(("a$", "au$"), "AUD"),
    **dict.fromkeys(("¥", "yen"), "JPY"),
    **dict.fromkeys(("rmb", "yuan", "renminbi"), "CNY"),
    **dict(zip(("nz$", "hk$", "s$", "mx$", "₩", "₽"), ("NZD", "HKD", "SGD", "MXN", "KRW", "RUB"), strict=True)),
    **dict(zip(("sfr", "francs", "meticais", "kwanzas", "zl"), ("CHF", "CHF", "MZN", "AOA", "PLN"), strict=True)),
}
NUMBER = re.compile(r"\d+(?:[.,'’]\d+|[ \u00a0\u202f]\d{3}(?!\d))*")
YEAR = re.compile(r"(?:19|20)\d\d")
WORD = re.compile(r"[)\s]*(?:of\s|de\s)?\s*(mil milhoes|mil millones|[^\W\d_]+)\.?")
# Words beside an amount that leave it one, where no currency tells that it is.
AROUND = re.compile(
    r"(?:about|around|approximately|approx|over|nearly|almost|more|than|up|to|some|circa|ca|cerca|de|mais|aproximadamente|"
    r"in|em|en|revenues?|sales|turnover|annual|annually|fy|year|per|receita|faturamento|anual|por|ao|ano|ingresos|"
    r"umsatz|chiffre|affaires|d|net|total|bruta|liquida|anuais)"
)


def amount_key(value: Any) -> str:
    """Currency and number, `USD 4200000`; the text's own key where there is not one number."""
    return _amount(str(value))[0] or text_key(value)


def is_amount(value: Any) -> bool:
    """Whether a text is one amount of money: its currency is said, or a scale and no other thing counted."""
    return _amount(str(value))[1]


@lru_cache(maxsize=65_536)
def _amount(value: str) -> tuple[str, bool]:
    """The key of an amount, empty without one number, and whether it is one of money."""
    text = _folded(value)
    numbers = [m for m in NUMBER.finditer(text) if not YEAR.fullmatch(m[0])] or list(NUMBER.finditer(text))
    if len(numbers) != 1 or len(text) > 120:
        return "", False
    number = numbers[0]
    scale, end = _scale(text, number.end())
    amount = _parsed(number[0], scale)
    if amount is None:
        return "", False
    currency = _currency(text)
    rest = text_key(YEAR.sub(" ", text[: number.start()] + " " + text[end:])).split()
    shown = f"{(amount * 10 ** SCALES.get(scale, 0)).normalize():f}"
    money = bool(currency) or (bool(scale) and all(AROUND.fullmatch(word) for word in rest))
    return f"{currency} {'-' if _is_negative(text, number) else ''}{shown}".strip(), money and "%" not in text


def _folded(value: str) -> str:
    """Without case and accents; signs of currencies stay."""
    decomposed = unicodedata.normalize("NFKD", value).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c)).strip()


def _scale(text: str, end: int) -> tuple[str, int]:
    """The word for a power of ten after a number, and where it ends."""
    word = WORD.match(text, end)
    return (word[1], word.end()) if word and word[1] in SCALES else ("", end)


def _parsed(number: str, scale: str) -> Decimal | None:
    """A number whose comma is a decimal sign where the language of its scale has it so."""
    comma = scale in COMMA_SCALES and number.count(",") == 1 and "." not in number
    grouped = re.sub(r"['’\s]", "", number)
    return parse_number(grouped, decimal_separator="," if comma else None)


def _currency(text: str) -> str:
    """The ISO code of the currency that stands in a text, else nothing."""
    signs = re.findall(r"[a-z]{0,3}[$€£¥₹₩₽]|[^\W\d_]+", text)
    found = [CURRENCIES.get(sign) or (sign.upper() if sign.upper() in list_currencies() else "") for sign in signs]
    return next(filter(None, found), "") or CURRENCIES.get((Price.fromstring(text).currency or "").casefold(), "")


def _is_negative(text: str, number: re.Match[str]) -> bool:
    return bool(re.search(r"(?:^|\s)[-−(]\s*[^\d\s]{0,4}\s*$", text[: number.start()]))
