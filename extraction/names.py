"""Names of companies: when two are the same, and what is no name at all."""

import re
from functools import cache, lru_cache
from typing import Any

from cleanco import termdata  # type: ignore[import-untyped]

from extraction.fillers import DATE, NO_NAME, SOMEBODY
from extraction.keys import text_key
from extraction.places import STREETS, is_country, is_state

# Legal forms that are never a company's own name.
FORMS = frozenset(
    (
        *(
            "inc",
            "incorporated",
            "corp",
            "corporation",
            "co",
            "company",
            "llc",
            "llp",
            "lp",
            "plc",
            "ltd",
            "limited",
        ),
        *("ltda", "limitada", "eireli", "me", "epp", "mei", "sa", "spa", "srl", "sarl", "lda", "gmbh", "ag", "kg"),
        *(
            "nv",
            "bv",
            "ab",
            "publ",
            "oy",
            "oyj",
            "as",
            "asa",
            "pty",
            "pte",
            "pvt",
            "kk",
            "kgaa",
            "se",
            "aktiebolag",
        ),
        *("aktiengesellschaft", "sociedade anonima", "sociedad anonima", "societe anonyme", "unipessoal"),
        *("public limited company", "em recuperacao judicial", "em liquidacao", "in liquidation"),
    )
)
# Of cleanco's terms, those that are a word or a country's code too.
WORDS_TOO = frozenset(("at", "da", "et", "ok", "uk", "sp", "sd", "nl", "ent", "private"))
STATE = re.compile(r"(?:\s[\\/]|[\\/](?=\w+[\\/]))\s?[A-Za-z]{2,4}[\\/]?\s*$")  # EDGAR's "INC /DE/"
AND = frozenset(("and", "e", "y", "et", "und", "og", "och", "en"))
SMALL = AND | frozenset(
    ("the", "of", "for", "in", "de", "da", "do", "das", "dos", "del", "la", "le", "les", "du", "der")
)

ADDRESS = re.compile(r"^\S+://|^www\.|\S@\S+\.\S|^\S+\.\w{2,}/\S", re.IGNORECASE)
CODES_READ = ("us", "usa", "uk", "uae")  # countries; GE and BT are companies
LONGEST = 14  # words: what is longer is a sentence

# Words that say nothing of which company is meant, alone or together: First National Bank.
COMMON = frozenset(
    (
        *("first", "second", "new", "old", "great", "grand", "royal", "general", "national", "international"),
        *("global", "world", "worldwide", "united", "american", "european", "british", "north", "south", "east"),
        *("west", "central", "northern", "southern", "eastern", "western", "pacific", "atlantic", "public"),
        *("bank", "banco", "group", "grupo", "groupe", "holding", "holdings", "companhia", "cia", "trust", "fund"),
        *("capital", "financial", "insurance", "partners", "services", "servicos", "solutions", "systems"),
        *("industries", "industria", "industrias", "comercio", "technologies", "technology", "tecnologia"),
        *(
            "primeira",
            "primeiro",
            "nacional",
            "nova",
            "novo",
            "sao",
            "santa",
            "san",
            "saint",
            "rio",
            "sul",
            "norte",
        ),
    )
).union(SMALL, FORMS)
# Words that say nothing alone, though General Motors or Casa Sol may be meant.
TRADES = frozenset(
    (
        *("energy", "power", "electric", "oil", "gas", "water", "steel", "motors", "media", "digital", "health"),
        *("pharma", "foods", "alimentos", "products", "produtos", "materials", "resources", "brands", "real"),
        *("lojas", "casa", "cooperativa", "associacao", "construtora", "transportes", "metalurgica", "fabrica"),
        *("smart", "open", "clear", "star", "sun", "blue", "green", "red", "black", "white", "gold", "silver"),
    )
)
NUMERALS = frozenset(("ii", "iii", "iv", "vi", "vii", "viii", "ix", "xi", "xii"))


@cache
def _forms() -> frozenset[str]:
    """Legal forms as they end a key, spelled with and without spaces."""
    terms = (*termdata.terms_by_type.values(), *termdata.terms_by_country.values())
    known = {text_key(term) for group in terms for term in group} - WORDS_TOO
    dotted = {k.replace(" ", "") for k in known if all(len(word) == 1 for word in k.split())}
    return frozenset(k for k in known | dotted | FORMS if len(k) > 1)


def company_key(value: Any) -> str:
    """A company's name without legal form, article, state of registration and signs: never empty for a name."""
    return _company_key(str(value))


