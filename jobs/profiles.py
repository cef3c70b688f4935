"""The published table: a row a company, its profile as columns, and what they rest on."""

import pyarrow as pa
from pydantic import BaseModel

from extraction.arrow import struct_of
from extraction.errors import OperatorError

PLACE = pa.struct(
    [("document_id", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("quote", pa.string())]
)
EVIDENCE = pa.struct(
    [
        ("field", pa.string()),
        ("value", pa.string()),
        ("chosen", pa.bool_()),
        ("grounded", pa.bool_()),
        ("stated", pa.bool_()),
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


def profile_schema(model: type[BaseModel]) -> pa.Schema:
    """The published table: company_id, the profile's fields as columns, then documents and evidence."""
    own = pa.schema([pa.field("company_id", pa.string())])
    columns = [*own, *struct_of(model), *OWN]
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OperatorError(f"profile: {model.__name__} may not name a field {twice.pop()!r}: rename it")
    return pa.schema(columns)
