"""Meaning: whether a place at which a value stands can mean what a field asks for, by the words around it.

The Bank of New York Mellon is no seat in New York, and who has been a director since 1994 founded nothing then.
"""

import re

from extraction.folding import fold
from extraction.places import is_country, names_state
from extraction.surroundings import REACH, Span

# What a city's name is a part of, before it and behind it.
OF_CITY = re.compile(
    r"\b(?:bank|university|state|district|county|province|port|court|exchange|banco|universidade|estado|tribunal|"
    r"bolsa de valores|prefeitura) (?:of|de|do|da) (?:the )?$",
    re.IGNORECASE,
)
FIRM = re.compile(
    r",? (?:Inc|INC|Corp|CORP|Co\.|Ltd|LTD|Ltda|LTDA|LLC|L\.L\.C|plc|PLC|S\.A|GmbH)(?!\w)|(?: City)? [Tt]ime\b"
)
FAR = re.compile(
    r"\b(?:outside|(?:miles?|km|kilomet\w+)\b[\w\s]{0,20}\b(?:of|from|north|south|east|west))\b[\w\s]{0,25}$",
    re.IGNORECASE,
)
IN = re.compile(r"\b(?:in|at|near|em|en|im|à|a|aus|bei|no|na|i)\s+$", re.IGNORECASE)
NEXT_WORDS = re.compile(r" ([^\W\d_]+)(?: ([^\W\d_]+))?(?: ([^\W\d_]+))?")
CAPTION = re.compile(r" [^\W\d_]+\.?(?::|\s*(?:[\d+(]|www|http))")  # Recife Estado: PE, Recife Tel. 5555-0100
STILL_CITY = frozenset(
    ("city", "bay", "metropolitan", "metro", "area", "region", "cedex", "office", "offices", "hq", "headquarters")
)

BEGAN = (
    *("founded", "foundation", "founding", "established", "establishment", "set up", "opened", "started"),
    *("began", "in business", "nasceu", "nascid", "surgiu", "surgimos", "inicio de ativ", "inicio das ativ"),
    *("fundad", "fundou", "fundacao", "criad", "criou", "constituid", "constituicao", "abert", "abriu"),
    *("est. ", "inception", "dates back", "dating back", "its roots", "was formed", "were formed", "was created"),
    *("was organized", "organized under", "inaugurad", "fondat", "creada en", "creado en"),
    *("abrimos", "comecou", "gegrund", "fonde", "grundad", "opgericht", "costituit"),
)
BY_REFERENCE = r"(?! (?:herein|therein|hereby|by reference))"
BEGINS = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, BEGAN))}|incorporat\w*+{BY_REFERENCE})")
SINCE = re.compile(r"\b(?:since|desde|seit|depuis)\b[^.;]{0,25}$")  # somebody may have done something else since
SERVES = re.compile(
    r"\b(?:serv(?:ed|es|ing)|director|officer|president|chair\w*|member|joined|employed|appointed|elected|auditors?|"
    r"trustee|partner|diretora?|presidente|membro|conselheir[oa])\b"
)


def is_city_itself(text: str, span: Span) -> bool:
    """Whether a city's name stands for the city where it stands, and not for a part of another name."""
    lead = text[max(0, span[0] - REACH) : span[0]].rpartition("\n")[2]
    if OF_CITY.search(lead) or FAR.search(lead) or FIRM.match(text, span[1]):
        return False
    behind = NEXT_WORDS.match(text, span[1])
    if not behind or not behind[1][0].isupper() or IN.search(lead) or CAPTION.match(text, span[1]):
        return True
    words = [word for word in behind.groups() if word]
    runs = (" ".join(words[:count]) for count in range(1, len(words) + 1))
    return (
        words[0].isupper()
        or words[0].casefold() in STILL_CITY
        or any(names_state(r) or is_country(r) for r in runs)
    )


def is_founding(text: str, span: Span) -> bool:
    """Whether a year is near a word for a beginning, or for `since` where nobody serves since."""
    lead = fold(text[max(0, span[0] - REACH) : span[0]])
    behind = fold(text[span[1] : span[1] + REACH + len(" by reference")])
    if BEGINS.search(f"{lead}{text[slice(*span)]}{behind}"):
        return True
    return SINCE.search(lead) is not None and not SERVES.search(lead)


def is_in_words(text: str, span: Span) -> bool:
    """Whether a number has words in its line: alone, it is a page's, or a cell's whose column is not known."""
    start, end = text.rfind("\n", 0, span[0]) + 1, text.find("\n", span[1])
    line = text[start : end if end >= 0 else len(text)]
    return any(map(str.isalpha, line))
