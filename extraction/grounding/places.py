"""Countries as texts name them, by CLDR (babel) and ISO 3166 (pycountry).

country_key("Deutschland") == country_key("Germany") == country_key("DE") == "DE"
"""

from functools import cache, lru_cache
from typing import Any

import pycountry
from babel import Locale
from babel.core import get_global
from babel.languages import get_official_languages
from babel.localedata import locale_identifiers

from extraction.grounding.text_folding import text_key


@cache
def official_languages() -> tuple[str, ...]:
    """Every language that is official somewhere and that CLDR has data for, English first."""
    spoken = {tag.split("_")[0] for code in _codes() for tag in get_official_languages(code, de_facto=True)}
    return ("en", *sorted((spoken & set(locale_identifiers())) - {"en"}))


@cache
def _codes() -> frozenset[str]:
    """The ISO 3166-1 codes of two letters."""
    return frozenset(country.alpha_2 for country in pycountry.countries)


@cache
def _names() -> dict[str, str]:
    """ISO codes by what countries are called: names in all languages, codes of two and three letters, countries
    that are parts of one (England)."""
    codes_by_name: dict[str, str] = {}
    for language in official_languages():
        for code, name in Locale.parse(language).territories.items():
            if code in _codes():
                codes_by_name.setdefault(text_key(name), code)
    for country in pycountry.countries:
        for attribute in ("name", "official_name", "common_name", "alpha_2", "alpha_3"):
            if name := getattr(country, attribute, None):
                codes_by_name.setdefault(text_key(name), country.alpha_2)
    for alias, codes in get_global("territory_aliases").items():
        if len(codes) == 1 and alias.isalpha() and codes[0] in _codes():
            codes_by_name.setdefault(text_key(alias), codes[0])
    for unit in pycountry.subdivisions:
        if unit.type == "Country":
            codes_by_name.setdefault(text_key(unit.name.split(" [")[0]), unit.country_code)
    codes_by_name.pop("", None)
    return codes_by_name


def country_key(value: Any) -> str:
    """The ISO code of a country named in any official language or by its code; else the text's own key."""
    key = text_key(value)
    return _names().get(key) or _names().get(key.replace(" ", ""), key)


def country_code(value: Any) -> str | None:
    """The ISO code of a country, None for what is none."""
    key = country_key(value)
    return key if key in _codes() else None


@lru_cache(maxsize=1_024)
def country_spellings(value: Any) -> tuple[str, ...]:
    """A country's names as a text may write them, letter by letter: of United States USA, US, Vereinigte
    Staaten."""
    code = country_code(value)
    if code is None:
        return ()
    country: Any = pycountry.countries.get(alpha_2=code)
    names = (Locale.parse(language).territories.get(code) for language in official_languages())
    aliases = (
        alias for alias, codes in get_global("territory_aliases").items() if codes == [code] and alias.isalpha()
    )
    official = (getattr(country, name, None) for name in ("name", "common_name", "official_name"))
    return tuple(dict.fromkeys(filter(None, (*official, *names, country.alpha_3, code, *aliases))))
