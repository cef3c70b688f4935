"""Candidates: the values of one field, ranked by the documents that give them, each with its confidence."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from extraction.merging.confidence import Calibration, of_company
from extraction.merging.evidence import Evidence, Observation, Support
from extraction.schema.merge_rules import Alike, Rule
from extraction.schema.profile_model import Field

PLACES_KEPT = 3  # published for each value
ALIKE_COMPARED = 200  # best values of a vote that are compared with each other


class Candidate(NamedTuple):
    """One value of one field, as `resolve` weighs it: the observations that stand in a document, if it has any
    and the field asks for that, else all.

    `documents` has the probability that each of its documents alone gives it, `weight` their sum, weighed by trust;
    `confidence` is the probability that it is right for the company, None for a reading.
    """

    key: str
    value: Any
    grounded: bool
    found: bool
    documents: Mapping[str, float]
    chunks: frozenset[str]
    sample: tuple[Observation, ...]
    newest: str
    weight: float
    confidence: float | None = None

    @property
    def start(self) -> int:
        """How far into a document it first stands."""
        return min(o.start for o in self.sample)

    @property
    def places(self) -> list[dict[str, Any]]:
        """Where it stands, one place a document."""
        grounded = [o for o in self.sample if o.grounded][:PLACES_KEPT]
        return [{"document_id": o.document_id, "start": o.start, "end": o.end, "quote": o.quote} for o in grounded]


def candidates(
    field: Field, evidence: Evidence, trust: Mapping[str, float], dates: Mapping[str, str]
) -> list[Candidate]:
    """All values of a field, in the order of their keys. `trust` and `dates` are by document."""
    values = evidence.of(field.name)
    ranked = []
    for key in sorted({key for key, _ in values}):
        supports = [values[key, grounded] for grounded in (True, False) if (key, grounded) in values]
        grounded = (key, True) in values
        if field.rule.verbatim and grounded:
            supports = supports[:1]
        ranked.append(_candidate(key, supports, trust, dates, grounded=grounded))
    return ranked


def _candidate(
    key: str,
    supports: Sequence[Support],
    trust: Mapping[str, float],
    dates: Mapping[str, str],
    *,
    grounded: bool,
) -> Candidate:
    documents = surest(*(support.documents for support in supports))
    places: dict[str, Observation] = {}
    for support in reversed(supports):
        places |= support.sample
    sample = tuple(sorted(places.values()))
    return Candidate(
        key=key,
        value=_spelled(sample),
        grounded=grounded,
        found=any(support.found for support in supports),
        documents=documents,
        chunks=frozenset[str]().union(*(support.chunks for support in supports)),
        sample=sample,
        newest=max(map(dates.__getitem__, documents), default=""),
        weight=weight_of(documents, trust),
    )


def _spelled(sample: Sequence[Observation]) -> Any:
    """A value the way it is written most often; then the longest, then the first in order."""
    spelled = Counter([o.value for o in sample])
    return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


def surest(*documents: Mapping[str, float]) -> dict[str, float]:
    """Documents with the greatest of their probabilities, in the order of their ids."""
    highest = dict(documents[0])
    for some in documents[1:]:
        for document_id, probability in some.items():
            highest[document_id] = max(probability, highest.get(document_id, 0.0))
    return dict(sorted(highest.items()))


def weight_of(documents: Mapping[str, float], trust: Mapping[str, float]) -> float:
    """What some documents, in the order of their ids, weigh together: the right votes to expect of them."""
    return sum([trust[d] * p for d, p in documents.items()])


def rank(rule: Rule, candidates: Sequence[Candidate], trust: Mapping[str, float]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), weight of it and of what is alike, its own, chunks,
    grounded (readings), newest, earliest."""
    if len(candidates) < 2:
        return list(candidates)
    ranked = sorted(sorted(candidates, key=lambda c: c.key), key=lambda c: _order(rule, c, c.weight), reverse=True)
    if not (rule.alike and rule.kind in ("vote", "latest")):
        return ranked
    best, rest = ranked[:ALIKE_COMPARED], ranked[ALIKE_COMPARED:]
    backed = {c.key: weight_of(backing(c, best, rule.likeness), trust) for c in best}
    return [*sorted(best, key=lambda c: _order(rule, c, backed[c.key]), reverse=True), *rest]


def _order(rule: Rule, one: Candidate, backed: float) -> tuple[object, ...]:
    """What a candidate is ranked by; `backed` is the weight of all that support it."""
    newest = one.newest if rule.kind == "latest" else ""
    fact = one.grounded and rule.verbatim  # that a reading has a quote says little of it
    return fact, newest, backed, one.weight, len(one.chunks), one.grounded, one.newest, -one.start


def backing(one: Candidate, others: Iterable[Candidate], alike: Alike | None) -> Mapping[str, float]:
    """The documents of a value together with those of values that are alike."""
    same = [c for c in others if c is not one and c.grounded and alike and alike(c.key, one.key)]
    return surest(one.documents, *(c.documents for c in same)) if same else one.documents


def agreement(rule: Rule, ranked: Sequence[Candidate], trust: Mapping[str, float]) -> list[dict[str, float]]:
    """For each candidate of a field the numbers that the company's model judges it by (see
    `confidence.of_company`). Items of a list are no rivals of each other."""
    compared = ranked[:ALIKE_COMPARED] if len(ranked) > 1 else ()
    total = sum(c.weight for c in ranked if c.grounded)
    confidences = []
    for place, one in enumerate(ranked):
        documents = backing(one, compared, rule.likeness) if place < len(compared) else one.documents
        rivals = rule.kind != "union" and total > 0
        weight = one.weight if documents is one.documents else weight_of(documents, trust)
        share = min(1.0, weight / total) if rivals else 1.0
        confidences.append(of_company(max(one.documents.values(), default=0.0), share, len(documents)))
    return confidences


def judged(
    rule: Rule, ranked: Sequence[Candidate], trust: Mapping[str, float], calibration: Calibration | None
) -> list[Candidate]:
    """Candidates of a verbatim field with their confidence, in the same order."""
    if not rule.verbatim:
        return list(ranked)
    numbers = agreement(rule, ranked, trust)
    return [
        one._replace(confidence=_confidence(one, its, calibration))
        for one, its in zip(ranked, numbers, strict=True)
    ]


def _confidence(one: Candidate, numbers: Mapping[str, float], calibration: Calibration | None) -> float:
    if not one.grounded:
        return 0.0
    if calibration is None:
        return round(max(one.documents.values()) * numbers["share"], 4)
    return round(calibration.company.of(numbers), 4)
