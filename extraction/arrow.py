"""Arrow types of a pydantic model: explicit, so that an empty or all-null file has the same schema."""

import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel

from extraction.errors import OperatorError

SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    datetime.date: pa.date32(),
    datetime.datetime: pa.timestamp("us", tz="UTC"),
}


def struct_of(model: type[BaseModel]) -> pa.StructType:
    """The struct of a model, one nullable field each, in the order declared."""
    return pa.struct([pa.field(name, type_of(i.annotation)) for name, i in model.model_fields.items()])


def type_of(annotation: Any) -> pa.DataType:
    """The Arrow type of an annotation. Raises OperatorError for one that has no plain column type."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(args[0])
    if origin in (Union, UnionType):
        kinds = {type_of(a) for a in args if a is not NoneType}
        if len(kinds) == 1:
            return kinds.pop()
    elif origin is Literal:
        return type_of(type(args[0]))
    elif origin in (list, tuple, set, frozenset):
        return pa.list_(type_of(args[0]))
    elif isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return struct_of(annotation)
        if issubclass(annotation, Enum):
            return pa.string()
        if annotation in SCALARS:
            return SCALARS[annotation]
    raise OperatorError(
        f"a profile field is of type {annotation}, which is no Parquet column: use text, numbers, booleans, "
        "dates, literals, lists or nested models, each optional or not"
    )
