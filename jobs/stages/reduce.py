"""The reduce stage: the run's chunks and the ledger's answers become one profile a company.

Each task takes one chunk file, which holds all chunks of its companies, and the segments in which their
answers stand; nothing is shuffled, and nothing waits for a GPU.
"""

import gc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from extraction.chunking.chunking import Chunk
from extraction.documents import DeadLetter
from extraction.errors import Fault
from extraction.merging.resolving import Judge, resolve
from jobs.stages.gathering import NOT_ASKED, SAYS_NOTHING, Answered, Gathered, gather
from jobs.stages.plan import Plan, chunks_of, write_dead_letters
from jobs.stages.profiles import profile_schema
from jobs.state.digests import digests
from jobs.state.index import Index
from jobs.state.run import Run
from jobs.state.storage import Written

CHUNKS_READ = 500  # at a time: 16 MB of text at the default limits


@dataclass(frozen=True)
class Reduced:
    """What the stage wrote, and how many documents are in profiles and how many only in its dead letters."""

    profiles: tuple[Written, ...]
    dead_letters: tuple[Written, ...]
    in_profiles: int
    dead_documents: int


@dataclass(frozen=True)
class Company:
    """A company's profile row, if its documents say anything, and the documents that gave nothing."""

    row: dict[str, Any] | None
    dead_letters: list[DeadLetter]


def reduce(run: Run, plan: Plan, index: Index) -> Reduced:
    """Merge and resolve everything that was planned and answered."""
    profile_schema(run.model)
    items = []
    for number, path in enumerate(plan.chunk_files):
        ids = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
        places = index.places(digests(ids.to_pylist()))
        segments = [{"path": segment, "rows": rows} for segment, rows in places.items()]
        items.append({"number": number, "path": path, "segments": segments})
    if not items:
        return Reduced((), (), 0, 0)
    rows = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(reduce_files, batch_size=1, batch_format="pyarrow", fn_kwargs={"run": run})
        .take_all()
    )
    written = {kind: sorted((r for r in rows if r["kind"] == kind), key=lambda r: r["path"]) for kind in KINDS}
    return Reduced(
        profiles=tuple(Written.of(row) for row in written["profiles"]),
        dead_letters=tuple(Written.of(row) for row in written["dead_letters"]),
        in_profiles=sum(row["documents"] for row in written["profiles"]),
        dead_documents=sum(row["documents"] for row in written["dead_letters"]),
    )


KINDS = ("profiles", "dead_letters")
COLLECTED_AFTER = 100_000  # objects: evidence is many small ones, hardly any of them in cycles


def reduce_files(batch: pa.Table, run: Run) -> pa.Table:
    """Ray Data: chunk files to rows that tell what was written for them."""
    gc.set_threshold(COLLECTED_AFTER)
    told: list[dict[str, Any]] = []
    for item in batch.to_pylist():
        companies = list(_companies(run, item["path"], item["segments"]))
        profiles = [company.row for company in companies if company.row]
        dead = [letter for company in companies for letter in company.dead_letters]
        if profiles:
            table = pa.Table.from_pylist(profiles, profile_schema(run.model))
            name = f"profiles/{run.run_id}/{item['number']:05}-{{sha}}.parquet"
            written = run.storage.write_table(name, table)
            documents = sum(len(row["documents"]) for row in profiles)
            told.append({"kind": "profiles", "documents": documents, **asdict(written)})
        if dead:
            written = write_dead_letters(run, "reduce", dead)
            told.append({"kind": "dead_letters", "documents": len(dead), **asdict(written)})
    return pa.Table.from_pylist(told, RESULT)


RESULT = pa.schema(
    [
        ("kind", pa.string()),
        ("documents", pa.int64()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)


def _companies(run: Run, path: str, segments: list[dict[str, Any]]) -> Iterator[Company]:
    """The companies of a chunk file, whose rows stand together by company; a batch of chunks at a time, so that a
    company of any number of chunks fits: what its batches come to is merged."""
    ids = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
    answers = run.ledger.read({segment["path"]: segment["rows"] for segment in segments}, ids)
    current: Gathered | None = None
    for table in run.storage.read_batches(path, CHUNKS_READ):
        for company_id, group in groupby(_answered(table, answers), key=lambda pair: pair[0].company_id):
            part = gather(run.model, company_id, group, run.calibration)
            if current and current.company_id == company_id:
                current.update(part)
                continue
            if current:
                yield _company(run, current)
            current = part
    if current:
        yield _company(run, current)


def _answered(chunks: pa.Table, answers: pa.Table) -> Iterator[tuple[Chunk, Answered]]:
    """Chunks with what the ledger has of them."""
    theirs = answers.filter(pc.is_in(answers["chunk_id"], value_set=chunks["chunk_id"].combine_chunks()))
    by_chunk = {row["chunk_id"]: row for row in theirs.to_pylist()}
    for chunk in chunks_of(chunks):
        yield chunk, by_chunk.get(chunk.chunk_id, NOT_ASKED)


def _company(run: Run, found: Gathered) -> Company:
    """A company's row. Every one of its documents is in it or a dead letter."""
    judge = Judge(run.calibration, run.least_confidence)
    resolved = resolve(run.model, found.evidence, run.settings.trust, run.date, judge)
    says_anything = any(row["chosen"] for row in resolved.evidence)
    answered = found.answered if says_anything and (resolved.identified or found.known) else set()
    failed = {**dict.fromkeys(found.answered, SAYS_NOTHING), **found.failed}
    dead = [_dead_letter(d, found.sources[d], failed[d]) for d in sorted(set(failed) - answered)]
    if not answered:
        return Company(None, dead)
    row = {
        "company_id": found.company_id,
        **resolved.values,
        "confidence": resolved.confidence,
        "documents": sorted(answered),
        "chunks_missing": [m for m in found.missing if m["document_id"] in answered],
        "evidence": resolved.evidence,
        "conflicts": resolved.conflicts,
    }
    return Company(row, dead)


def _dead_letter(document_id: str, source: str, answer: Answered) -> DeadLetter:
    fault = Fault(answer["fault"])
    stage = "reduce" if fault is Fault.NO_COMPANY else "extract"
    return DeadLetter(document_id, source, stage, fault, answer["message"], answer["attempts"])
