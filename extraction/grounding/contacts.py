"""E-mail addresses, telephone numbers and web addresses: what is none, and when two are the same."""

import re
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from tldextract import TLDExtract

from extraction.grounding.places import country_code
from extraction.grounding.text_folding import ascii_digits, digits_key

SHORTEST_PHONE, LONGEST_PHONE = 5, 15  # digits; the longest of E.164
LONGEST_WRITTEN = 40  # characters of a number with its signs
LOCAL_DIGITS = 8  # that two numbers must share at their ends
HOST = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])")
MAILTO = re.compile(r"^(?:mailto:|[ <>.,;])+")
AROUND = " <>()[].,;\"'"  # what a text puts around an address
URL_SCHEME = re.compile(rf"^(?:[a-z][a-z0-9+.-]*://|www\.|[{re.escape(AROUND)}])+")
PUNYCODE = re.compile(r"\bxn--[a-z0-9-]+", re.IGNORECASE)
TRACKING = re.compile(r"(?<=[?&])(?:utm_\w+|gclid|fbclid|mc_[ce]id)=[^&]*&?")


def email_key(value: Any) -> str:
    """An address in lower case, its domain as it is read."""
    return _email(str(value)) or _bare_email(str(value))


def is_email(value: Any) -> bool:
    """Whether a value is an address that mail could be sent to. Nobody is asked whether it can."""
    return bool(_email(str(value)))


def _bare_email(value: str) -> str:
    return MAILTO.sub("", " ".join(value.casefold().split()).rstrip(" <>.,;"))


@lru_cache(maxsize=65_536)
def _email(value: str) -> str:
    try:
        return validate_email(_bare_email(value), check_deliverability=False).normalized.casefold()
    except EmailNotValidError:
        return ""


def phone_key(value: Any) -> str:
    """A number in E.164 (+551133221100) if it names its country, else its digits."""
    return _phone(str(value))


@lru_cache(maxsize=65_536)
def _phone(value: str) -> str:
    value = ascii_digits(value)
    at = value.find("+")
    if at >= 0:
        try:
            number = phonenumbers.parse(value[at : at + LONGEST_WRITTEN])
        except phonenumbers.NumberParseException:
            number = None
        if number and phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return "".join(filter(str.isdigit, value)) or digits_key(value)


def same_phone(one: str, other: str) -> bool:
    """Whether two of `phone_key`'s keys end alike: one may lack the country or the 0 before the area."""
    short, long = sorted((key.lstrip("+0") for key in (one, other)), key=len)
    return len(short) >= LOCAL_DIGITS and long.endswith(short)


def is_phone(value: Any) -> bool:
    """Whether a value can be a telephone number: of a length that its country's plan has where it names the
    country, else not longer than any number is (E.164)."""
    digits = "".join(filter(str.isdigit, str(value)))
    if str(value).strip().startswith(("+", "00")):
        key = phone_key(re.sub(r"^00", "+", str(value).strip()))
        return key.startswith("+")
    return SHORTEST_PHONE <= len(digits) <= LONGEST_PHONE


@cache
def _suffixes() -> TLDExtract:
    """The public suffixes that the library brings. `example` stands in texts that invent companies."""
    return TLDExtract(
        suffix_list_urls=(), cache_dir=None, extra_suffixes=("example",), include_psl_private_domains=True
    )


@lru_cache(maxsize=65_536)
def _domain(value: str) -> str:
    """The registrable domain of a web address, empty if it is none."""
    bare = url_key(value)
    host = re.split(r"[/?:]", bare, maxsplit=1)[0].rstrip(".")
    if "@" in bare.partition("/")[0] or not HOST.fullmatch(host) or len(host) > 253:
        return ""
    return _suffixes()(host).top_domain_under_public_suffix


@lru_cache(maxsize=65_536)
def country_of_host(value: str) -> str | None:
    """The ISO code of the country under whose top-level domain a web or mail address is; None for .com and the
    like."""
    suffix = _domain(value.rpartition("@")[2]).rpartition(".")[2]
    return country_code(suffix) if len(suffix) == 2 else None


def website_key(value: Any) -> str:
    """The registrable domain: `acme.com.br` of `https://www.shop.acme.com.br/en`; else as `url_key`."""
    return _domain(str(value)) or url_key(value)


def is_url(value: Any) -> bool:
    """Whether a value is a web address: its host ends in a public suffix."""
    return bool(_domain(str(value)))


def url_key(value: Any) -> str:
    """The host and path of a web address, without scheme, `www.`, tracking, fragment and closing slash."""
    bare = unicode_host(URL_SCHEME.sub("", " ".join(str(value).casefold().split()).rstrip(AROUND)))
    return TRACKING.sub("", bare.partition("#")[0]).rstrip(f"/?&{AROUND}")


def unicode_host(address: str) -> str:
    """A web address with the letters that the codes of its host (xn--...) stand for."""

    def label(code: re.Match[str]) -> str:
        try:
            return code[0].encode("ascii").decode("idna")
        except UnicodeError:
            return code[0]

    return PUNYCODE.sub(label, address) if "xn--" in address.casefold() else address
