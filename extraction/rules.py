"""Merge rules: how the values that several documents give for one field become one.

A rule stands on the field that it governs, `name: Annotated[str | None, vote(key=company_key)]`, so the
reducer knows no field names and any pydantic model with such annotations works.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypedDict, Unpack

from extraction.captions import Caption
from extraction.keys import text_key
from extraction.sentences import Phrase
from extraction.surroundings import Stands, Words

Key = Callable[[Any], str]
Alike = Callable[[str, str], bool]
Kind = Literal["vote", "latest", "medoid", "union", "subject", "quotes"]


@dataclass(frozen=True)
class Rule:
    """How one field merges.

    `form` rewrites a value first (a city without its state). `key` maps it to what makes it the same value;
    keys that are `alike` support each other in a vote, and are one item in a list; in a list of free words
    (`fuzzy`), so are keys that differ by a letter. The first of `anchor`'s
    attributes that a structured item has stands for it; with `whole`, `key` and `valid` get all of the item.
    `spellings` tells how else a text may write a value, letter by letter (United States: US, EUA). One that is
    `cased` has capitals where it stands, if it has any.

    A `verbatim` value must stand in a document to be published as a fact, be `valid`, and have one of its
    `cues` (see `surroundings.Words`) near, and one of its `hints` where the text has any of them, and none of
    `unless` before it in its line, and where it `stands` mean what is asked for; others (a sector, a summary) are
    the model's reading. What a text states by one of its `captions` or `phrases` is a value too, whether the model
    gives it or not.
    """

    kind: Kind
    key: Key = text_key
    anchor: Words = ()
    whole: bool = False
    verbatim: bool = True
    limit: int = 20
    alike: Alike | None = None
    fuzzy: bool = False
    cues: Words = ()
    hints: Words = ()
    unless: Words = ()
    stands: Stands | None = None
    valid: Callable[[Any], bool] | None = None
    form: Callable[[Any], Any] | None = None
    spellings: Callable[[Any], Iterable[str]] | None = None
    captions: tuple[Caption, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    cased: bool = False
    none: str | None = None

    @property
    def about_answer(self) -> bool:
        """Whether the field speaks of the answer itself, and so is no fact and no column."""
        return self.kind in ("subject", "quotes")

    def key_of(self, value: Any) -> str:
        """The key of a value."""
        return str(_remembered(self.key, value if self.whole else self.quote_of(value)))

    def quote_of(self, value: Any) -> Any:
        """The part of a value that has to stand in the document."""
        if not self.anchor or not isinstance(value, dict):
            return value
        return next((value[part] for part in self.anchor if value.get(part) is not None), None)

    def accepts(self, value: Any) -> bool:
        """Whether a value is one that the field can have."""
        return self.valid is None or bool(_remembered(self.valid, value if self.whole else self.quote_of(value)))


def _remembered(function: Callable[[Any], Any], value: Any) -> Any:
    """What a pure function gives for a value; documents of one company repeat each other."""
    return _of_text(function, value) if isinstance(value, str) else function(value)


@lru_cache(maxsize=65_536)
def _of_text(function: Callable[[Any], Any], value: str) -> Any:
    return function(value)


class Conditions(TypedDict, total=False):
    """What a rule may ask of a value; see Rule."""

    verbatim: bool
    alike: Alike
    cues: Words
    hints: Words
    unless: Words
    stands: Stands
    valid: Callable[[Any], bool]
    form: Callable[[Any], Any]
    spellings: Callable[[Any], Iterable[str]]
    cased: bool
    captions: tuple[Caption, ...]
    phrases: tuple[Phrase, ...]


def vote(key: Key = text_key, **conditions: Unpack[Conditions]) -> Rule:
    """One value: the one that most distinct documents give, weighed by trust, grounded ones first."""
    return Rule("vote", key, **conditions)


def latest(key: Key = text_key, *, anchor: str | Words = (), **conditions: Unpack[Conditions]) -> Rule:
    """One value that changes with time: the one of the newest dated document, then by vote."""
    return Rule("latest", key, _names(anchor), **conditions)


def medoid(key: Key = text_key) -> Rule:
    """One of several free texts: the one that is most like all others. It is the model's reading."""
    return Rule("medoid", key, verbatim=False)


def union(
    key: Key = text_key,
    *,
    anchor: str | Words = (),
    whole: bool = False,
    limit: int = 20,
    fuzzy: bool | None = None,
    **conditions: Unpack[Conditions],
) -> Rule:
    """A list: every distinct value, best supported first, `limit` at the most.

    Words that differ by a letter are one item where `fuzzy`: by default where the key is the text's own. Never
    where digits differ.
    """
    by_letter = key is text_key and "alike" not in conditions if fuzzy is None else fuzzy
    return Rule("union", key, _names(anchor), whole, limit=limit, fuzzy=by_letter, **conditions)


def _names(anchor: str | Words) -> Words:
    return (anchor,) if isinstance(anchor, str) else anchor


def subject(*, none: str) -> Rule:
    """What the text is about. An answer that gives `none` abstains: nothing else in it counts."""
    return Rule("subject", verbatim=False, none=none)


def quoted() -> Rule:
    """A list of {field, quote}: the words from which the answer took a field, by the field's last name."""
    return Rule("quotes", verbatim=False)
