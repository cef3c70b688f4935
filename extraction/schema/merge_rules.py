"""Merge rules: how the values that several documents give for one field become one.

A rule stands on the field that it governs, so the reducer knows no field names and any pydantic model works:

    name: Annotated[str | None, vote(key=company_key, alike=same_company)]
    goods: Annotated[list[str], union(limit=20)]

A function of a rule that raises for a value costs that value no more than itself: its key is its text's, its check
refuses it, it has no other spellings, is like no other, and its finder has found nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, TypedDict, Unpack

from extraction.grounding.text_folding import text_key
from extraction.grounding.value_finders import Finder, FoundValue, Hints

Key = Callable[[Any], str]
Alike = Callable[[str, str], bool]
RuleKind = Literal["vote", "latest", "medoid", "union", "subject", "quotes"]
Names = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """How one field merges.

    key: maps a value to what makes it the same value. `alike` keys support each other in a vote and are one item of
        a list; in a list of free words (`fuzzy`) so are keys that differ by a letter.
    anchor: the attributes of a structured item that stand for it, the first that it has; with `whole`, `key` and
        `check` get all of the item.
    verbatim: the value must stand in a document to be published; else it is the model's reading (a sector, a
        summary). None leaves it to the field's type: what is chosen from a few values, or is true or false, is a
        reading (see `extraction.schema.profile_model`).
    check: a standard (check digits, a public suffix) by which a value can be none; False refuses it.
    find: reads values from the text by their standard, whatever the model made of it (see
    `extraction.grounding.value_finders`).
    spellings: how else a text may write a value, letter by letter (United States: US, USA).
    identifies: the value tells which company a text is about; a company without any such value is none.
    about: of a `subject`, the answers that mean a text about such a company.
    """

    kind: RuleKind
    key: Key = text_key
    anchor: Names = ()
    whole: bool = False
    verbatim: bool | None = None
    limit: int = 20
    alike: Alike | None = None
    fuzzy: bool = False
    check: Callable[[Any], bool] | None = None
    find: Finder | None = None
    spellings: Callable[[Any], Iterable[str]] | None = None
    identifies: bool = False
    about: Names = ()

    @property
    def about_answer(self) -> bool:
        """Whether the field speaks of the answer itself, and so is no fact and no column."""
        return self.kind in ("subject", "quotes")

    def key_of(self, value: Any) -> str:
        """The key of a value."""
        quote = value if self.whole else self.quote_of(value)
        try:
            return str(_remembered(self.key, quote))
        except Exception:
            return text_key(quote)

    def spellings_of(self, value: Any) -> tuple[str, ...]:
        """How else a text may write a value."""
        try:
            return tuple(map(str, self.spellings(value))) if self.spellings else ()
        except Exception:
            return ()

    def found_in(self, text: str, hints: Hints) -> Sequence[FoundValue]:
        """What the finder reads in a text, as it stands there."""
        try:
            return [FoundValue(*one) for one in self.find(text, hints)] if self.find else []
        except Exception:
            return []

    @property
    def likeness(self) -> Alike | None:
        """Whether two keys are alike; None where the rule does not say."""
        return partial(_alike, self.alike) if self.alike else None

    def quote_of(self, value: Any) -> Any:
        """The part of a value that has to stand in the document."""
        if not self.anchor or not isinstance(value, dict):
            return value
        return next((value[part] for part in self.anchor if value.get(part) is not None), None)

    def accepts(self, value: Any) -> bool:
        """Whether the field's standard takes a value; without a standard any is."""
        if self.check is None:
            return True
        try:
            return bool(_remembered(self.check, value if self.whole else self.quote_of(value)))
        except Exception:
            return False


def _alike(function: Alike, one: str, other: str) -> bool:
    try:
        return bool(function(one, other))
    except Exception:
        return False


def _remembered(function: Callable[[Any], Any], value: Any) -> Any:
    """What a pure function gives for a value; documents of one company repeat each other."""
    return _of_text(function, value) if isinstance(value, str) else function(value)


@lru_cache(maxsize=65_536)
def _of_text(function: Callable[[Any], Any], value: str) -> Any:
    return function(value)


class Conditions(TypedDict, total=False):
    """What a rule may say of its values; see Rule."""

    verbatim: bool
    alike: Alike
    check: Callable[[Any], bool]
    find: Finder
    spellings: Callable[[Any], Iterable[str]]
    identifies: bool


def vote(key: Key = text_key, **conditions: Unpack[Conditions]) -> Rule:
    """One value: the one that documents give with the greatest confidence together, weighed by trust."""
    return Rule("vote", key, **conditions)


def latest(key: Key = text_key, *, anchor: str | Names = (), **conditions: Unpack[Conditions]) -> Rule:
    """One value that changes with time: the one of the newest dated document, then by vote."""
    return Rule("latest", key, _names(anchor), **conditions)


def medoid(key: Key = text_key) -> Rule:
    """One of several free texts: the one that is most like all others. It is the model's reading."""
    return Rule("medoid", key, verbatim=False)


def union(
    key: Key = text_key,
    *,
    anchor: str | Names = (),
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


def _names(anchor: str | Names) -> Names:
    return (anchor,) if isinstance(anchor, str) else anchor


def subject(*about: str) -> Rule:
    """What the text is about. An answer that gives another value than these abstains: nothing else in it counts."""
    return Rule("subject", verbatim=False, about=about)


def quoted() -> Rule:
    """A list of {field, quote}: the words from which the answer took a field, by the field's last name."""
    return Rule("quotes", verbatim=False)
