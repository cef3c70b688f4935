"""E-mail addresses, telephone numbers and web addresses: which are a company's, and when two are the same."""

import re
from datetime import date
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from tldextract import TLDExtract

from extraction.identifiers import is_cnpj
from extraction.keys import digits_key

EXTENSION = re.compile(r"[\s,;]*(?:\b(?:ext(?:ension)?|ramal|x|r)|#)[\s.:]*\d{1,6}$", re.IGNORECASE)
# What a text writes before a number: Tel., Fone/Fax:, WhatsApp.
CALL = re.compile(
    r"^(?:(?:tele?(?:phone|fone|fono|fon)?|phone|fone|fax|mobile|celular|cel|whats\s?app|office|t|f|m|p)\b[\s.:/]*)+",
    re.IGNORECASE,
)
NEXT = re.compile(r"\s*[/;|]\s*|\s+(?:ou|or|e|and|y)\s+", re.IGNORECASE)
PHONE = re.compile(r"\+?[\d\s().\-‐‑‒–—/]+")
NO_PHONE = re.compile(
    r"\d\d-\d{7}|\d{3}-\d\d-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|.*\d/\d{4}-\d\d|"  # EIN, SSN, CPF, CNPJ
    r"\d{1,3}-\d{5}|\d{5}-\d{3,4}|0{3}\d+|"  # a file's number, a postal code, a CIK
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d|"  # days, years
    r"\d{1,2}(?:\.\d{3})+|\d{1,3}(?:\.\d{1,3}){3}"  # thousands, an address of the internet
)
DASHES = str.maketrans(dict.fromkeys("‐‑‒–—", "-"))

HOST = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])")
MAILTO = re.compile(r"^(?:mailto:|[ <>.,;])+")
AROUND = " <>()[].,;\"'"  # what a text puts around an address
SCHEME = re.compile(rf"^(?:[a-z][a-z0-9+.-]*://|www\.|[{re.escape(AROUND)}])+")
TRACKING = re.compile(r"(?<=[?&])(?:utm_\w+|gclid|fbclid|mc_[ce]id)=[^&]*&?")
# Sites that are about many companies, or that documents cite for their format.
DIRECTORIES = frozenset(
    (
        *("linkedin.com", "facebook.com", "fb.com", "instagram.com", "twitter.com", "x.com", "youtube.com", "t.me"),
        *("youtu.be", "tiktok.com", "pinterest.com", "whatsapp.com", "wa.me", "telegram.me", "threads.net"),
        *("yelp.com", "crunchbase.com", "wikipedia.org", "wikidata.org", "glassdoor.com", "indeed.com", "angel.co"),
        *("wellfound.com", "pitchbook.com", "zoominfo.com", "trustpilot.com", "tripadvisor.com", "g2.com"),
        *("capterra.com", "ycombinator.com", "producthunt.com", "owler.com", "opencorporates.com", "bit.ly"),
        *("reclameaqui.com.br", "econodata.com.br", "cnpj.biz", "guiamais.com.br", "telelistas.net", "goo.gl"),
        *("jusbrasil.com.br", "yellowpages.com", "bbb.org", "sec.gov", "irs.gov", "w3.org", "schema.org"),
        *("xbrl.org", "fasb.org", "medium.com", "github.com", "company-information.service.gov.uk"),
    )
)


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
    return _phone_key(str(value))


@lru_cache(maxsize=65_536)
def _phone_key(value: str) -> str:
    text = _called(value)
    if text.startswith("+"):
        try:
            number = phonenumbers.parse(text)
        except phonenumbers.NumberParseException:
            number = None
        if number and phonenumbers.is_possible_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits_key(text) or digits_key(value)


def _called(value: str) -> str:
    """The first number of a text, without the words before it and the extension after it; 00 is +."""
    text = value.strip().translate(DASHES)
    first = NEXT.split(CALL.sub("", text), maxsplit=1)[0]
    number = EXTENSION.sub("", first if sum(map(str.isdigit, first)) > 6 else CALL.sub("", text)).strip(" .,;:")
    return re.sub(r"^00(?=[1-9])", "+", number) or text


def same_phone(one: str, other: str) -> bool:
    """Whether two of `phone_key`'s keys end alike: one may lack the country or the 0 before the area."""
    short, long = sorted((key.lstrip("+0") for key in (one, other)), key=len)
    return len(short) >= 8 and long.endswith(short)


def is_phone(value: Any) -> bool:
    """Whether a value has the digits and signs of a telephone number, and is no date, tax or other number."""
    text = _called(str(value))
    digits = "".join(filter(str.isdigit, text))
    if not PHONE.fullmatch(text) or not 7 <= len(digits) <= 15 or len(set(digits)) < 2:
        return False
    if any(NO_PHONE.fullmatch(t.strip(" ()")) for t in (text, str(value).translate(DASHES))) or is_cnpj(value):
        return False
    return text != digits or (len(digits) > 7 and not _is_day(digits))


def _is_day(digits: str) -> bool:
    """Whether eight digits are a day of our time: 20240531."""
    try:
        return len(digits) == 8 and 1900 <= date.fromisoformat(digits).year < 2100
    except ValueError:
        return False


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


def website_key(value: Any) -> str:
    """The registrable domain: `acme.com.br` of `https://www.shop.acme.com.br/en`; else as `url_key`."""
    return _domain(str(value)) or url_key(value)


def is_website(value: Any) -> bool:
    """Whether a value is a web address, and not one of a directory or social network."""
    domain = _domain(str(value))
    return bool(domain) and domain not in DIRECTORIES


def is_url(value: Any) -> bool:
    """Whether a value is a web address of any site."""
    return bool(_domain(str(value)))


def url_key(value: Any) -> str:
    """The host and path of a web address, without scheme, `www.`, tracking, fragment and closing slash."""
    bare = SCHEME.sub("", " ".join(str(value).casefold().split()).rstrip(AROUND))
    return TRACKING.sub("", bare.partition("#")[0]).rstrip(f"/?&{AROUND}")
