"""Names of people: when two are the same."""

from functools import cache, lru_cache
from typing import Any

from nameparser import HumanName
from nameparser.config import CONSTANTS

from extraction.keys import text_key


def person_key(value: Any) -> str:
    """A person's name without titles, suffixes and middle initials; `Silva, Ana` is `Ana Silva`."""
    return _person_key(str(value))


@lru_cache(maxsize=65_536)
def _person_key(value: str) -> str:
    plain = value.replace("'", "").replace("’", "")
    words = text_key(plain).split()
    first, middle, last = words[:1], words[1:-1], words[1:][-1:]
    if "," in plain or not _honours().isdisjoint(words):  # nameparser takes 200 times as long
        name = HumanName(" , ".join(text_key(part) for part in plain.split(",")))
        first, middle, last = (text_key(part).split() for part in (name.first, name.middle, name.last))
    return " ".join((*first, *(word for word in middle if len(word) > 1), *last)) or text_key(value)


@cache
def _honours() -> frozenset[str]:
    """Titles and suffixes: dr, sra, jr, phd."""
    known = (*CONSTANTS.titles, *CONSTANTS.suffix_acronyms, *CONSTANTS.suffix_not_acronyms)
    return frozenset(word for term in known for word in text_key(term).split())
