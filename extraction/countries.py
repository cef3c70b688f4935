"""Names of countries in the languages that documents come in."""

from functools import cache
from typing import Any

from babel import Locale

from extraction.rules import text_key

LANGUAGES = ("en", "pt", "es", "fr", "de", "it", "nl", "sv", "da", "nb", "fi", "pl")
# Codes beside ISO's that texts use, and names that no list of territories has.
SPOKEN = {"usa": "US", "u s": "US", "u s a": "US", "uk": "GB", "u k": "GB", "england": "GB", "scotland": "GB"}


@cache
def _codes() -> dict[str, str]:
    found = {
        text_key(name): code
        for language in reversed(LANGUAGES)
        for code, name in Locale(language).territories.items()
        if len(code) == 2 and code.isalpha() and code not in ("ZZ", "EU", "EZ", "UN", "XA", "XB", "QO")
    }
    return {**{code.casefold(): code for code in found.values()}, **found, **SPOKEN}


def country_key(value: Any) -> str:
    """The ISO code of a country named in any of LANGUAGES or by its code; else the text's own key."""
    key = text_key(value)
    return _codes().get(key, key)


def is_country(value: Any) -> bool:
    """Whether a value names a country."""
    return text_key(value) in _codes()
