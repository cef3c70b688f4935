"""The reduce stage: the run's chunks and the ledger's results become one profile a company.

Each task takes one chunk file, which holds all chunks of its companies, and the segments with their results;
nothing is shuffled, and nothing waits for a GPU. `profile_schema` is the schema of the published table.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from pydantic import BaseModel

from extraction.chunking.chunker import Chunk
from extraction.documents import DeadLetter
from extraction.errors import Fault
from extraction.merging.confidence import Calibration
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.observations import Seen, observe, seen
from extraction.merging.publish_decision import Judge, resolve
from extraction.prompting.reply_parsing import Parsed, ReplyFault, parse
from jobs.stages import ray_cluster
from jobs.stages.plan import Plan, chunk_ids_of
from jobs.stages.run import Run
from jobs.state.ledger import Index, RowNumbers
from jobs.state.parquet_schemas import chunks_of, published_table, write_dead_letters
from jobs.state.storage import Written

Answered = dict[str, Any]  # a row of the ledger, or what stands for one

NOT_ASKED: Answered = {
    "replies": [],
    "scores": [],
    "fault": Fault.UNAVAILABLE.value,
    "message": "it was not asked",
    "attempts": 0,
}
SAYS_NOTHING: Answered = {
    "fault": Fault.NO_COMPANY.value,
    "message": "no value that tells the company was found in it, or none that is sure enough",
    "attempts": 1,
}


@dataclass
class Gathered:
    """One company: its evidence, its documents that were answered, and what failed and why.

    `failed` holds the first fault of each document that has one, `missing` every place that no answer covers;
    `refused` counts the values that the profile model refused, by field and reason; `known` says that the input
    told which company it is.
    """

    company_id: str
    evidence: Evidence = field(default_factory=Evidence)
    answered: set[str] = field(default_factory=set)
    failed: dict[str, Answered] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    known: bool = False

    def update(self, other: "Gathered") -> None:
        """Take what other chunks of the company came to in."""
        self.evidence.update(other.evidence)
        self.answered |= other.answered
        self.failed = {**other.failed, **self.failed}
        self.sources |= other.sources
        self.missing += other.missing
        self.refused += other.refused
        self.known |= other.known

    def drop(self, documents: Set[str]) -> None:
        """Leave out some documents."""
        self.evidence.drop(documents)
        self.answered -= documents
        self.missing = [place for place in self.missing if place["document_id"] not in documents]
        for document_id in documents:
            self.failed.pop(document_id, None)
            self.sources.pop(document_id, None)


def gather(
    model: type[BaseModel],
    company_id: str,
    chunks: Iterable[tuple[Chunk, Answered]],
    calibration: Calibration | None = None,
) -> Gathered:
    """What some chunks of a company and their answers come to."""
    gathered = Gathered(company_id)
    for chunk, answer in chunks:
        gathered.sources |= {piece.document_id: piece.source_path for piece in chunk.pieces}
        gathered.known |= bool(chunk.known)
        fault = _observe(model, chunk, answer, gathered, calibration)
        if fault is None:
            gathered.answered |= {piece.document_id for piece in chunk.pieces}
            continue
        for piece in chunk.pieces:
            gathered.failed.setdefault(piece.document_id, fault)
            place = {"document_id": piece.document_id, "start": piece.start, "end": piece.end}
            gathered.missing.append({"chunk_id": chunk.chunk_id, **place, "fault": fault["fault"]})
    return gathered


def _observe(
    model: type[BaseModel], chunk: Chunk, answer: Answered, gathered: Gathered, calibration: Calibration | None
) -> Answered | None:
    """Take a chunk's answer into the evidence; what is wrong with it, if anything is."""
    if not answer["replies"]:
        return answer
    parsed = _parsed(model, answer)
    if parsed is None:
        refused = "the stored answer no longer fits the profile model"
        return {**answer, "fault": Fault.INVALID.value, "message": refused}
    for one in parsed:
        gathered.refused.update(one.refused)
    for observation in _observed(parsed, chunk, calibration):
        gathered.evidence.add(observation)
    return None


def observed(model: type[BaseModel], chunk: Chunk, answer: Answered) -> list[Observation] | None:
    """What the replies to a chunk say, without a calibration; None where one does not fit the model."""
    parsed = _parsed(model, answer)
    return None if parsed is None else list(_observed(parsed, chunk, None))


def _observed(
    parsed: Iterable[Parsed[BaseModel]], chunk: Chunk, calibration: Calibration | None
) -> Iterator[Observation]:
    for one in parsed:
        yield from observe(one, chunk.chunk_id, chunk.content, chunk.pieces, chunk.known, calibration)


def seen_in(model: type[BaseModel], chunk: Chunk, answer: Answered) -> list[Seen]:
    """The same values with their signals, before these become probabilities."""
    return [s for one in _parsed(model, answer) or () for s in seen(one, chunk.content, chunk.pieces, chunk.known)]


def _parsed(model: type[BaseModel], answer: Answered) -> list[Parsed[BaseModel]] | None:
    replies = answer["replies"]
    scores = answer.get("scores") or [()] * len(replies)
    try:
        given = zip(replies, scores, strict=True)  # as they were accepted when they came
        return [parse(reply, "stop", model, scored, optional=True) for reply, scored in given]
    except ReplyFault:
        return None


CHUNKS_MERGED_AT_ONCE = 500  # at a time: 16 MB of text at the default limits