@lru_cache(maxsize=65_536)
def _company_key(value: str) -> str:
    words = text_key(STATE.sub("", value).replace("'", "").replace("’", "")).split() or text_key(value).split()
    while True:
        bare = _joined(_without_articles(_without_form(words)))
        if bare == words:
            return " ".join(words)
        words = bare


def _without_form(words: list[str]) -> list[str]:
    """All words but the legal forms that they end with; a name's first word stays."""
    named = list(words)
    while count := _form_length(named):
        del named[-count:]
    return named


def _form_length(words: list[str]) -> int:
    """How many words the longest legal form at the end of some words has, and 1 for what joins it to them."""
    for count in range(min(5, len(words) - 1), 0, -1):
        tail, only_the = words[-count:], count == len(words) - 1 and words[0] == "the"
        letters = all(len(word) == 1 for word in tail)
        if not only_the and (("" if letters else " ").join(tail) in _forms() or tail in (["and"], ["the"])):
            return count
    return 0


def _without_articles(words: list[str]) -> list[str]:
    """Without a leading `the`, and without what joins two names, which an & may stand for."""
    named = words[1:] if words[:1] == ["the"] and len(words) > 1 else words
    return [w for at, w in enumerate(named) if w not in AND or at in (0, len(named) - 1)]


def _joined(words: list[str]) -> list[str]:
    """Initials as one word: J. B. Hunt and JB Hunt, C&A and CA."""
    joined: list[str] = []
    for at, word in enumerate(words):
        if len(word) == 1 and at and len(words[at - 1]) == 1:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def same_company(one: str, other: str) -> bool:
    """Whether two of `company_key`'s keys may name one company: a name and its longer form or its initials.

    What is left of the longer name may hold no number (a fund's or a plant's), and a word that many names
    share says nothing. Not transitive.
    """
    if not one or not other:
        return False
    if one.replace(" ", "") == other.replace(" ", ""):
        return True
    few, many = sorted((one.split(), other.split()), key=len)
    if _numbers(few) != _numbers(many):
        return False
    return _is_start(few, many) or _is_run(few, many) or _is_acronym(few, many)


def _numbers(words: list[str]) -> set[str]:
    return {word for word in words if word in NUMERALS or any(map(str.isdigit, word))}


def _is_start(few: list[str], many: list[str]) -> bool:
    """A name begins with the other; one word has to be the company's own."""
    own = len(few) > 1 or few[0] not in TRADES
    return few == many[: len(few)] and own and any(_tells(word) for word in few)


def _is_run(few: list[str], many: list[str]) -> bool:
    """At least two words of a name, together, one of them telling, are the other."""
    runs = (many[at : at + len(few)] for at in range(len(many) - len(few) + 1))
    return len(few) > 1 and few in runs and any(_tells(word) for word in few)


def _is_acronym(few: list[str], many: list[str]) -> bool:
    initials = ["".join(w[0] for w in words) for words in (many, [w for w in many if w not in SMALL])]
    return len(few) == 1 and len(few[0]) > 2 and few[0] in initials


def _tells(word: str) -> bool:
    return len(word) > 2 and word not in COMMON and not word.isdigit() and not is_country(word)


def is_company_name(value: Any) -> bool:
    """Whether a text can be a company's name: no date, address, number, sentence, country or filler."""
    text = str(value).strip()
    key = text_key(text)
    words = key.split()
    if len(key) < 2 or key.replace(" ", "").isdigit() or len(words) > LONGEST or ADDRESS.search(text):
        return False
    if NO_NAME.fullmatch(key) or DATE.search(key) or _is_place(key, words):
        return False
    if SOMEBODY.fullmatch(text) or _is_phrase(text):
        return False
    place, comma, country = text.rpartition(", ")
    if comma and is_country(country) and "," not in place:  # Nelson, New Zealand
        return False
    return not (key in FORMS or key.replace(" ", "") in FORMS or set(words) <= FORMS | {"the", "s", "a"})


def _is_phrase(text: str) -> bool:
    """Whether a text of several words has no capital but its first: a dish, a slogan."""
    words = [word for word in text.split()[1:] if text_key(word) not in SMALL and any(map(str.isalpha, word))]
    return len(words) > 1 and all(map(str.islower, words))


def _is_place(key: str, words: list[str]) -> bool:
    country = is_country(key) and (len(key) > 3 or key in CODES_READ)
    return country or is_state(key) or (words[0].isdigit() and not STREETS.isdisjoint(words[1:]))
