"""Names of companies: the key under which spellings of one name are the same.

    company_key("The Acme Pump Co., Inc.") == company_key("ACME PUMP CO") == "acme pump"
    same_company("acme", "acme pump")      # a name and its longer form, its initials

No name is refused: what is no company's name gets a low confidence.
"""

from functools import cache
from typing import Any

from babel import Locale
from cleanco import termdata  # type: ignore[import-untyped]

from extraction.grounding.places import official_languages
from extraction.grounding.text_folding import text_key

MOST_FORM_WORDS = 5  # of a legal form


@cache
def _legal_forms() -> frozenset[str]:
    """Legal forms of cleanco as they end a key, spelled with and without spaces."""
    terms = (*termdata.terms_by_type.values(), *termdata.terms_by_country.values())
    known = {text_key(term) for group in terms for term in group}
    dotted = {key.replace(" ", "") for key in known if all(len(word) == 1 for word in key.split())}
    return frozenset(key for key in known | dotted if len(key) > 1)


def company_key(value: Any) -> str:
    """A company's name without its legal form, accents, signs and a leading article: never empty for a name."""
    words = text_key(str(value).replace("'", "").replace("’", "")).split()
    while True:
        bare = _initials_joined(_without_and(_without_article(_without_form(words))))
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
    """How many words the longest legal form at the end of some words has; a name's first word is no form."""
    for count in range(min(MOST_FORM_WORDS, len(words) - 1), 0, -1):
        tail = words[-count:]
        letters = all(len(word) == 1 for word in tail)
        if " ".join(tail) in _legal_forms() or (letters and "".join(tail) in _legal_forms()):
            return count
    return 0


def _without_article(words: list[str]) -> list[str]:
    return words[1:] if words[:1] == ["the"] and len(words) > 1 else words


@cache
def _and() -> frozenset[str]:
    """What stands between two items in the official languages, by CLDR: and, und, y."""
    patterns = (Locale.parse(language).list_patterns["standard"]["2"] for language in official_languages())
    words = (text_key(pattern.replace("{0}", " ").replace("{1}", " ")) for pattern in patterns)
    return frozenset(filter(None, words))


def _without_and(words: list[str]) -> list[str]:
    """Without what joins two names, which an & may stand for."""
    return [word for at, word in enumerate(words) if word not in _and() or at in (0, len(words) - 1)]


def _initials_joined(words: list[str]) -> list[str]:
    """Initials as one word: J. B. Hunt and JB Hunt, C&A and CA."""
    joined: list[str] = []
    for at, word in enumerate(words):
        if len(word) == 1 and at and len(words[at - 1]) == 1:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def same_company(one: str, other: str) -> bool:
    """Whether two keys may name one company: a name and its longer form, or its initials. Not transitive.

    Names that hold different numbers (a fund's, a plant's) name different companies.
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
    return {word for word in words if any(map(str.isdigit, word))}


def _is_start(few: list[str], many: list[str]) -> bool:
    return few == many[: len(few)] and len("".join(few)) > 2


def _is_run(few: list[str], many: list[str]) -> bool:
    """At least two words of a name, together, are the other."""
    return len(few) > 1 and any(many[at : at + len(few)] == few for at in range(len(many) - len(few) + 1))


def _is_acronym(few: list[str], many: list[str]) -> bool:
    """One word of the initials of another name, with or without those of its short words."""
    initials = ["".join(w[0] for w in words) for words in (many, [w for w in many if len(w) > 3])]
    return len(few) == 1 and len(few[0]) > 2 and few[0] in initials
