"""Numbers under which a company is registered or listed: which are valid, and when two are the same.

Check digits are checked where a scheme has them. Where it has none, only what is written like such a
number counts, and a row of one digit or of counting up doesn't.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from stdnum import isin, lei
from stdnum.ar import cuit
from stdnum.au import abn
from stdnum.br import cnpj
from stdnum.ch import uid
from stdnum.cl import rut
from stdnum.eu import vat
from stdnum.exceptions import ValidationError
from stdnum.gb import vat as gb_vat
from stdnum.in_ import gstin
from stdnum.mx import rfc
from stdnum.pt import nif
from stdnum.us import ein

from extraction.keys import digits_key, text_key
from extraction.places import country_key

Check = Callable[[str], object]

# What a text writes before a number: CNPJ/MF, EIN, VAT No.
LABEL = re.compile(
    r"^(?:irs )?(?:cnpj(?: mf)?|ein|tin|cik|lei|isin|d ?u ?n ?s|vat(?: ?id)?|ust idnr|nipc|nif|tax id|"
    r"iva|tva)(?: (?:no|nr|number|code|n))?(?= )"
)
DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
EIN = re.compile(r"\d\d-?\d{7}")
OTHER_NUMBER = re.compile(r"[(+,]|^\s*\d{5}-\d{3,4}\s*$")  # a telephone number, an amount, a postal code
EXCHANGES = (
    r"nyse(?: american| arca| mkt)?|nasdaq(?:[ -]?(?:gs|gm|cm))?|amex|lse|aim|tsx[ -]?v?|asx|b3|bovespa|bvmf|"
    r"euronext|xetra|fwb|hkex|sehk|nse|bse|sgx|otc(?:qb|qx|bb| markets| pink)?|cse|epa|etr|lon|tse|jse|six|bmv|cve"
)
LISTED = re.compile(
    rf"^\(?(?:(?:ticker|symbol|ticker symbol|trading symbol)\s*:?\s*)?(?:(?:{EXCHANGES})\s*:\s*)?", re.I
)
# A symbol; one with a share class or maturity: BRK.B, HON 32A, T PRA, DOW/27; one with its exchange: 7203.T.
TICKER = re.compile(
    r"[A-Z]{1,6}|[A-Z]{1,5}\d{1,3}[A-Z]{0,2}[a-z]?|[A-Z]\d[A-Z]{2}\d{2}|"
    r"[A-Z]{1,5}(?:[./-](?:[A-Z]|\d\d[A-Z]?|PR[A-Z]?)| (?:\d\d[A-Z]?|PR[A-Z]?))|"
    r"[A-Z\d]{1,12}(?:-[A-Z]{1,2})?\.[A-Z]{1,2}"
)
EXCHANGE_END = re.compile(r"(?: (?:sa|ns|bo|to|pa|de|l|t|hk|ss|sz|ax|mc|mi|as|br|sw|st|ol|co|he|ls|vi|ir|f))+$")
# Capitals that stand beside a symbol and are none.
NO_TICKERS = frozenset(
    (
        *("nyse", "nasdaq", "amex", "lse", "tsx", "asx", "bovespa", "euronext", "otc", "sec", "none", "na", "null"),
        *("symbol", "ticker", "title", "common", "stock", "share", "shares", "class", "inc", "ltd", "corp", "llc"),
        *("plc", "usd", "eur", "gbp", "brl", "no", "yes", "item", "form", "exact", "name", "state", "the", "and"),
        *("n a", "u s", "u k", "s a", "a s", "l p", "n v", "a g", "b v", "p c"),
        *("ltda", "par", "value", "each", "trade", "traded", "ein", "cik", "cnpj", "usa", "irs", "notes", "notas"),
    )
)
# A code of a classification, with the system's name and edition before it and what it is called behind it:
# NACE Rev. 2: J62.01, CNAE 62.01-5/01 - Software.
INDUSTRY = re.compile(
    r"\W*(?:(?:cnae|naics|sic|nace|isic|gics)\b"
    r"(?:\W*(?:(?:19|20)[0-9]{2}|(?:rev\W*)?[0-9](?:\.[0-9])?)(?=[^\d.]\D*[0-9]{2}))?\D*?)?"
    r"(?:\b(?P<section>[A-V])\W?)?(?P<code>[0-9][0-9./-]*)(?:\s*[-:]\s+\D+|\s*\(\D+)?\W*",
    re.I,
)
INDUSTRY_DIGITS = {  # Brazil's CNAE has 5 or 7, Spain's 4; the SIC of Britain has 5
    "CNAE": (4, 5, 7),
    "NAICS": (2, 3, 4, 5, 6),
    "SIC": (2, 3, 4, 5),
    "NACE": (2, 3, 4),
    "ISIC": (2, 3, 4),
    "GICS": (2, 4, 6, 8),
}
WITH_SECTION = ("CNAE", "NACE", "ISIC")  # whose codes may begin with a letter, which says nothing more
TAX_CHECKS: tuple[Check, ...] = (
    *(cnpj.validate, vat.validate, gb_vat.validate, uid.validate, abn.validate, gstin.validate),
    *(rfc.validate, cuit.validate, rut.validate, nif.validate),
)


def _compact(value: Any) -> str:
    """The letters and digits of a number, in capitals, without the scheme's name before it."""
    return digits_key(LABEL.sub("", text_key(value))).upper()


