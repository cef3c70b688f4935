"""Sentences: turns of phrase in which a text says one thing of its company, and how that is taken from them.

    The company was founded in 1957 and is headquartered in Barretos, Brazil.

Only where the company is the subject: as such, or by the name with which the text begins. A text that says two
different things so leaves open which.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

from extraction.captions import Take, Taken
from extraction.folding import everywhere, lowered
from extraction.keys import text_key
from extraction.names import SMALL
from extraction.shapes import city, count, country, year

BEFORE = 80  # characters of a phrase before its stem
SUBJECT = 120  # characters before a phrase
NAME = 10  # words of a name
BETWEEN_PLACES = SMALL | {"under", "laws", "state", "city", "town", "em", "estado", "cidade"}
LAST = len("U.S.")  # characters of a word with a point that ends no sentence: St., N.Y.
FIRST_WORDS = 200  # characters with which a text begins


@dataclass(frozen=True)
class Phrase:
    """A turn of phrase around one of its `stems`, which are quick to look for: all in lower case, as is what it is
    looked for in.

    `before` ends where the stem begins, `after` begins there; one of them has the group `value`, of which `take`
    reads it, as it is written. With `of_company` the company has to stand before them.
    """

    stems: tuple[str, ...]
    before: re.Pattern[str]
    after: re.Pattern[str]
    take: Take
    of_company: bool = True

    def taken(self, text: str, lower: str) -> Taken | None:
        """The one value that a text gives so; `lower` is the text `lowered`."""
        stems = [stem for stem in self.stems if stem in lower]
        if not stems:
            return None
        places = sorted(at for stem in stems for at in everywhere(stem, lower))
        found = [value for at in places if (value := self._at(text, lower, at))]
        return found[0] if len({value.value for value in found}) == 1 else None

    def _at(self, text: str, lower: str, at: int) -> Taken | None:
        after = self.after.match(lower, at)
        before = after and self.before.search(lower, max(0, at - BEFORE), at)
        if not after or not before or (self.of_company and not _is_company(text, before.start())):
            return None
        if "where" in self.after.groupindex and not _is_where(text[slice(*after.span("where"))]):
            return None
        start, end = (after if "value" in self.after.groupindex else before).span("value")
        value = self.take(text[start:end])
        return value and value.after(start)


def said(text: str, phrases: Iterable[tuple[Phrase, Any]]) -> Iterator[tuple[Any, Taken]]:
    """What the sentences of a text say, with what they say it of."""
    lower = lowered(text)
    for phrase, of in phrases:
        if value := phrase.taken(text, lower):
            yield of, value


def _is_company(text: str, end: int) -> bool:
    """Whether what stands before a verb is the company."""
    subject = text[max(0, end - SUBJECT) : end].split()
    if not subject:
        return False
    if any(map(subject[-1].casefold().__contains__, COMPANY)) and CALLED.fullmatch(" ".join(subject[-3:])):
        return True
    words, name, least = _named_first(text[:FIRST_WORDS])
    if subject[-1] not in words:
        return False
    return any(word == subject[-1] and subject[-n:] == name[:n] for n, word in enumerate(name, 1) if n >= least)


def _is_where(words: str) -> bool:
    """Whether some words are names of places and what joins them, and no sentence ends among them."""
    return all(
        (word[0].isupper() or text_key(word) in BETWEEN_PLACES) and not (word.endswith(".") and len(word) > LAST)
        for word in words.split()
    )


@lru_cache(maxsize=1_024)
def _named_first(text: str) -> tuple[list[str], list[str], int]:
    """The words with which a text begins, those of them that may be a name, and how many of these are one."""
    words = text.lstrip("#* \n")[:SUBJECT].split()[:NAME]
    name = list(takewhile(lambda word: not word[0].islower() or text_key(word) in SMALL, words))
    return words, name, 1 if name and len(name[0]) > len("The") else 2


# How a text calls its company where it does not name it: the company, (the "Company"), our firm.
COMPANY = (
    *("company", "firm", "business", "group", "we", "workshop", "mill"),
    *("empresa", "companhia", "firma", "fábrica"),
)
ANY_COMPANY = rf"(?:{'|'.join(COMPANY)})"
CALLED = re.compile(rf"(?!.*\b(?:parent|holding)\b)(?:.*\W)?{ANY_COMPANY}[”\")]*,?", re.IGNORECASE)
DATE = (
    r"(?P<value>(?:\d{1,2}º?\s+(?:de\s+|of\s+)?)?(?:[^\W\d_]{3,9}\.?\s+(?:\d{1,2},?\s+)?(?:de\s+|of\s+)?)?"
    r"(?:1[6-9]|20)\d\d)\b"
)
# Up to where an address ends in a sentence.
PLACE = r"(?P<value>(?:(?!\s(?:with|and|where|which|near|com|onde|e)\s)(?:[^.;\n]|\.(?=\S))){2,80})"
NUMBER = r"\s+(?:(?:about|approximately|around|cerca\s+de)\s+)?(?P<value>\d[\d.,]*)\s+(?:full-time\s+)?$"
BEGAN = (
    *("founded", "incorporated", "established", "formed", "started", "set up"),
    *("fundada", "fundado", "criada", "criado", "constituída"),
)
SEAT = ("headquartered in", "based in", "domiciled in", "head office in", "headquarters in")
HEADS = (
    *("employees", "staff", "people", "workers"),
    *("colaboradores", "funcionários", "empregados", "trabalhadores", "pessoas"),
)


def _phrase(stems: tuple[str, ...], before: str, after: str, take: Take, *, of_company: bool = True) -> Phrase:
    return Phrase(stems, re.compile(before), re.compile(after), take, of_company)


IS_IN = (
    r"(?:\b(?:was|were)\s+\w+\s+(?:in|on)\s+[\w ,]{4,25}?,?\s+and\s+)?"
    r"\b(?:(?:is|are)\s+(?:\w+ly\s+)?|has\s+its\s+)$"
)
IN_PLACE = rf"\w+(?:\s\w+)?\s+in\s+{PLACE}"

# in Toledo, Ohio, or under the laws of the State of Ohio: names, as `_is_where` sees to it
WHERE = r"(?P<where>(?:in|em|under\sthe\slaws\sof)\s(?:\S{1,30}\s){1,8}?)"

founding_years = (
    _phrase(
        BEGAN,
        r"(?:\b(?:was|were|foi)\s+(?:\w+ly\s+)?|,\s+)$",
        rf"\w+(?:\sup)?\s+{WHERE}??(?:in|on|em)\s+{DATE}",
        year,
    ),
    _phrase(
        ("nasceu em", "surgiu em"),
        rf"(?:^|[.\n]\s*)(?:a|nossa)\s+{ANY_COMPANY}\s+$",
        rf"\w+\s+em\s+{DATE}",
        year,
        of_company=False,
    ),
    _phrase(  # Founded in 1998 by three chemists, the company
        ("founded in", "incorporated in", "fundada em", "fundado em"),
        r"(?:^|[.:\n]\s*)$",
        rf"\w+\s+\w+\s+{DATE}[^.;\n]{{0,60}},\s+(?:(?:the|our|a)\s+)?{ANY_COMPANY}\b",
        year,
        of_company=False,
    ),
)
cities = (_phrase(SEAT, IS_IN, IN_PLACE, city),)
countries = (_phrase(SEAT, IS_IN, IN_PLACE, country),)
headcounts = (
    _phrase(HEADS, rf"\b(?:has|have|had|employs?|employed|emprega|tem|temos){NUMBER}", r"\w+", count),
    _phrase(
        HEADS,
        rf"\b(?:dá\s+emprego\s+a|somos(?:\s+hoje)?|onde\s+trabalham){NUMBER}",
        r"\w+",
        count,
        of_company=False,
    ),
    _phrase(("of us",), rf"\bthere\s+are{NUMBER}", r"of\s+us\b", count, of_company=False),
    _phrase(
        ("staff of", "workforce of", "headcount of"),
        r"\b(?:its|our)\s+(?:(?:present|current|total)\s+)?$",
        r"\w+\s+of\s+(?:(?:about|approximately|around)\s+)?(?P<value>\d[\d.,]*)",
        count,
        of_company=False,
    ),
)
