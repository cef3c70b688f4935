"""Countries, states and cities in the languages that documents come in."""

import re
from functools import cache, lru_cache
from typing import Any

import pycountry
from babel import Locale

from extraction.keys import text_key

LANGUAGES = ("en", "pt", "es", "fr", "de", "it", "nl", "sv", "da", "nb", "fi", "pl")
NO_CODES = ("ZZ", "EU", "EZ", "UN", "XA", "XB", "QO")
# Codes beside ISO's that texts use, and names that no list of territories has.
SPOKEN = {
    **dict.fromkeys(("usa", "u s", "u s a", "eua", "e u a", "eeuu", "ee uu", "the us", "the usa"), "US"),
    **dict.fromkeys(("the united states", "the united states of america", "estados unidos da america"), "US"),
    **dict.fromkeys(("uk", "u k", "the uk", "the united kingdom", "england", "scotland", "wales"), "GB"),
    **dict.fromkeys(("great britain", "northern ireland", "inglaterra", "escocia", "gra bretanha"), "GB"),
    **dict.fromkeys(("holland", "the netherlands", "holanda"), "NL"),
    **dict.fromkeys(("prc", "p r china", "p r c", "mainland china"), "CN"),
    **dict.fromkeys(("uae", "u a e", "the uae"), "AE"),
    **dict(zip(("hong kong", "macau", "macao", "turkey", "turkiye"), ("HK", "MO", "MO", "TR", "TR"), strict=True)),
    **dict(zip(("korea", "republic of ireland", "czech republic"), ("KR", "IE", "CZ"), strict=True)),
    **dict(zip(("ivory coast", "burma", "swaziland"), ("CI", "MM", "SZ"), strict=True)),
}
# Names of a country in one language, of a large city in all.
CITIES_FIRST = ("brasilia", "salvador", "granada", "franca", "norfolk", "guadalupe", "san martin", "santa lucia")

ABBREVIATED = {
    "US": ("USA", "US", "U.S.", "U.S.A.", "EUA", "EE.UU."),
    "GB": ("UK", "U.K.", "Great Britain", "England", "Scotland", "Wales"),
    "AE": ("UAE", "U.A.E."),
    "NL": ("Holland",),
    "CN": ("PRC",),
    "CZ": ("Czech Republic",),
    "TR": ("Turkey",),
}
CODED = ("US", "BR", "CA", "AU")  # whose states are written as codes
# Whose states and regions are no cities. A parish of Jamaica is called Portland: not all of the world's.
STATED = (*CODED, "AT", "CH", "DE", "ES", "FR", "IN", "IT", "MX", "NL", "PT")
# Of those, the ones that a city of some size is called as well. A table, because a list of the world's cities takes
# a second and 75 MB to read in every process.
CITIES_TOO = frozenset(
    (
        *("new york", "washington", "new brunswick", "victoria", "quebec", "sao paulo", "rio de janeiro", "delhi"),
        *("chandigarh", "puducherry", "berlin", "bremen", "hamburg", "brandenburg", "salzburg", "wien", "berne"),
        *(
            "fribourg",
            "geneve",
            "luzern",
            "neuchatel",
            "sankt gallen",
            "schaffhausen",
            "schwyz",
            "solothurn",
            "zug",
        ),
        *("zurich", "groningen", "utrecht", "ceuta", "melilla", "aveiro", "beja", "braga", "braganca", "coimbra"),
        *("castelo branco", "evora", "faro", "guarda", "leiria", "lisboa", "portalegre", "porto", "santarem"),
        *("setubal", "viana do castelo", "vila real", "viseu", "aguascalientes", "campeche", "chihuahua", "colima"),
        *("ciudad de mexico", "durango", "guanajuato", "oaxaca", "puebla", "queretaro", "san luis potosi"),
        *("tlaxcala", "zacatecas"),
    )
)
CITY_STATES = ("SG", "LU", "MC", "SM", "VA", "GI", "HK", "MO", "DJ", "KW")
EXONYMS = frozenset(
    (
        *("bavaria", "hesse", "saxony", "lower saxony", "saxony anhalt", "thuringia", "north rhine westphalia"),
        *("rhineland palatinate", "lombardy", "tuscany", "piedmont", "sicily", "sardinia", "apulia", "catalonia"),
        *("catalunya", "cataluna", "andalusia", "basque country", "madeira", "acores", "azores", "brittany"),
        *("normandy", "provence", "alsace", "flanders", "wallonia", "tyrol", "carinthia", "styria", "california"),
        *("quebec province", "new york state", "washington state", "new south wales", "north holland"),
    )
)
NOWHERE = frozenset(
    (
        *(
            "remote",
            "remoto",
            "online",
            "worldwide",
            "global",
            "international",
            "headquarters",
            "head office",
            "city",
        ),
        *("none", "null", "n a", "na", "unknown", "not stated", "not available", "nao informado", "nao informada"),
        *("state", "province", "region", "country", "address", "street", "zip code", "postal code", "district"),
        *("estado", "pais", "regiao", "endereco", "bairro", "logradouro", "cep", "municipio"),
        *("cidade", "sede", "matriz", "various", "multiple", "offshore", "home", "virtual", "internet"),
    )
)
ALIASES = {
    **dict.fromkeys(("new york city", "nova york", "nova iorque", "nueva york", "nyc"), "new york"),
    **dict.fromkeys(("washington d c", "washington dc"), "washington"),
    **dict.fromkeys(("quebec city", "ville de quebec"), "quebec"),
    "luxembourg city": "luxembourg",
}
FULL = {"st": "saint", "ste": "sainte", "ft": "fort", "mt": "mount"}
PARTS = re.compile(r"[,;/|()\[\]\n]|\s[-–—]\s|\s[-–—]$")
NO_CITY = re.compile(r"[\d@:]|https?|www\.", re.IGNORECASE)
STREETS = frozenset(
    (
        *("street", "st", "avenue", "ave", "av", "avenida", "road", "rd", "rua", "r", "boulevard", "blvd", "drive"),
        *("dr", "lane", "ln", "place", "plaza", "way", "square", "sq", "suite", "ste", "floor", "andar", "sala"),
        *("building", "edificio", "rodovia", "estrada", "travessa", "alameda", "praca", "calle", "carretera"),
        *("strasse", "str", "rue", "via", "unit", "north", "south", "east", "west", "parkway", "highway", "number"),
        *("quay", "wharf", "court", "terrace", "crescent", "circle", "close", "turnpike", "pike", "trail", "loop"),
    )
)


