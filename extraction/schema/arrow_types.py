"""Arrow types of what a profile model stores: explicit, so that an empty or all-null file has the same schema.

A type is read from the model's JSON schema of stored values (`profile_model.json_schema`), so it fits whatever
Python type a field has: a date, a URL, an enum, a UUID, a root model.
"""

import dataclasses
import datetime
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from extraction.errors import OperatorError

SURROGATE = re.compile("[\ud800-\udfff]")
SCALAR_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "number": pa.float64(),
}
TYPES_OF_VALUES: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}
NUMBERS = {pa.int64(), pa.float64()}
Node = Mapping[str, Any]


def type_of(node: Node, definitions: Node, where: str, inside: frozenset[str] = frozenset()) -> pa.DataType:
    """The Arrow type of a node of a JSON schema. Raises OperatorError, with the name of the field, for one that has
    no plain column type."""
    if "$ref" in node:
        name = definition_of(node)
        if name in inside:
            raise OperatorError(f"{where}: {name} holds itself, which no column can: use another model inside")
        return type_of(definitions[name], definitions, where, inside | {name})
    if options := node.get("anyOf") or node.get("oneOf"):
        given = (o for o in options if o.get("type") != "null")
        return _common({type_of(o, definitions, where, inside) for o in given}, where)
    if members := members_of(node):
        kinds = {TYPES_OF_VALUES.get(type(m), pa.null()) for m in members if m is not None}
        return _common(kinds, where)
    kind = node.get("type")
    if kind == "array":
        if "items" not in node and "prefixItems" not in node:
            raise _refused(where, "a list of anything", "say what it holds, such as list[str]")
        parts = node.get("prefixItems") or [node["items"]]
        return pa.list_(_common({type_of(part, definitions, f"{where}[]", inside) for part in parts}, where))
    if kind == "object":
        if "properties" not in node:
            raise _refused(where, "a mapping of any keys (dict)", "use a list of models with a key and a value")
        inner = node["properties"].items()
        return pa.struct([(name, type_of(part, definitions, f"{where}.{name}", inside)) for name, part in inner])
    if node.get("format") == "password":
        raise _refused(where, "a secret, which is stored as asterisks", "use str")
    if kind == "string" and node.get("format") == "date":
        return pa.date32()
    if kind not in SCALAR_TYPES:
        raise _refused(where, "of no type that is known", "say its type, or what its serializer returns")
    return SCALAR_TYPES[kind]


def schema_of(record: type) -> list[pa.Field]:
    """The columns of a dataclass: `Annotated` gives a field's meaning as text, and its type where that is another
    than the Python type's."""
    hints = get_type_hints(record, include_extras=True)
    return [_column(field.name, hints[field.name]) for field in dataclasses.fields(record)]


def _column(name: str, hint: Any) -> pa.Field:
    kind, *given = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    types = [each for each in given if isinstance(each, pa.DataType)] or [_type_of_values(kind)]
    meanings = [each for each in given if isinstance(each, str)]
    return pa.field(name, types[0], metadata={"description": meanings[0]} if meanings else None)


def _type_of_values(kind: Any) -> pa.DataType:
    """The Arrow type of a Python type: a value's, optional or a tuple's, or another dataclass."""
    if get_origin(kind) is tuple:
        return pa.list_(_column("", get_args(kind)[0]).type)
    if options := get_args(kind):
        return _type_of_values(options[0])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return pa.struct(schema_of(kind))
    return TYPES_OF_VALUES[str if issubclass(kind, str) else kind]


def definition_of(node: Node) -> str:
    """The name of the definition that a node refers to."""
    return str(node["$ref"]).rsplit("/", 1)[1]


def members_of(node: Node) -> list[Any]:
    """The values of an enum, a Literal; none for a node that is open."""
    return list(node.get("enum", [node["const"]] if "const" in node else []))


def _common(kinds: set[pa.DataType], where: str) -> pa.DataType:
    """The one type of several."""
    if kinds == NUMBERS:
        return pa.float64()
    if len(kinds) == 1 and not pa.types.is_null(one := next(iter(kinds))):
        return one
    if not kinds:
        raise _refused(where, "nothing but null", "give it a type")
    if any(map(pa.types.is_struct, kinds)):
        raise _refused(where, "one of several models", "use one model, with a field for the kind")
    raise _refused(where, "of several types", "give it one type, such as str, or a model with a field for each")


def _refused(where: str, what: str, remedy: str) -> OperatorError:
    return OperatorError(f"{where} is {what}, which is no Parquet column: {remedy}")


def in_column(value: Any, kind: pa.DataType) -> Any:
    """A JSON value as a column takes it: dates, which are texts in JSON, as dates."""
    if value is None:
        return None
    if pa.types.is_date(kind):
        return datetime.date.fromisoformat(value)
    if pa.types.is_list(kind):
        return [in_column(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: in_column(value.get(field.name), field.type) for field in kind}
    return value


def holds(kind: pa.DataType, value: Any) -> bool:
    """Whether a column of a type can hold a JSON value. A serializer or a finder may give what it does not say."""
    if value is None:
        return True
    if TYPES_OF_VALUES.get(type(value)) == kind:  # most values; Arrow takes ten times as long to say the same
        return storable(value)
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(holds(kind.value_type, item) for item in value)
    if pa.types.is_struct(kind):
        return isinstance(value, dict) and all(holds(field.type, value.get(field.name)) for field in kind)
    try:
        return storable(value) and pa.scalar(in_column(value, kind), kind).is_valid
    except (pa.ArrowException, TypeError, ValueError):
        return False


def storable(value: Any) -> bool:
    """Whether a column can hold a value: text without lone surrogates, finite numbers, integers of 64 bits."""
    if isinstance(value, str):
        return value.isascii() or SURROGATE.search(value) is None
    if isinstance(value, dict):
        return all(map(storable, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(storable, value))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, float) or math.isfinite(value)
