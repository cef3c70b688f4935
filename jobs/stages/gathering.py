"""Gathering: what the answers to a company's chunks come to, before anything is decided."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from extraction.chunking.chunking import Chunk
from extraction.errors import Fault
from extraction.merging.confidence import Calibration
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.observing import Seen, observe, seen
from extraction.prompting.parsing import Parsed, ReplyFault, parse

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
    "message": "nothing in it tells with enough confidence which company it is about",
    "attempts": 1,
}


@dataclass
class Gathered:
    """One company: its evidence, its documents that were answered, and what failed and why.

    `failed` holds the first fault of each document that has one, `missing` every place that no answer covers;
    `known` says that the input told which company it is.
    """

    company_id: str
    evidence: Evidence = field(default_factory=Evidence)
    answered: set[str] = field(default_factory=set)
    failed: dict[str, Answered] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)
    known: bool = False

    def update(self, other: "Gathered") -> None:
        """Take what other chunks of the company came to in."""
        self.evidence.update(other.evidence)
        self.answered |= other.answered
        self.failed = {**other.failed, **self.failed}
        self.sources |= other.sources
        self.missing += other.missing
        self.known |= other.known


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
        fault = _observe(model, chunk, answer, gathered.evidence, calibration)
        if fault is None:
            gathered.answered |= {piece.document_id for piece in chunk.pieces}
            continue
        for piece in chunk.pieces:
            gathered.failed.setdefault(piece.document_id, fault)
            place = {"document_id": piece.document_id, "start": piece.start, "end": piece.end}
            gathered.missing.append({"chunk_id": chunk.chunk_id, **place, "fault": fault["fault"]})
    return gathered


def _observe(
    model: type[BaseModel], chunk: Chunk, answer: Answered, evidence: Evidence, calibration: Calibration | None
) -> Answered | None:
    """Take a chunk's answer into the evidence; what is wrong with it, if anything is."""
    if not answer["replies"]:
        return answer
    observations = observed(model, chunk, answer, calibration)
    if observations is None:
        refused = "the stored answer no longer fits the profile model"
        return {**answer, "fault": Fault.INVALID.value, "message": refused}
    for observation in observations:
        evidence.add(observation)
    return None


def observed(
    model: type[BaseModel], chunk: Chunk, answer: Answered, calibration: Calibration | None = None
) -> list[Observation] | None:
    """What the replies to a chunk say; None where one does not fit the model."""
    parsed = _parsed(model, answer)
    where = chunk.chunk_id, chunk.content, chunk.pieces, chunk.known
    return None if parsed is None else [o for one in parsed for o in observe(one, *where, calibration)]


def seen_in(model: type[BaseModel], chunk: Chunk, answer: Answered) -> list[Seen]:
    """The same values with their signals, before these become probabilities."""
    return [s for one in _parsed(model, answer) or () for s in seen(one, chunk.content, chunk.pieces, chunk.known)]


def _parsed(model: type[BaseModel], answer: Answered) -> list[Parsed[BaseModel]] | None:
    replies = answer["replies"]
    scores = answer.get("scores") or [()] * len(replies)
    try:
        return [parse(reply, "stop", model, given) for reply, given in zip(replies, scores, strict=True)]
    except ReplyFault:
        return None
