"""The Parquet tables of a run: document rows, chunks, dead letters, and the published profiles."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from extraction.chunking.chunker import Chunk
from extraction.documents import Edit, Known, Piece
from extraction.errors import OperatorError
from extraction.schema.arrow_types import struct_of
from extraction.schema.profile_model import facts

DOCUMENT_ROWS = pa.schema(
    [
        ("document_id", pa.string()),
        ("company_id", pa.string()),
        ("text", pa.large_string()),
        ("title", pa.string()),
        ("url", pa.string()),
        ("document_type", pa.string()),
        ("document_date", pa.string()),
        ("company_name", pa.string()),
        ("website", pa.string()),
        ("source_path", pa.string()),
        ("row", pa.int64()),
        ("not_text", pa.bool_()),
        ("unreadable", pa.string()),
    ]
)


EDIT = pa.struct(
    [
        ("at", pa.int64()),
        ("length", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("original", pa.large_string()),
    ]
)


CHUNKS = pa.schema(
    [
        ("chunk_id", pa.string()),
        ("company_id", pa.string()),
        ("content", pa.large_string()),
        ("prompt_tokens", pa.int64()),
        ("max_tokens", pa.int64()),
        (
            "pieces",
            pa.list_(
                pa.struct(
                    [
                        ("document_id", pa.string()),
                        ("start", pa.int64()),
                        ("end", pa.int64()),
                        ("at", pa.int64()),
                        ("length", pa.int64()),
                        ("document_type", pa.string()),
                        ("document_date", pa.string()),
                        ("source_path", pa.string()),
                        ("edits", pa.list_(EDIT)),
                    ]
                )
            ),
        ),
        ("known", pa.struct([("name", pa.string()), ("website", pa.string())])),
    ]
)


DEAD_LETTERS = pa.schema(
    [
        ("document_id", pa.string()),
        ("source_path", pa.string()),
        ("stage", pa.string()),
        ("fault", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
    ]
)


def chunks_of(table: pa.Table) -> Iterator[Chunk]:
    """The chunks in a table of CHUNKS."""
    for row in table.to_pylist():
        pieces = [{**piece, "edits": tuple(Edit(**e) for e in piece["edits"])} for piece in row.pop("pieces")]
        known = Known(**(row.pop("known", None) or {}))
        yield Chunk(**row, pieces=tuple(Piece(**piece) for piece in pieces), known=known)


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


MISSING_CHUNK = pa.struct(
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
        ("chunks_missing", pa.list_(MISSING_CHUNK)),
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