def _passes(check: Check, number: str) -> bool:
    try:
        return bool(number.isascii() and check(number))
    except (ValidationError, ValueError):
        return False


def _is_filler(number: str) -> bool:
    return len(set(number)) < 2 or number in "01234567890123456789" or number in "9876543210"


def is_cnpj(value: Any) -> bool:
    """Whether a CNPJ has its check digits, with signs or without."""
    return _passes(cnpj.validate, _compact(value))


def is_ein(value: Any) -> bool:
    """Whether a number is written as an EIN is, 94-2404110 or plain, and begins as one that is given out."""
    number = _compact(value)
    written = re.sub(r"^\D+", "", str(value).translate(DASHES)).strip(" .,;)")
    return bool(EIN.fullmatch(written)) and not _is_filler(number) and _passes(ein.validate, number)


def tax_id_key(value: Any) -> str:
    """The letters and digits of a tax number."""
    return _compact(value)


@lru_cache(maxsize=65_536)
def _is_tax_number(number: str) -> bool:
    return not _is_filler(number) and any(_passes(check, number) for check in TAX_CHECKS)


def is_tax_id(value: Any) -> bool:
    """Whether a value is an EIN, a CNPJ, a VAT number of Europe or a company's tax number of some others."""
    if OTHER_NUMBER.search(str(value)):
        return False
    return is_ein(value) or _is_tax_number(_compact(value))


def ticker_key(value: Any) -> str:
    """A symbol without the exchange around it: `NYSE: BA`, `VALE3.SA`."""
    symbol = text_key(LISTED.sub("", str(value).strip()))
    return (EXCHANGE_END.sub("", symbol) or symbol or text_key(value)).upper()


def is_ticker(value: Any) -> bool:
    """Whether a value is written as symbols are: capitals, alone or with a class or an exchange."""
    text = str(value).strip()
    symbol = LISTED.sub("", text).strip(" ()")
    return bool(TICKER.fullmatch(symbol)) and text_key(symbol) not in NO_TICKERS and not symbol.isdigit()


def _is_vat(number: str, issuer: Any) -> bool:
    country = country_key(issuer) if issuer else ""
    spellings = (number, f"{country}{number}") if len(country) == 2 else (number,)
    return any(_is_tax_number(spelling) for spelling in spellings)


def identifier_key(item: Any) -> str:
    """A number with its scheme. Takes an item with `scheme`, `value` and `issuer`; the issuer tells none apart."""
    if not isinstance(item, dict):
        return digits_key(item)
    scheme, value = str(item.get("scheme") or "OTHER"), item.get("value")
    if scheme == "TICKER":
        return f"{scheme} {ticker_key(value)}"
    number = _compact(value)
    return f"{scheme} {number.lstrip('0') or number if scheme == 'CIK' else number}"


def is_identifier(item: Any) -> bool:
    """Whether an item's value is one of its scheme."""
    if not isinstance(item, dict) or item.get("value") is None:
        return False
    value, scheme = item["value"], item.get("scheme")
    number = _compact(value)
    match scheme:
        case "CNPJ":
            return is_cnpj(value)
        case "EIN":
            return is_ein(value)
        case "TICKER":
            return is_ticker(value)
        case "LEI":
            return _passes(lei.validate, number)
        case "ISIN":
            return _passes(isin.validate, number)
        case "VAT":
            return _is_vat(number, item.get("issuer"))
        case "CIK":
            return bool(re.fullmatch(r"[0-9]{1,10}", number)) and bool(number.strip("0"))
        case "DUNS":
            return bool(re.fullmatch(r"[0-9]{9}", number)) and not _is_filler(number)
        case _:
            return 3 <= len(number) <= 40 and any(map(str.isdigit, number))


def industry_code_key(item: Any) -> str:
    """The digits of a classification's code with its system: CNAE 6201501. Takes an item with `system`, `code`."""
    if not isinstance(item, dict):
        return digits_key(item)
    found = _industry_code(item)
    digits = digits_key(found["code"]) if found else digits_key(item.get("code"))
    return f"{item.get('system')} {digits}"


def is_industry_code(item: Any) -> bool:
    """Whether an item's code has as many digits as codes of its system have. Whether there is such a code is
    not known."""
    found = _industry_code(item) if isinstance(item, dict) else None
    if not found or (found["section"] and item.get("system") not in WITH_SECTION):
        return False
    digits = digits_key(found["code"])
    return len(digits) in INDUSTRY_DIGITS.get(str(item.get("system")), ()) and bool(digits.strip("0"))


def _industry_code(item: dict[str, Any]) -> re.Match[str] | None:
    return INDUSTRY.fullmatch(str(item.get("code")).translate(DASHES))