@cache
def _codes() -> dict[str, str]:
    """Codes of countries by their folded names and codes."""
    found = {
        text_key(name): code
        for language in reversed(LANGUAGES)
        for code, name in Locale(language).territories.items()
        if len(code) == 2 and code.isalpha() and code not in NO_CODES
    }
    official = {
        text_key(name): country.alpha_2
        for country in pycountry.countries
        for name in (country.name, getattr(country, "official_name", ""), getattr(country, "common_name", ""))
    }
    codes = {**{code.casefold(): code for code in found.values()}, **official, **found, **SPOKEN}
    return {name: code for name, code in codes.items() if name and name not in CITIES_FIRST}


def country_key(value: Any) -> str:
    """The ISO code of a country named in any of LANGUAGES or by its code; else the text's own key."""
    key = text_key(value)
    return _codes().get(key, key)


@lru_cache(maxsize=1_024)
def country_spellings(value: Any) -> tuple[str, ...]:
    """A country's names as texts write them, letter by letter: of United States, USA, US and Vereinigte Staaten;
    its code behind a comma, unless a state has it too."""
    if not is_country(value):
        return ()
    code = country_key(value)
    known = (Locale(language).territories.get(code) for language in LANGUAGES)
    coded = () if code.casefold() in _state_codes() else (f", {code}",)
    return tuple(dict.fromkeys((*filter(None, known), *ABBREVIATED.get(code, ()), *coded)))


def is_country(value: Any) -> bool:
    """Whether a value names a country. A code that is a state's too (CA, PA, DE) names none by itself."""
    key = text_key(value)
    return key in _codes() and key not in _state_codes()


def city_name(value: Any) -> str:
    """A city as it is written, without the state or country after it: `São Paulo` of `São Paulo - SP`."""
    parts = (part.strip(" .") for part in PARTS.split(str(value)))
    first = next((part for part in parts if part), "")
    *words, last = first.split() or [""]
    return " ".join(words) if words and last.isupper() and last.casefold() in _state_codes() else first


def city_key(value: Any) -> str:
    """Equal for spellings of one city, with or without its state."""
    key = text_key(city_name(value).replace("'", "").replace("’", "")) or text_key(value)
    head, *rest = key.split() or [""]
    full = " ".join((FULL.get(head, head) if rest else head, *rest))
    return ALIASES.get(full, full)


def is_city(value: Any) -> bool:
    """Whether a value can name a city: not a country, state or region, unless a city is called so too."""
    text = str(value)
    key = city_key(text)
    if NO_CITY.search(text) or key in NOWHERE or (key.isascii() and len(key) < 3) or not 2 <= len(key) <= 60:
        return False
    if key in _regions() or key in _state_codes() or len(key.split()) > 8:
        return False
    if key in _codes():
        return _codes()[key] in CITY_STATES
    return not is_state(key) and any(map(str.isalpha, key))


def is_state(value: Any) -> bool:
    """Whether a value is the name of a state or region, and of no city."""
    key = text_key(value)
    return key in EXONYMS or (key in _states() and key not in CITIES_TOO)


def names_state(value: Any) -> bool:
    """Whether a value is the name of a state or region, or one's code in capitals, whatever else is called so."""
    key = text_key(value)
    return key in _states() or key in EXONYMS or (str(value).isupper() and key.replace(" ", "") in _state_codes())


def is_division(value: Any, country: str) -> bool:
    """Whether a province or county is called so, of a country (by its code) whose states `is_state` leaves out."""
    key = text_key(value)
    return any(name == key or (len(key) > 4 and name.startswith(key)) for name in _divisions(country))


@cache
def _divisions(country: str) -> frozenset[str]:
    if country in STATED:
        return frozenset()
    return frozenset(text_key(unit.name) for unit in pycountry.subdivisions if unit.country_code == country)


@cache
def _state_codes() -> frozenset[str]:
    """Codes of states and provinces as addresses have them: ca, sp, on, nsw."""
    units = (unit for unit in pycountry.subdivisions if unit.country_code in CODED)
    return frozenset(unit.code.partition("-")[2].casefold() for unit in units)


@cache
def _states() -> frozenset[str]:
    """Folded names of states and regions."""
    units = (unit for unit in pycountry.subdivisions if unit.country_code in STATED)
    return frozenset(text_key(unit.name) for unit in units if unit.parent_code is None)


@cache
def _regions() -> frozenset[str]:
    """Names of continents and other groups of countries."""
    names = (item for language in LANGUAGES for item in Locale(language).territories.items())
    return frozenset(text_key(name) for code, name in names if code.isdigit() or code in ("EU", "EZ", "UN"))
