"""Meaning: whether a place at which a value stands can mean what a field asks for, by the words around it.

The Bank of New York Mellon is no seat in New York, and who has been a director since 1994 founded nothing then.
What speaks against a place is listed; what is not is left to the model.
"""

import re

from extraction.cues import STAFF
from extraction.folding import fold
from extraction.surroundings import REACH, Span, has_any

# What a city's name is a part of, before it and behind it, and what says that it is elsewhere.
OF_CITY = re.compile(
    r"\b(?:bank|university|college|district|port|court|banco|bolsa de valores|junta comercial|prefeitura|"
    r"(?<!city and )(?<!county and )state|(?:universidade|tribunal)(?: federal| estadual| de justi[cç]a)?)"
    r" (?:of|de|do|da) (?:the )?$",
    re.IGNORECASE,
)
FAR = re.compile(
    r"\b(?:outside(?: of)?|(?:miles?|km|kilomet\w+|quil[oô]metros)(?: [a-zà-ú]+){0,2} (?:of|from|de|do|da)) "
    r"(?:the )?(?:greater )?$"
)
NAMED_FOR = re.compile(
    r" (?:(?:stock|securities|mercantile) exchange|stock market|board of trade|university|department|mellon|"
    r"philharmonic|times|consulting)\b"
    r"|(?: city)? time\b"
    r"|,? (?:inc|corp|ltd|ltda|llc|l\.l\.c|plc|gmbh)\b"
    r"|,? s\.a\b(?!\.? \d)",
    re.IGNORECASE,
)

BEGAN = (
    *("founded", "foundation", "founding", "established", "establishment", "set up", "opened", "started"),
    *("began", "in business", "inception", "dates back", "dating back", "its roots", "formed in", "was formed"),
    *("were formed", "was created", "was organized", "originally organized", "organized under", "commenced"),
    *("nasceu", "surgiu", "surgimos", "iniciou", "inicio de ativ", "inicio das ativ", "fundad", "fundou"),
    *("fundacao", "criad", "criou", "abriu", "abrimos", "comecou", "inaugurad"),
    *("creada en", "creado en", "fundacion"),
    *("gegrund", "grundung", "fonde", "creee en", "fondat", "grundad", "opgericht", "costituit"),
)
BEGINS = re.compile(
    rf"(?<!\w)(?:{'|'.join(map(re.escape, BEGAN))}"
    r"|constitu(?!tion|icao federal)|(?<!companhia )(?<!capital )abert"
    r"|(?<!certificate of )(?<!articles of )incorporat\w*+"
    r"(?!\s+(?:herein|therein|hereby|into)\b)(?![^.;]{0,40}\bby\s+reference))"
)
EST = re.compile(r"(?<!\w)est\.?\s*$")
# Somebody may have done something else since.
SINCE = re.compile(r"\b(?:since|desde|seit|depuis)\b[^;\n]{0,25}$")
SERVES = re.compile(
    r"\b(?:serv(?:ed|es|ing) (?:as|on)|director|officer|president|chair\w*|member|joined|employed|appointed|"
    r"elected|auditors?|trustee|diretora?|presidente|membro|conselh\w+)\b"
)
CAPTION = 30  # characters of a line that is one, or a word of a slogan
LINE = 100  # characters to either side in which a line's words are looked for


def is_city_itself(text: str, span: Span) -> bool:
    """Whether a city's name stands for the city where it stands: with a capital, if the text has any, and neither
    for a part of another name nor for what is far from it."""
    if text[slice(*span)].islower() and not text.islower():
        return False
    lead = text[max(0, span[0] - REACH) : span[0]].replace("\n", " ")
    return not (OF_CITY.search(lead) or FAR.search(lead) or NAMED_FOR.match(text, span[1]))


def is_founding(text: str, span: Span) -> bool:
    """Whether a year is near a word for a beginning, or behind `since` where nobody serves since."""
    lead = fold(text[max(0, span[0] - REACH) : span[0]])
    behind = fold(text[span[1] : span[1] + REACH + len(" by reference")])
    if BEGINS.search(f"{lead}{text[slice(*span)]}{behind}") or EST.search(lead):
        return True
    return SINCE.search(lead) is not None and not SERVES.search(lead.rpartition("\n")[2])


def is_in_words(text: str, span: Span) -> bool:
    """Whether a number has words in its line, or in a short one beside it that says what is counted: alone, it is
    a page's, or a cell's whose column is not known."""
    before, behind = text[max(0, span[0] - LINE) : span[0]], text[span[1] : span[1] + LINE]
    if any(map(str.isalpha, before.rpartition("\n")[2] + behind.partition("\n")[0])):
        return True
    beside = (before.rstrip("\n*_ ").rpartition("\n")[2], behind.lstrip("\n*_ ").partition("\n")[0])
    return any(len(line) <= CAPTION and has_any(fold(line), STAFF) for line in beside)
