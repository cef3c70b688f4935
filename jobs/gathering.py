"""Gathering: what the answers to a company's chunks come to, before anything is decided."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from extraction.chunking import Chunk
from extraction.errors import Fault
from extraction.evidence import Evidence, Observation
from extraction.finding import found
from extraction.observing import abstains, observe

Answered = dict[str, Any]  # a row of the ledger, or what stands for one

NOT_ASKED: Answered = {
    "replies": [],
    "fault": Fault.UNAVAILABLE.value,
    "message": "it was not asked",
    "attempts": 0,
}
SAYS_NOTHING: Answered = {
    "fault": Fault.NO_COMPANY.value,
    "message": "nothing that was answered stands in the document: it seems to be about no company",
    "attempts": 1,
}


@dataclass
class Gathered:
    """One company: its evidence, its documents that were answered, and what failed and why.

    `failed` holds the first fault of each document that has one, `missing` every place that no answer covers.
    """

    company_id: str
    evidence: Evidence = field(default_factory=Evidence)
    answered: set[str] = field(default_factory=set)
    failed: dict[str, Answered] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    missing: list[dict[str, Any]] = field(default_factory=list)

    def update(self, other: "Gathered") -> None:
        """Take what other chunks of the company came to in."""
        self.evidence.update(other.evidence)
        self.answered |= other.answered
        self.failed = {**other.failed, **self.failed}
        self.sources |= other.sources
        self.missing += other.missing


def gather(model: type[BaseModel], company_id: str, chunks: Iterable[tuple[Chunk, Answered]]) -> Gathered:
    """What some chunks of a company and their answers come to."""
    gathered = Gathered(company_id)
    for chunk, answer in chunks:
        gathered.sources |= {piece.document_id: piece.source_path for piece in chunk.pieces}
        fault = _observe(model, chunk, answer, gathered.evidence)
        if fault is None:
            gathered.answered |= {piece.document_id for piece in chunk.pieces}
            continue
        for piece in chunk.pieces:
            gathered.failed.setdefault(piece.document_id, fault)
            place = {"document_id": piece.document_id, "start": piece.start, "end": piece.end}
            gathered.missing.append({"chunk_id": chunk.chunk_id, **place, "fault": fault["fault"]})
    return gathered


def _observe(model: type[BaseModel], chunk: Chunk, answer: Answered, evidence: Evidence) -> Answered | None:
    """Take a chunk's answer into the evidence; what is wrong with it, if anything is."""
    if not answer["replies"]:
        return answer
    observations = observed(model, chunk, answer["replies"])
    if observations is None:
        refused = "the stored answer no longer fits the profile model"
        return {**answer, "fault": Fault.INVALID.value, "message": refused}
    for observation in observations:
        evidence.add(observation)
    return None


def observed(model: type[BaseModel], chunk: Chunk, replies: Iterable[str]) -> list[Observation] | None:
    """What a chunk's replies say, and what stands beside captions in it, unless all replies abstain; None where one
    does not fit the model."""
    try:
        profiles = [model.model_validate_json(reply) for reply in replies]
    except ValidationError:
        return None
    where = chunk.chunk_id, chunk.content, chunk.pieces
    said = [one for profile in profiles for one in observe(profile, *where)]
    return said if all(map(abstains, profiles)) else [*said, *found(model, *where)]
