"""The plan stage: documents are read, brought together by company, split, and written as chunks.

<output>/work/runs/<run>/chunks/<sha>.parquet      all chunks of a company are in one file
<output>/dead_letters/<run>/plan-<sha>.parquet     what can't be asked about
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import ray
import ray.data

from extraction.chunking.chunker import Chunk, Chunker
from extraction.config.settings import Columns
from extraction.documents import DeadLetter, admit
from extraction.errors import Fault
from jobs.stages.read_input import Input, RowGroup, read_rows_of
from jobs.stages.run import Run
from jobs.state.storage import Written
from jobs.state.tables import CHUNKS, DEAD_LETTERS, DOCUMENT_ROWS

PLANNED_AT_ONCE_BYTES = (
    32 << 20
)  # bytes of input that one task plans: some seconds, as long as a shuffle takes to begin
PLANNED = pa.schema(
    [
        ("path", pa.string()),
        ("documents", pa.int64()),
        ("dead_documents", pa.int64()),
        ("prompt_tokens", pa.int64()),
        ("dead_path", pa.string()),
        ("dead_rows", pa.int64()),
        ("dead_bytes", pa.int64()),
        ("dead_sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class Plan:
    """What a run is to do: its chunk files, its dead letters so far, and its size."""

    chunk_files: tuple[str, ...]
    dead_letter_files: tuple[Written, ...]
    documents: int
    dead_documents: int
    prompt_tokens: int
    exact: bool


def plan(run: Run, found: Input) -> Plan:
    """Plan the documents of an input."""
    chunker = run.chunker()  # the operator's mistakes show here, before any task starts
    rows: list[dict[str, Any]] = []
    if found.parts:
        rows = _at_once(run, found) if found.bytes <= PLANNED_AT_ONCE_BYTES else _shuffled(run, found)
    dead = [Written.of(row, "dead_") for row in rows if row["dead_path"]]
    if found.dead_letters:
        dead.append(write_dead_letters(run, "plan", found.dead_letters))
    return Plan(
        chunk_files=tuple(sorted(row["path"] for row in rows if row["path"])),
        dead_letter_files=tuple(dead),
        documents=sum(row["documents"] for row in rows),
        dead_documents=sum(row["dead_documents"] for row in rows),
        prompt_tokens=sum(row["prompt_tokens"] for row in rows),
        exact=chunker.counter.exact,
    )


def _shuffled(run: Run, found: Input) -> list[dict[str, Any]]:
    """What `plan_block` tells of all companies, which are brought together from all parts."""
    parts = [asdict(part) for part in found.parts]
    documents = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        read_parts, batch_size=1, batch_format="pyarrow", fn_kwargs={"columns": run.settings.columns}
    )
    # A sorted block holds all rows of its companies, and is handed over whole.
    planned = documents.sort("company_id").map_batches(
        plan_block, batch_size=None, batch_format="pyarrow", fn_kwargs={"run": run}
    )
    rows: list[dict[str, Any]] = planned.take_all()
    return rows


def _at_once(run: Run, found: Input) -> list[dict[str, Any]]:
    """The same from one task, for an input that is small."""
    rows: list[dict[str, Any]] = ray.get(ray.remote(plan_parts).remote(run, found.parts))
    return rows


def plan_parts(run: Run, parts: Sequence[RowGroup]) -> list[dict[str, Any]]:
    """Ray: parts of files to what `plan_block` tells of all that is in them."""
    tables = [table for part in parts for table in read_rows_of(part, run.settings.columns)]
    whole = pa.concat_tables([DOCUMENT_ROWS.empty_table(), *tables])
    rows: list[dict[str, Any]] = plan_block(whole, run).to_pylist()
    return rows


def read_parts(parts: pa.Table, columns: Columns) -> Iterator[pa.Table]:
    """Ray Data: parts of files to document rows."""
    for part in parts.to_pylist():
        yield from read_rows_of(RowGroup(**part), columns)


def plan_block(rows: pa.Table, run: Run) -> pa.Table:
    """Ray Data: the document rows of some companies to one row that tells what was written for them."""
    chunker = run.chunker()
    total = Companies()
    if rows.num_rows:
        by_company = groupby(rows.sort_by("company_id").to_pylist(), itemgetter("company_id"))
        for _, group in by_company:
            total.add(list(group), chunker, run.settings.limits.max_document_bytes)
    path, dead = None, Written("", 0, 0, "")
    if total.chunks:
        table = pa.Table.from_pylist([asdict(chunk) for chunk in total.chunks], CHUNKS)
        path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", table).path
    if total.dead_letters:
        dead = write_dead_letters(run, "plan", total.dead_letters)
    told: dict[str, Any] = {
        "path": path,
        "documents": total.documents,
        "dead_documents": total.dead_documents,
        "prompt_tokens": sum(chunk.prompt_tokens for chunk in total.chunks),
        **{f"dead_{key}": value for key, value in asdict(dead).items()},
    }
    return pa.Table.from_pylist([told], PLANNED)


@dataclass
class Companies:
    """What the companies of a block come to. `documents` counts ids, and each document without one."""

    chunks: list[Chunk] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    documents: int = 0
    dead_documents: int = 0

    def add(self, rows: list[dict[str, Any]], chunker: Chunker, max_bytes: int) -> None:
        """Plan one company's rows."""
        unreadable = [row for row in rows if row["unreadable"]]
        intake = admit([row for row in rows if not row["unreadable"]], max_bytes)
        chunks, refused = chunker.chunks(intake.documents)
        dead = [*intake.dead_letters, *refused]
        alive = {piece.document_id for chunk in chunks for piece in chunk.pieces}
        named = {letter.document_id for letter in dead if letter.document_id} - alive
        nameless = sum(letter.document_id is None for letter in dead)
        self.chunks += chunks
        self.dead_letters += dead
        self.dead_letters += [
            DeadLetter(None, row["source_path"], "plan", Fault.UNREADABLE, row["unreadable"]) for row in unreadable
        ]
        self.dead_documents += len(named) + nameless
        self.documents += len(alive) + len(named) + nameless


def write_dead_letters(run: Run, stage: str, dead: Sequence[DeadLetter]) -> Written:
    """Write dead letters where the published ones are."""
    table = pa.Table.from_pylist([asdict(letter) for letter in dead], DEAD_LETTERS)
    return run.storage.write_table(f"dead_letters/{run.run_id}/{stage}-{{sha}}.parquet", table)
