"""Merge rules: how the values that several documents give for one field become one.

A rule stands on the field that it governs, `name: Annotated[str | None, vote(key=company_key)]`, so the
reducer knows no field names and any pydantic model with such annotations works.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from dataclasses import field as field_of
from functools import cache, cached_property, lru_cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, Unpack, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from extraction.captions import Caption
from extraction.errors import OperatorError
from extraction.keys import text_key
from extraction.sentences import Phrase

Key = Callable[[Any], str]
Alike = Callable[[str, str], bool]
Kind = Literal["vote", "latest", "medoid", "union", "subject", "quotes"]
Words = tuple[str, ...]


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
    `unless` before it in its line or of `part_of` behind it; others (a sector, a summary) are the model's
    reading. What a text states by one of its `captions` or `phrases` is a value too, whether the model gives it
    or not.
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
    part_of: Words = ()
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
    part_of: Words
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


@dataclass(frozen=True)
class Field:
    """A leaf of a profile model: where it stands and how it merges. `parts` are the attributes of its
    structured items that have to stand in the text too, True for those that may be null. `annotation` is the
    type of its value, or of an item of its list."""

    path: tuple[str, ...]
    rule: Rule
    parts: tuple[tuple[str, bool], ...] = ()
    annotation: Any = field_of(default=Any, compare=False)

    @cached_property
    def name(self) -> str:
        """The dotted path, as evidence names it."""
        return ".".join(self.path)

    @cached_property
    def _type(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.annotation)

    def fitted(self, value: Any) -> Any:
        """A value of the field's type, as JSON has it; None where the value does not fit."""
        try:
            return self._type.dump_python(self._type.validate_python(value), mode="json")
        except ValidationError:
            return None


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
            found += [replace(inner, path=(name, *inner.path)) for inner in fields(nested)]
            continue
        if rule is None:
            rule = union() if lists else vote(verbatim=bool not in values)
        _check(f"{model.__name__}.{name}", rule, values, listed=bool(lists))
        items = [item for o in lists for item in get_args(o) if item is not Ellipsis]
        annotation = reduce(or_, items) if items else Annotated[info.annotation, rule, *info.metadata]
        found.append(Field((name,), rule, _parts(rule, _model_among(values)), annotation))
    return tuple(found)


def facts(model: type[BaseModel]) -> tuple[Field, ...]:
    """The leaves that are published: all but those that speak of the answer itself."""
    return tuple(field for field in fields(model) if not field.rule.about_answer)


def _parts(rule: Rule, structure: type[BaseModel] | None) -> tuple[tuple[str, bool], ...]:
    """The attributes of an item that are text or numbers, unless its field or they themselves are readings."""
    found = []
    for name, info in structure.model_fields.items() if structure and rule.verbatim else ():
        options = _options(info.annotation)
        own = next((m for m in info.metadata if isinstance(m, Rule)), None)
        if own.verbatim if own else any(o in (str, int, float) for o in options):
            found.append((name, type(None) in options))
    return tuple(found)


def _check(where: str, rule: Rule, values: tuple[Any, ...], *, listed: bool) -> None:
    """Refuse a rule that would publish nothing, or a list where there is none."""
    structure = _model_among(values)
    parts = structure.model_fields if structure else {}
    if listed != (rule.kind in ("union", "quotes")):
        raise OperatorError(f"{where} can't merge by {rule.kind}(): union() is for lists, and lists for union()")
    if rule.kind == "quotes":
        if not {"field", "quote"} <= set(parts):
            raise OperatorError(f"{where} has the rule quoted(): its items need the attributes field and quote")
        return
    if rule.verbatim and bool in values:
        raise OperatorError(f"{where} is true or false, which stands in no text: its rule needs verbatim=False")
    wrong = [name for name in rule.anchor if name not in parts]
    if not wrong and (rule.anchor or not parts or not rule.verbatim):
        return
    given = f"anchor={wrong[0]!r}" if wrong else "no anchor"
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
