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
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Key = Callable[[Any], str]

LEGAL_SUFFIXES = frozenset(
    "inc incorporated corp corporation co company llc llp lp plc ltd limited ltda eireli me epp mei sa s a "
    "spa srl gmbh ag kg se nv bv ab oy as asa lda pty pte kk publ".split()
)


def text_key(value: Any) -> str:
    """Equal for texts that differ in case, accents, punctuation or spacing only."""
    folded = unicodedata.normalize("NFKD", str(value)).casefold()
    letters = "".join(c for c in folded if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", letters))


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


def digits_key(value: Any) -> str:
    """The digits and letters of an identifier or phone number."""
    return re.sub(r"[^0-9a-z]", "", str(value).casefold())


@dataclass(frozen=True)
class Rule:
    """How one field merges.

    `key` maps a value to what makes it the same value; `anchor` names the attribute of a structured item
    that stands for it. A `verbatim` value must stand in a document to be published as a fact; others
    (a sector, a summary) are the model's reading and are published as such.
    """

    kind: Literal["vote", "union", "latest"]
    key: Key = text_key
    anchor: str | None = None
    verbatim: bool = True
    limit: int = 20

    def key_of(self, value: Any) -> str:
        """The key of a value, taken from its anchor where it is structured."""
        return self.key(self.quote_of(value))

    def quote_of(self, value: Any) -> Any:
        """The part of a value that has to stand in the document."""
        return value[self.anchor] if self.anchor and isinstance(value, dict) else value


def vote(key: Key = text_key, *, verbatim: bool = True) -> Rule:
    """One value: the one that most distinct documents give, grounded ones first."""
    return Rule("vote", key, verbatim=verbatim)


def latest(key: Key = text_key, *, verbatim: bool = True) -> Rule:
    """One value that changes with time: the one of the newest dated document, then by vote."""
    return Rule("latest", key, verbatim=verbatim)


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
    """The leaves of a profile model in the order in which they are declared."""
    found: list[Field] = []
    for name, info in model.model_fields.items():
        nested = _nested_model(info.annotation)
        rule = next((m for m in info.metadata if isinstance(m, Rule)), None)
        if nested is not None and rule is None:
            found += [Field((name, *inner.path), inner.rule) for inner in fields(nested)]
        else:
            found.append(Field((name,), rule or (union() if _is_list(info.annotation) else vote())))
    return tuple(found)


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds directly (not in a list), optional or not."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list
