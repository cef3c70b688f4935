"""The Parquet tables of a run: document rows, chunks, dead letters, and the published profiles.

Columns that readers see have a description in their metadata, which Parquet files keep.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from extraction.chunking.chunker import Chunk
from extraction.documents import DeadLetter, Edit, KnownCompany, Piece
from extraction.errors import OperatorError
from extraction.schema.arrow_types import in_column, schema_of
from extraction.schema.profile_model import facts, struct_of
from jobs.state.storage import Storage, Written

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
        ("lost_rows", pa.int64()),
        ("unclear", pa.list_(pa.struct([("column", pa.string()), ("why", pa.string())]))),
    ]
)


def described(*columns: tuple[str, pa.DataType, str]) -> list[pa.Field]:
    """Columns from name, type and description."""
    return [pa.field(name, kind, metadata={"description": meaning}) for name, kind, meaning in columns]


CHUNKS = pa.schema(schema_of(Chunk))
DEAD_LETTERS = pa.schema(schema_of(DeadLetter))


def write_dead_letters(storage: Storage, run_id: str, stage: str, dead: Sequence[DeadLetter]) -> Written:
    """Write the dead letters of a stage: the documents that gave nothing, each with the reason."""
    table = pa.Table.from_pylist([asdict(letter) for letter in dead], DEAD_LETTERS)
    return storage.write_table(f"dead_letters/{run_id}/{stage}-{{sha}}.parquet", table)


def chunks_of(table: pa.Table) -> Iterator[Chunk]:
    """The chunks in a table of CHUNKS."""
    for row in table.to_pylist():
        pieces = [{**piece, "edits": tuple(Edit(**e) for e in piece["edits"])} for piece in row.pop("pieces")]
        known = KnownCompany(**(row.pop("known", None) or {}))
        yield Chunk(**row, pieces=tuple(Piece(**piece) for piece in pieces), known=known)


PLACE = pa.struct(
    described(
        ("document_id", pa.string(), "The document"),
        ("start", pa.int64(), "First character in the document's text"),
        ("end", pa.int64(), "Character after the last one"),
        ("quote", pa.string(), "The words that stand there: `text[start:end]`"),
    )
)


EVIDENCE = pa.struct(
    described(
        ("field", pa.string(), "The field by its path, such as `identity.legal_name`"),
        ("value", pa.string(), "The value as text; what is not text as JSON"),
        ("chosen", pa.bool_(), "Whether it is published in its column"),
        ("grounded", pa.bool_(), "Whether it stands in a document; of a reading whether the quote for it does"),
        ("found", pa.bool_(), "Whether a finder read it in a document for which the model did not give it"),
        (
            "confidence",
            pa.float32(),
            "Probability that it is right, a score without a calibration; 0 where it stands in no document, null "
            "for a reading",
        ),
        ("support", pa.int32(), "Number of documents that give it"),
        ("places", pa.list_(PLACE), "Where it stands, one place a document, at most three"),
    )
)


ALTERNATIVE = pa.struct(
    described(
        ("value", pa.string(), "The value"),
        ("support", pa.int32(), "Number of documents that give it"),
        ("newest", pa.string(), "Date of the newest of them"),
        ("place", PLACE, "A place where it stands"),
    )
)


CONFLICT = pa.struct(
    described(
        ("field", pa.string(), "The field by its path"),
        ("chosen", pa.string(), "The published value"),
        ("support", pa.int32(), "Number of documents that give it"),
        (
            "rule",
            pa.string(),
            "The field's merge rule: `vote`, or `latest`, by vote among the newest",
        ),
        (
            "alternatives",
            pa.list_(ALTERNATIVE),
            "Other values with at least a fifth of the weight of all, at most five",
        ),
    )
)


MISSING_CHUNK = pa.struct(
    described(
        ("chunk_id", pa.string(), "The chunk"),
        ("document_id", pa.string(), "The document"),
        ("start", pa.int64(), "First character of the part in the document's text"),
        ("end", pa.int64(), "Character after its last one"),
        ("fault", pa.string(), "Why there is no reply: a fault such as `truncated`"),
    )
)


OWN = pa.schema(
    described(
        ("documents", pa.list_(pa.string()), "Ids of the documents that were read for the profile"),
        ("chunks_missing", pa.list_(MISSING_CHUNK), "Parts of these documents that no reply covers"),
        (
            "evidence",
            pa.list_(EVIDENCE),
            "All values that were given or found, the published ones of a field first; at most 20 a field, or as "
            "many as are published",
        ),
        ("conflicts", pa.list_(CONFLICT), "Fields of one value of which documents say different things"),
    )
)
OWN_COLUMNS = frozenset(("company_id", "confidence", *OWN.names))  # what is no field of the profile model
CONFIDENCE_MEANS = (
    "For each field of the profile, under the same names, the confidence of the published value; of a list that of "
    "its least sure item; null for a reading and where nothing is published"
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
    company_id = described(("company_id", pa.string(), "The company"))
    confidence = described(("confidence", confidence_type(model), CONFIDENCE_MEANS))
    columns = [*company_id, *struct_of(model), *confidence, *OWN]
    names = [column.name for column in columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OperatorError(f"profile: {model.__name__} may not name a field {twice.pop()!r}: rename it")
    return pa.schema(columns)


def published_table(rows: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> pa.Table:
    """The published table of some rows, whose values are JSON."""
    columns = struct_of(model)
    return pa.Table.from_pylist([{**row, **in_column(row, columns)} for row in rows], profile_schema(model))
