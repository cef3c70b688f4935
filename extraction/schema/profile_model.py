"""Fields: the leaves of a profile model, each with the rule by which it merges."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from extraction.errors import OperatorError
from extraction.schema.merge_rules import Rule, union, vote


@dataclass(frozen=True)
class Field:
    """A leaf of a profile model: where it stands and how it merges. `keys` is its path in the JSON that the model
    writes, which has aliases; `parts` are the attributes of its structured items that have to stand in the text
    too, True for those that may be null."""

    path: tuple[str, ...]
    rule: Rule
    parts: tuple[tuple[str, bool], ...] = ()
    keys: tuple[str, ...] = ()

    @cached_property
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
            found += [replace(f, path=(name, *f.path), keys=(_key(name, info), *f.keys)) for f in fields(nested)]
            continue
        if rule is None:
            rule = union() if lists else vote(verbatim=bool not in values)
        _check(f"{model.__name__}.{name}", rule, values, listed=bool(lists))
        found.append(Field((name,), rule, _parts(rule, _model_among(values)), (_key(name, info),)))
    return tuple(found)


@cache
def facts(model: type[BaseModel]) -> tuple[Field, ...]:
    """The leaves that are published: all but those that speak of the answer itself."""
    return tuple(field for field in fields(model) if not field.rule.about_answer)


def _key(name: str, info: FieldInfo) -> str:
    """What a field is called in the JSON that is validated."""
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    return alias if isinstance(alias, str) else name


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


def values_of(profile: Mapping[str, Any], field: Field) -> list[Any]:
    """What a profile gives for a field: a list's items, or the one value unless it is null or not there."""
    value: Any = profile
    for part in field.path:
        value = value.get(part) if value is not None else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
