"""Merge gain: how much better a company's profile is than the answers that it was made of, each taken alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from extraction.chunking.chunking import Chunk
from extraction.evaluation.figures import Share, f1, mean, ratio
from extraction.evaluation.labels import Label
from extraction.evaluation.scoring import COUNTS, Counts, Scorer
from extraction.merging.evidence import Evidence
from extraction.merging.resolving import resolve
from jobs.stages.gathering import Answered, observed
from jobs.state.published import Published, Values


@dataclass(frozen=True)
class MergeGain:
    """Mean F1 of profiles and of the answers behind them, over companies of several chunks, and the difference."""

    companies: int
    chunks: int
    profile_f1: float
    chunk_f1: float
    gain: Share


def merge_gain(
    published: Published,
    model: type[BaseModel],
    scorer: Scorer,
    labels: Mapping[str, Sequence[Label | None]],
    counts: Mapping[str, Counts],
    answers: Mapping[str, Answered],
) -> MergeGain | None:
    """Score what each chunk's answer would make by itself; None where no company has several answers.

    `labels` and `counts` are by company, `answers` by chunk.
    """
    single: dict[str, list[float]] = defaultdict(list)
    for chunk in published.chunks(labels.keys()):
        values = alone(model, chunk, answers[chunk.chunk_id]) if chunk.chunk_id in answers else None
        if values is not None:
            single[chunk.company_id].append(company_f1(scorer.counts(values, labels[chunk.company_id])))
    several = {company_id: values for company_id, values in sorted(single.items()) if len(values) > 1}
    pairs = [(company_f1(counts[company_id]), float(np.mean(values))) for company_id, values in several.items()]
    pairs = [pair for pair in pairs if not np.isnan(pair).any()]
    if not pairs:
        return None
    whole, part = np.mean(pairs, axis=0)
    chunks = sum(map(len, several.values()))
    return MergeGain(len(pairs), chunks, float(whole), float(part), mean([one - other for one, other in pairs]))


def alone(model: type[BaseModel], chunk: Chunk, answer: Answered) -> Values | None:
    """The profile that one chunk's answer makes by itself; None where it does not fit."""
    found = observed(model, chunk, answer)
    return None if found is None else resolve(model, Evidence(found)).values


def company_f1(counts: Counts) -> float:
    """F1 of one company's profile over all its labels; NaN where none stands in its documents."""
    of = dict(zip(COUNTS, counts.sum(axis=0).astype(float), strict=True))
    return f1(*(float(ratio(of[a], of[b])) for a, b in (("right", "given"), ("found", "in_text"))))
