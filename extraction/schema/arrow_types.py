"""Arrow types of a pydantic model: explicit, so that an empty or all-null file has the same schema."""

import datetime
import math
import re
from collections.abc import Iterable
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from extraction.errors import OperatorError
from extraction.schema.merge_rules import Rule

SURROGATE = re.compile("[\ud800-\udfff]")
SCALAR_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    datetime.date: pa.string(),  # in ISO 8601, as values stand in the evidence
    datetime.datetime: pa.string(),
}


def struct_of(model: type[BaseModel]) -> pa.StructType:
    """The struct of a model, one nullable field each, in the order declared; without what is about the answer."""
    columns = {
        name: info.annotation
        for name, info in model.model_fields.items()
        if not any(isinstance(m, Rule) and m.about_answer for m in info.metadata)
    }
    try:
        return pa.struct([pa.field(name, type_of(annotation)) for name, annotation in columns.items()])
    except RecursionError:
        raise OperatorError(f"the profile model {model.__name__} holds itself, which no column can") from None


def type_of(annotation: Any) -> pa.DataType:
    """The Arrow type of an annotation. Raises OperatorError for one that has no plain column type."""
    origin, args = get_origin(annotation), get_args(annotation)
    found: pa.DataType | None = None
    if origin is Annotated:
        found = type_of(args[0])
    elif origin in (Union, UnionType):
        found = _common(args)
    elif origin is Literal:
        found = _common(map(type, args))
    elif origin in (list, tuple, set, frozenset):
        item = _common(args)
        found = None if item is None else pa.list_(item)
    elif isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            found = struct_of(annotation)
        elif issubclass(annotation, Enum):
            found = _common(type(member.value) for member in annotation)
        else:
            found = SCALAR_TYPES.get(annotation)
    if found is None:
        raise OperatorError(
            f"a profile field is of type {annotation}, which is no Parquet column: use text, numbers, booleans, "
            "dates, literals, lists or nested models, each optional or not"
        )
    return found


def _common(annotations: Iterable[Any]) -> pa.DataType | None:
    """The one type of several annotations; None where they differ."""
    kinds = {type_of(a) for a in annotations if a not in (NoneType, Ellipsis)}
    return kinds.pop() if len(kinds) == 1 else None


def storable(value: Any) -> bool:
    """Whether a column can hold a value: text without lone surrogates, finite numbers, integers of 64 bits."""
    if isinstance(value, str):
        return SURROGATE.search(value) is None
    if isinstance(value, dict):
        return all(map(storable, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(storable, value))
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, float) or math.isfinite(value)