@dataclass(frozen=True)
class Reduced:
    """What the stage wrote, how many documents are in profiles and how many only in its dead letters, and how many
    values of replies the profile model refused, by field and reason."""

    profiles: tuple[Written, ...]
    dead_letters: tuple[Written, ...]
    in_profiles: int
    dead_documents: int
    refused: dict[str, int]


@dataclass(frozen=True)
class CompanyRow:
    """A company's profile row, if its documents say anything, the documents that gave nothing, and the values that
    the profile model refused, by field and reason."""

    row: dict[str, Any] | None
    dead_letters: list[DeadLetter]
    refused: Counter[str]


def reduce(run: Run, plan: Plan, index: Index) -> Reduced:
    """Merge and resolve everything that was planned and answered."""
    ids = chunk_ids_of(run.storage, plan.chunk_files)
    shared = ray.put(run)
    files = enumerate(zip(plan.chunk_files, ids, strict=True))
    parts = ray_cluster.map_tasks(
        reduce_file, ((shared, number, path, index.places(theirs)) for number, (path, theirs) in files)
    )
    refused = sum((Counter(part.refused) for part in parts), Counter[str]())
    return Reduced(
        profiles=tuple(sorted((file for part in parts for file in part.profiles), key=lambda file: file.path)),
        dead_letters=tuple(sorted((file for part in parts for file in part.dead_letters), key=lambda f: f.path)),
        in_profiles=sum(part.in_profiles for part in parts),
        dead_documents=sum(part.dead_documents for part in parts),
        refused=dict(refused.most_common()),
    )


COLLECTED_AFTER = 100_000  # objects: evidence is many small ones, hardly any of them in cycles


def reduce_file(run: Run, number: int, path: str, places: Mapping[str, RowNumbers]) -> Reduced:
    """Ray: a chunk file, whose answers are at some places of the ledger, to what was written for it."""
    gc.set_threshold(COLLECTED_AFTER)
    companies = list(_companies(run, path, places))
    rows = [company.row for company in companies if company.row]
    dead = [letter for company in companies for letter in company.dead_letters]
    name = f"profiles/{run.run_id}/{number:05}-{{sha}}.parquet"
    return Reduced(
        profiles=(run.storage.write_table(name, published_table(rows, run.model)),) if rows else (),
        dead_letters=(write_dead_letters(run.storage, run.run_id, "reduce", dead),) if dead else (),
        in_profiles=sum(len(row["documents"]) for row in rows),
        dead_documents=len(dead),
        refused=dict(sum((company.refused for company in companies), Counter[str]())),
    )


def _companies(run: Run, path: str, places: Mapping[str, RowNumbers]) -> Iterator[CompanyRow]:
    """The companies of a chunk file, whose rows stand together by company; a batch of chunks at a time, so that a
    company of any number of chunks fits: what its batches come to is merged."""
    ids = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
    answers = run.ledger.read(places, ids)
    current: Gathered | None = None
    for table in run.storage.read_batches(path, CHUNKS_MERGED_AT_ONCE):
        for company_id, group in groupby(answered_chunks(table, answers), key=lambda pair: pair[0].company_id):
            part = gather(run.model, company_id, group, run.calibration)
            if current and current.company_id == company_id:
                current.update(part)
                continue
            if current:
                yield company_row(run, current)
            current = part
    if current:
        yield company_row(run, current)


def answered_chunks(chunks: pa.Table, answers: pa.Table) -> Iterator[tuple[Chunk, Answered]]:
    """Chunks with what the ledger has of them."""
    theirs = answers.filter(pc.is_in(answers["chunk_id"], value_set=chunks["chunk_id"].combine_chunks()))
    theirs = theirs.select(["chunk_id", *NOT_ASKED])
    by_chunk = {row["chunk_id"]: row for row in theirs.to_pylist()}
    for chunk in chunks_of(chunks):
        yield chunk, by_chunk.get(chunk.chunk_id, NOT_ASKED)


def company_row(run: Run, gathered: Gathered) -> CompanyRow:
    """A company's row. Every one of its documents is in it or a dead letter."""
    judge = Judge(run.calibration, run.least_confidence)
    resolved = resolve(run.model, gathered.evidence, run.settings.trust, run.date, judge)
    says_anything = any(row["chosen"] for row in resolved.evidence)
    answered = gathered.answered if says_anything and (resolved.identified or gathered.known) else set()
    failed = {**dict.fromkeys(gathered.answered, SAYS_NOTHING), **gathered.failed}
    dead = [_dead_letter(d, gathered.sources[d], failed[d]) for d in sorted(set(failed) - answered)]
    if not answered:
        return CompanyRow(None, dead, gathered.refused)
    row = {
        "company_id": gathered.company_id,
        **resolved.values,
        "confidence": resolved.confidence,
        "documents": sorted(answered),
        "chunks_missing": [m for m in gathered.missing if m["document_id"] in answered],
        "evidence": resolved.evidence,
        "conflicts": resolved.conflicts,
    }
    return CompanyRow(row, dead, gathered.refused)


def _dead_letter(document_id: str, source: str, answer: Answered) -> DeadLetter:
    fault = Fault(answer["fault"])
    stage = "reduce" if fault is Fault.NO_COMPANY else "extract"
    return DeadLetter(document_id, source, stage, fault, answer["message"], answer["attempts"])
