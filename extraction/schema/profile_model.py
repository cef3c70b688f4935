"""Fields: the leaves of a profile model, each with the rule by which it merges and the type of its column.

A model is asked for, judged and stored by its fields' own names, whatever aliases they have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel, RootModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from extraction.errors import OperatorError
from extraction.schema.arrow_types import Node, definition_of, members_of, type_of
from extraction.schema.merge_rules import Rule, RuleKind, union, vote

IN_TEXTS = (str, int, float, date, datetime)  # types of parts that have to stand in the text near their item


class PlainJsonSchema(GenerateJsonSchema):
    """JSON schemas in which a decimal number is asked for as a number, and that say nothing of defaults that are no
    JSON. What no answer can give raises ValueError where it is asked for."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 as pydantic has it

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """A number with its bounds, where pydantic also asks for a text; it is stored as text."""
        if self.mode == "serialization":
            return super().decimal_schema(schema)
        number: JsonSchemaValue = {"type": "number"}
        self.update_with_validations(number, schema, self.ValidationsMapping.numeric)
        return number

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        """A choice of words or numbers: pydantic takes no member of another kind from JSON."""
        plain = all(isinstance(member.value, str | int | float | None) for member in schema["members"])
        if self.mode == "validation" and not plain:
            raise ValueError(f"the members of {schema['cls'].__name__} are no words or numbers: make them texts")
        return super().enum_schema(schema)

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        """A duration, which may be computed: no text has it as JSON has it."""
        if self.mode == "serialization":
            return super().timedelta_schema(schema)
        raise ValueError("no document writes a timedelta as JSON does (P1DT2H): use a number or a text")


@cache
def json_schema(model: type[BaseModel], mode: JsonSchemaMode) -> Node:
    """The JSON schema of what a model takes ("validation") or of what is stored of it ("serialization"). Raises
    OperatorError with the name of a field that has none."""
    try:
        return model.model_json_schema(by_alias=False, schema_generator=PlainJsonSchema, mode=mode)
    except Exception as error:  # pydantic's, or those of the model's own hooks
        where = next((f".{n}" for n, f in model.model_fields.items() if not _has_schema(f.annotation, mode)), "")
        reason = str(error).split("\n")[0]
        raise OperatorError(f"{model.__name__}{where} can't be asked for as JSON: {reason}") from None


def _has_schema(annotation: Any, mode: JsonSchemaMode) -> bool:
    try:
        TypeAdapter(annotation).json_schema(mode=mode, schema_generator=PlainJsonSchema)
    except Exception:
        return False
    return True


@dataclass(frozen=True, eq=False)  # there is one of each leaf
class Field:
    """A leaf of a profile model: where it stands, how it merges, and the Arrow type of its column. `parts` are the
    attributes of its structured items that have to stand in the text too, True for those that may be null; `number`
    marks what is stored as text and stands in texts as a number."""

    path: tuple[str, ...]
    rule: Rule
    type: pa.DataType
    parts: tuple[tuple[str, bool], ...] = ()
    number: bool = False

    @cached_property
    def name(self) -> str:
        """The dotted path, as evidence names it."""
        return ".".join(self.path)


@cache
def fields(model: type[BaseModel]) -> tuple[Field, ...]:
    """The leaves of a profile model in the order declared. Raises OperatorError for a field that can't be asked for
    or stored, or whose rule does not fit."""
    json_schema(model, "validation")
    stored = json_schema(model, "serialization")
    definitions = stored.get("$defs", {})
    root = definitions[definition_of(stored)] if "$ref" in stored else stored
    type_of(stored, definitions, model.__name__)
    if root.get("type") != "object":
        raise OperatorError(f"{model.__name__} is no object with fields, as a profile is: use it as a field")
    all_fields: list[Field] = []
    for name, annotation, declared in _declared(model):
        if name not in root["properties"]:  # it is left out of what is stored
            continue
        where, node = f"{model.__name__}.{name}", shape_of(root["properties"][name], definitions)
        column = type_of(node, definitions, where)
        options = options_of(annotation)
        listed = pa.types.is_list(column)
        items = tuple(v for o in options for item in get_args(o) for v in options_of(item)) if listed else options
        structure = model_among(items)
        if pa.types.is_struct(column.value_type if listed else column) and structure is None:
            raise OperatorError(f"{where} holds something with parts that is no pydantic model: make it one")
        if structure is not None and not listed and declared is None:
            all_fields += [replace(field, path=(name, *field.path)) for field in fields(structure)]
            continue
        value = shape_of(node.get("items", {}), definitions) if listed else node
        rule = declared or (union() if listed else vote())
        if rule.verbatim is None:  # what is chosen from a few values is read, not copied
            rule = replace(rule, verbatim=not members_of(value) and value.get("type") != "boolean")
        _check(where, rule, value, structure, listed=listed)
        all_fields.append(Field((name,), rule, column, _parts(rule, structure), Decimal in items))
    if all(field.rule.about_answer for field in all_fields):
        raise OperatorError(f"{model.__name__} has no field that could be published: give it one")
    return tuple(all_fields)


