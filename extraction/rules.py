"""Merge rules: how the values that several documents give for one field become one.

A rule stands on the field that it governs, `name: Annotated[str | None, vote(key=name_key)]`, so the
reducer knows no field names and any pydantic model with such annotations works.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from extraction.errors import OperatorError

Key = Callable[[Any], str]
Alike = Callable[[str, str], bool]

LEGAL_SUFFIXES = frozenset(
    {
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
        *("ltda", "eireli", "me", "epp", "mei", "sa", "s", "a", "spa", "srl", "gmbh", "ag", "kg", "se", "nv", "bv"),
        *("ab", "oy", "as", "asa", "lda", "pty", "pte", "kk", "publ"),
    }
)


def text_key(value: Any) -> str:
    """Equal for texts that differ in case, accents, punctuation or spacing only."""
    folded = unicodedata.normalize("NFKD", str(value)).casefold()
    letters = [c for c in folded if not unicodedata.combining(c)]
    # What marks the vowel in Hindi or Thai is no letter, and no accent either.
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in letters)
    return " ".join("".join(kept).split())


def name_key(value: Any) -> str:
    """As `text_key`, with legal suffixes (Inc., LTDA, S.A.) left off the end."""
    words = text_key(value).split()
    kept = list(words)
    while len(kept) > 1 and kept[-1] in LEGAL_SUFFIXES:
        kept.pop()
    return " ".join(kept)


def url_key(value: Any) -> str:
    """The host and path of a web address, without scheme, `www.` and closing slash."""
    bare = re.sub(r"^[a-z]+://", "", str(value).strip().casefold())
    return re.sub(r"^www\.", "", bare).rstrip("/")


def same_words(one: str, other: str) -> bool:
    """Whether all words of one key stand in the other: a name and its longer form."""
    few, many = sorted((set(one.split()), set(other.split())), key=len)
    return bool(few) and few <= many


def digits_key(value: Any) -> str:
    """The digits and letters of an identifier or phone number."""
    return text_key(value).replace(" ", "")


@dataclass(frozen=True)
class Rule:
    """How one field merges.

    `key` maps a value to what makes it the same value; keys that are `alike` support each other, though
    each is published as it is. `anchor` names the attribute of a structured item that stands for it.

    A `verbatim` value must stand in a document to be published as a fact, be `valid`, and have one of its
    `cues` (folded beginnings of words) near; others (a sector, a summary) are the model's reading.
    """

    kind: Literal["vote", "union", "latest"]
    key: Key = text_key
    anchor: str | None = None
    verbatim: bool = True
    limit: int = 20
    alike: Alike | None = None
    cues: tuple[str, ...] = ()
    valid: Callable[[Any], bool] | None = None

    def key_of(self, value: Any) -> str:
        """The key of a value, taken from its anchor where it is structured."""
        return self.key(self.quote_of(value))

    def quote_of(self, value: Any) -> Any:
        """The part of a value that has to stand in the document."""
        return value[self.anchor] if self.anchor and isinstance(value, dict) else value


def vote(
    key: Key = text_key,
    *,
    verbatim: bool = True,
    alike: Alike | None = None,
    cues: tuple[str, ...] = (),
    valid: Callable[[Any], bool] | None = None,
) -> Rule:
    """One value: the one that most distinct documents give, grounded ones first."""
    return Rule("vote", key, verbatim=verbatim, alike=alike, cues=cues, valid=valid)


def latest(key: Key = text_key, *, verbatim: bool = True, cues: tuple[str, ...] = ()) -> Rule:
    """One value that changes with time: the one of the newest dated document, then by vote."""
    return Rule("latest", key, verbatim=verbatim, cues=cues)


def union(key: Key = text_key, *, anchor: str | None = None, verbatim: bool = True, limit: int = 20) -> Rule:
    """A list: every distinct value, best supported first, `limit` at the most."""
    return Rule("union", key, anchor=anchor, verbatim=verbatim, limit=limit)


@dataclass(frozen=True)
class Field:
    """A leaf of a profile model: where it stands and how it merges."""

    path: tuple[str, ...]
    rule: Rule

    @property
    def name(self) -> str:
        """The dotted path, as evidence names it."""
        return ".".join(self.path)


@cache
def fields(model: type[BaseModel]) -> tuple[Field, ...]:
    """The leaves of a profile model in the order declared. Raises OperatorError for a rule that does not fit."""
    found: list[Field] = []
    for name, info in model.model_fields.items():
        options = _options(info.annotation)
        lists = [o for o in options if get_origin(o) in (list, tuple, set, frozenset)]
        values = tuple(v for o in lists for item in get_args(o) for v in _options(item)) if lists else options
        nested = _model_among(options)
        rule = next((m for m in info.metadata if isinstance(m, Rule)), None)
        if nested is not None and rule is None:
            found += [Field((name, *inner.path), inner.rule) for inner in fields(nested)]
            continue
        if rule is None:
            rule = union() if lists else vote(verbatim=bool not in values)
        _check(f"{model.__name__}.{name}", rule, values, listed=bool(lists))
        found.append(Field((name,), rule))
    return tuple(found)


def _check(where: str, rule: Rule, values: tuple[Any, ...], *, listed: bool) -> None:
    """Refuse a rule that would publish nothing, or a list where there is none."""
    if listed != (rule.kind == "union"):
        raise OperatorError(f"{where} can't merge by {rule.kind}(): union() is for lists, and lists for union()")
    if rule.verbatim and bool in values:
        raise OperatorError(f"{where} is true or false, which stands in no text: its rule needs verbatim=False")
    structure = _model_among(values)
    parts = structure.model_fields if structure else {}
    if rule.anchor is None and (not parts or not rule.verbatim):
        return
    if rule.anchor not in parts:
        given = f"anchor={rule.anchor!r}" if rule.anchor else "no anchor"
        wanted = f"one of {', '.join(parts)}" if parts else "none: its values have no parts"
        raise OperatorError(f"{where} has a rule with {given}, it takes {wanted}")


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(option for a in get_args(annotation) for option in _options(a))
    return (annotation,)


def _model_among(options: tuple[Any, ...]) -> type[BaseModel] | None:
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
