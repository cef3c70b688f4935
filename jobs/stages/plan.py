"""The plan stage: documents are read, brought together by company, split, and written as chunks.

<output>/work/runs/<run>/chunks/<sha>.parquet      all chunks of a company are in one file
<output>/dead_letters/<run>/plan-<sha>.parquet     what can't be asked about
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from extraction.chunking.chunker import Chunk, Chunker
from extraction.config.settings import Columns
from extraction.document_validation import SeenDocuments, validated
from extraction.documents import DeadLetter
from extraction.errors import Fault
from jobs.inputs.document_reader import Input, RowGroup, document_rows, unclear_notes
from jobs.stages.run import Run
from jobs.state.ledger import Digests, digests
from jobs.state.parquet_schemas import CHUNKS, DOCUMENT_ROWS, write_dead_letters
from jobs.state.storage import WRITTEN_COLUMNS, Storage, Written, batched_by, in_threads

# Bytes of input that one task plans: some seconds, as long as a shuffle takes to begin.
PLANNED_AT_ONCE_BYTES = 32 << 20
PART_BYTES = 16 << 20  # of row groups of one file that one task reads
DECODED_RATIO = 4  # of the bytes that a footer tells, which are encoded
BLOCK_BYTES = 64 << 20  # of documents that one task plans, more only where one company has more
PARTS_SAMPLED = 16
HELD_BYTES = 32 << 20  # of documents that a task has as Python objects at a time
UNCLEAR = pa.struct([("column", pa.string()), ("why", pa.string()), ("place", pa.string()), ("rows", pa.int64())])
PLANNED = pa.schema(
    [
        ("path", pa.string()),
        ("documents", pa.int64()),
        ("dead_documents", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("repeated", pa.int64()),
        ("unclear", pa.list_(UNCLEAR)),
        ("dead_letters", WRITTEN_COLUMNS),
    ]
)


@dataclass(frozen=True)
class Plan:
    """What a run is to do: its chunk files, its dead letters so far, its size, and what is odd in its input."""

    chunk_files: tuple[str, ...]
    dead_letter_files: tuple[Written, ...]
    documents: int
    dead_documents: int
    prompt_tokens: int
    exact: bool
    notes: tuple[str, ...] = ()


def plan(run: Run, source: Input) -> Plan:
    """Plan the documents of an input."""
    chunker = run.chunker()  # the operator's mistakes show here, before any task starts
    rows = _planned(run, source) if source.parts else []
    dead = [Written(**row["dead_letters"]) for row in rows if row["dead_letters"]]
    if source.dead_letters:
        dead.append(write_dead_letters(run.storage, run.run_id, "plan", source.dead_letters))
    repeated = sum(row["repeated"] for row in rows)
    again = [f"{repeated:,} rows repeat a document, its id and its text: they count once"] if repeated else []
    unclear = [each for row in rows for each in row["unclear"]]
    return Plan(
        chunk_files=tuple(sorted(row["path"] for row in rows if row["path"])),
        dead_letter_files=tuple(dead),
        documents=sum(row["documents"] for row in rows) + source.dead_documents,
        dead_documents=sum(row["dead_documents"] for row in rows) + source.dead_documents,
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        exact=chunker.counter.exact,
        notes=(*source.notes, *unclear_notes(unclear, run.settings.columns), *again),
    )


def _planned(run: Run, source: Input) -> list[dict[str, Any]]:
    """What `plan_block` tells of all companies: from one task unless the input is large, decoded or not."""
    if source.bytes <= PLANNED_AT_ONCE_BYTES:
        rows: list[dict[str, Any]] | None = ray.get(ray.remote(plan_parts).remote(run, source.parts))
        if rows is not None:
            return rows
    return _shuffled(run, source)


def _shuffled(run: Run, source: Input) -> list[dict[str, Any]]:
    """What `plan_block` tells of all companies, which are brought together from all parts."""
    bundles = [{"parts": [asdict(part) for part in bundle]} for bundle in bundled(source.parts)]
    blocks = max(len(bundles), -(-decoded_bytes(run, source.parts) // BLOCK_BYTES))
    documents = ray.data.from_items(bundles, override_num_blocks=len(bundles)).map_batches(
        read_parts, batch_size=1, batch_format="pyarrow", fn_kwargs={"columns": run.settings.columns}
    )
    # A block holds all rows of its companies, and is handed over whole; one of `sort` would be split at 128 MiB.
    planned = documents.repartition(blocks, keys=["company_id"]).map_batches(
        plan_block, batch_size=None, batch_format="pyarrow", fn_kwargs={"run": run}
    )
    rows: list[dict[str, Any]] = planned.take_all()
    return rows


def decoded_bytes(run: Run, parts: Sequence[RowGroup]) -> int:
    """The size of parts as documents, by the first rows of some: of their encoded size it may be any multiple."""
    some = parts[:: -(-len(parts) // PARTS_SAMPLED)]
    rows, size = ray.get(ray.remote(sample).remote(run, some))
    return int(sum(part.rows for part in parts) * size / max(1, rows))


def sample(run: Run, parts: Sequence[RowGroup]) -> tuple[int, int]:
    """Ray: rows and bytes of the first documents of some parts."""
    first = [next(document_rows([part], run.settings.columns)) for part in parts]
    return sum(table.num_rows for table in first), sum(table.nbytes for table in first)


def bundled(parts: Sequence[RowGroup]) -> Iterator[list[RowGroup]]:
    """Parts that one task reads: neighbours in one file, whose footer is read once for all of them."""
    for _, of_file in groupby(parts, key=lambda part: part.url):
        yield from batched_by(of_file, lambda part: part.bytes, PART_BYTES)


def plan_parts(run: Run, parts: Sequence[RowGroup]) -> list[dict[str, Any]] | None:
    """Ray: parts of files to what `plan_block` tells of all that is in them; None where that is too much."""
    tables = [DOCUMENT_ROWS.empty_table()]
    size = 0
    for table in document_rows(parts, run.settings.columns):
        tables.append(table)
        size += table.nbytes
        if size > DECODED_RATIO * PLANNED_AT_ONCE_BYTES:
            return None
    rows: list[dict[str, Any]] = plan_block(pa.concat_tables(tables), run).to_pylist()
    return rows


def read_parts(bundles: pa.Table, columns: Columns) -> Iterator[pa.Table]:
    """Ray Data: parts of files to document rows."""
    for bundle in bundles.to_pylist():
        yield from document_rows([RowGroup(**part) for part in bundle["parts"]], columns)


def plan_block(rows: pa.Table, run: Run) -> pa.Table:
    """Ray Data: the document rows of some companies to one row that tells what was written for them."""
    chunker = run.chunker()
    total, chunks = Companies(), list[pa.Table]()
    for company in companies_of(rows):
        seen: SeenDocuments = {}
        for some in slices(company):
            total.add(some.to_pylist(), chunker, run.settings.limits.max_document_bytes, seen, run.date)
            if total.held > HELD_BYTES:
                chunks.append(total.chunk_table())
    chunks.append(total.chunk_table())
    table = pa.concat_tables(chunks)
    path, dead = None, None
    if table.num_rows:
        path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", table).path
    if total.dead_letters:
        dead = write_dead_letters(run.storage, run.run_id, "plan", total.dead_letters)
    row: dict[str, Any] = {
        "path": path,
        "documents": total.documents,
        "dead_documents": total.dead_documents,
        "prompt_tokens": total.prompt_tokens,
        "repeated": total.repeated,
        "unclear": list(total.unclear.values()),
        "dead_letters": dead and dead.model_dump(),
    }
    return pa.Table.from_pylist([row], PLANNED)


def companies_of(rows: pa.Table) -> Iterator[pa.Table]:
    """The rows of each company, in an order that tells nothing of files: the same input makes the same chunks."""
    order = [(name, "ascending") for name in ("company_id", "document_id", "source_path", "row")]
    rows = rows.take(pc.sort_indices(rows.select([name for name, _ in order]), order))
    start = 0
    for end in pc.run_end_encode(rows["company_id"].combine_chunks(), pa.int64()).run_ends.to_pylist():
        yield rows.slice(start, end - start)
        start = end


def slices(rows: pa.Table) -> Iterator[pa.Table]:
    """Rows in pieces that a task can hold as Python objects: one, but of a company with very much text."""
    if rows.nbytes <= HELD_BYTES:
        yield rows
        return
    sizes = pc.fill_null(pc.binary_length(rows["text"]), 0).to_pylist()
    for batch in batched_by(range(rows.num_rows), sizes.__getitem__, HELD_BYTES):
        yield rows.slice(batch[0], len(batch))


@dataclass
class Companies:
    """What the companies of a block come to: each document is in chunks, or stands for a dead letter."""

    chunks: list[Chunk] = field(default_factory=list)
    held: int = 0  # characters of these chunks
    dead_letters: list[DeadLetter] = field(default_factory=list)
    alive: set[tuple[str, str]] = field(default_factory=set)
    prompt_tokens: int = 0
    repeated: int = 0
    unclear: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def dead_documents(self) -> int:
        """Documents that gave no chunk."""
        return sum(letter.documents for letter in self.dead_letters)

    @property
    def documents(self) -> int:
        """Those that did, too."""
        return len(self.alive) + self.dead_documents

    def add(
        self,
        rows: list[dict[str, Any]],
        chunker: Chunker,
        max_bytes: int,
        seen: SeenDocuments | None = None,
        today: str | None = None,
    ) -> None:
        """Plan rows of one company; `seen` are its documents so far."""
        unreadable = [row for row in rows if row["unreadable"]]
        for row in rows:
            self._note(row, today)
        valid = validated([row for row in rows if not row["unreadable"]], max_bytes, seen)
        chunks, refused = chunker.chunks(valid.documents)
        self.alive |= {(chunk.company_id, piece.document_id) for chunk in chunks for piece in chunk.pieces}
        self.chunks += chunks
        self.held += sum(len(chunk.content) for chunk in chunks)
        self.prompt_tokens += sum(chunk.prompt_tokens for chunk in chunks)
        self.repeated += valid.repeated
        self.dead_letters += [*valid.dead_letters, *refused]
        for row in unreadable:
            lost, where = row.get("lost_rows") or 1, row["source_path"]
            fault = Fault.UNREADABLE, row["unreadable"]
            self.dead_letters.append(DeadLetter(None, where, "plan", *fault, documents=lost))

    def chunk_table(self) -> pa.Table:
        """The chunks so far as a table; they are no longer held."""
        chunks, self.chunks, self.held = self.chunks, [], 0
        return pa.Table.from_pylist([asdict(chunk) for chunk in chunks], CHUNKS)

    def _note(self, row: dict[str, Any], today: str | None) -> None:
        """Count what of a row means nothing; a row whose id does is a dead letter."""
        unclear = [e for e in row.get("unclear") or () if e["column"] not in ("document_id", "company_id")]
        date = row["document_date"]
        if date and today and date > today:
            unclear.append({"column": "document_date", "why": f"{date} is later than this run"})
        for each in unclear:
            place = f"{row['source_path']}#row={row['row']}"
            counted = self.unclear.setdefault(each["column"], {**each, "place": place, "rows": 0})
            counted["rows"] += 1


def chunk_ids_of(storage: Storage, chunk_files: Sequence[str]) -> list[Digests]:
    """The ids of the chunks in each file as digests, in the order of rows."""

    def read(path: str) -> Digests:
        return digests(storage.read_table(path, ["chunk_id"])["chunk_id"].to_pylist())

    return in_threads(read, chunk_files)