@cache
def facts(model: type[BaseModel]) -> tuple[Field, ...]:
    """The leaves that are published: all but those that speak of the answer itself."""
    return tuple(field for field in fields(model) if not field.rule.about_answer)


@cache
def fields_of_kind(model: type[BaseModel], kind: RuleKind) -> tuple[Field, ...]:
    """The leaves that merge by rules of a kind."""
    return tuple(field for field in fields(model) if field.rule.kind == kind)


@cache
def struct_of(model: type[BaseModel]) -> pa.StructType:
    """The columns of a model, nested as it is, each nullable: one for each fact."""
    tree: dict[str, Any] = {}
    for field in facts(model):
        node = tree
        for part in field.path[:-1]:
            node = node.setdefault(part, {})
        node[field.path[-1]] = field.type
    return _struct(tree)


def _struct(tree: Mapping[str, Any]) -> pa.StructType:
    return pa.struct([(name, _struct(kind) if isinstance(kind, dict) else kind) for name, kind in tree.items()])


def _declared(model: type[BaseModel]) -> Iterator[tuple[str, Any, Rule | None]]:
    """Names, types and rules of a model's fields; then of its computed fields, which are readings."""
    for name, info in model.model_fields.items():
        yield name, info.annotation, _rule_among((*info.metadata, *_metadata(info.annotation)))
    for name, computed in model.model_computed_fields.items():
        rule = _rule_among(_metadata(computed.return_type))
        listed = any(get_origin(o) in (list, tuple, set, frozenset) for o in options_of(computed.return_type))
        yield name, computed.return_type, rule or (union if listed else vote)(verbatim=False)


def _rule_among(metadata: tuple[Any, ...]) -> Rule | None:
    return next((m for m in metadata if isinstance(m, Rule)), None)


def _metadata(annotation: Any) -> tuple[Any, ...]:
    """What stands beside a type, also where it is optional: Annotated[str, vote()] | None."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return (*args[1:], *_metadata(args[0]))
    if origin in (Union, UnionType):
        return tuple(m for option in args for m in _metadata(option))
    return _metadata(annotation.__value__) if hasattr(annotation, "__value__") else ()


def shape_of(node: Node, definitions: Node) -> Node:
    """What a value looks like that is not null, wherever that is defined."""
    if "$ref" in node:
        return shape_of(definitions[definition_of(node)], definitions)
    options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
    return shape_of(options[0], definitions) if len(options) == 1 else node


def _parts(rule: Rule, structure: type[BaseModel] | None) -> tuple[tuple[str, bool], ...]:
    """The attributes of an item that are texts, numbers or dates, unless its field or they themselves are
    readings."""
    parts = []
    for name, info in structure.model_fields.items() if structure and rule.verbatim else ():
        options = options_of(info.annotation)
        own = _rule_among((*info.metadata, *_metadata(info.annotation)))
        verbatim = own.verbatim if own else None
        if any(o in IN_TEXTS for o in options) if verbatim is None else verbatim:
            parts.append((name, type(None) in options))
    return tuple(parts)


def _check(where: str, rule: Rule, value: Node, structure: type[BaseModel] | None, *, listed: bool) -> None:
    """Refuse a rule that would publish nothing, or a list where there is none."""
    parts = structure.model_fields if structure else {}
    if listed != (rule.kind in ("union", "quotes")):
        raise OperatorError(f"{where} can't merge by {rule.kind}(): union() is for lists, and lists for union()")
    if rule.kind == "quotes":
        if not {"field", "quote"} <= set(parts):
            raise OperatorError(f"{where} has the rule quoted(): its items need the attributes field and quote")
        return
    if rule.verbatim and value.get("type") == "boolean":
        raise OperatorError(f"{where} is true or false, which stands in no text: its rule can't have verbatim=True")
    if rule.verbatim and value.get("type") == "array":
        raise OperatorError(
            f"{where} is a list of lists, none of which stands in a text as it is: use a list of models with an "
            "anchor, or a rule with verbatim=False"
        )
    wrong = [name for name in rule.anchor if name not in parts]
    if not wrong and (rule.anchor or not parts or not rule.verbatim):
        return
    given = f"anchor={wrong[0]!r}" if wrong else "no anchor"
    wanted = f"one of {', '.join(parts)}" if parts else "none: its values have no parts"
    raise OperatorError(f"{where} has a rule with {given}, it takes {wanted}")


def options_of(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, without the names and wrappers that stand for them."""
    if get_origin(annotation) is Annotated:
        return options_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(option for a in get_args(annotation) for option in options_of(a))
    if hasattr(annotation, "__value__"):  # type Name = ...
        return options_of(annotation.__value__)
    if hasattr(annotation, "__supertype__"):  # NewType
        return options_of(annotation.__supertype__)
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return options_of(annotation.model_fields["root"].annotation)
    return (annotation,)


def model_among(options: tuple[Any, ...]) -> type[BaseModel] | None:
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def values_of(profile: Mapping[str, Any], field: Field) -> list[Any]:
    """What a profile gives for a field: a list's items, or the one value unless it is null or not there."""
    value: Any = profile
    for part in field.path:
        value = value.get(part) if value is not None else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
