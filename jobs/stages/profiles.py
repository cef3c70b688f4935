"""The published table: a row a company, its profile as columns, and what they rest on."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from extraction.errors import OperatorError
from extraction.schema.arrow import struct_of
from extraction.schema.fields import facts

PLACE = pa.struct(
    [("document_id", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("quote", pa.string())]
)
EVIDENCE = pa.struct(
    [
        ("field", pa.string()),
        ("value", pa.string()),
        ("chosen", pa.bool_()),
        ("grounded", pa.bool_()),
        ("found", pa.bool_()),
        ("confidence", pa.float32()),
        ("support", pa.int32()),
        ("places", pa.list_(PLACE)),
    ]
)
ALTERNATIVE = pa.struct(
    [("value", pa.string()), ("support", pa.int32()), ("newest", pa.string()), ("place", PLACE)]
)
CONFLICT = pa.struct(
    [
        ("field", pa.string()),
        ("chosen", pa.string()),
        ("support", pa.int32()),
        ("rule", pa.string()),
        ("alternatives", pa.list_(ALTERNATIVE)),
    ]
)
MISSING = pa.struct(
    [
        ("chunk_id", pa.string()),
        ("document_id", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("fault", pa.string()),
    ]
)
OWN = pa.schema(
    [
        ("documents", pa.list_(pa.string())),
        ("chunks_missing", pa.list_(MISSING)),
        ("evidence", pa.list_(EVIDENCE)),
        ("conflicts", pa.list_(CONFLICT)),
    ]
)


def confidence_type(model: type[BaseModel]) -> pa.StructType:
    """A struct with a number for each field, nested as the profile is: of a list that of its least sure item."""
    tree: dict[str, Any] = {}
    for field in facts(model):
        node = tree
        for part in field.path[:-1]:
            node = node.setdefault(part, {})
        node[field.path[-1]] = None
    return _numbers(tree)


def _numbers(tree: Mapping[str, Any]) -> pa.StructType:
    return pa.struct([(name, pa.float32() if inner is None else _numbers(inner)) for name, inner in tree.items()])


def profile_schema(model: type[BaseModel]) -> pa.Schema:
    """The published table: company_id, the profile's fields as columns, then documents and evidence."""
    company_id = pa.field("company_id", pa.string())
    columns = [company_id, *struct_of(model), pa.field("confidence", confidence_type(model)), *OWN]
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OperatorError(f"profile: {model.__name__} may not name a field {twice.pop()!r}: rename it")
    return pa.schema(columns)
