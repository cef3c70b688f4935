"""Candidates: the values of one field as they are weighed against each other."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extraction.evidence import Evidence, Observation, Tally
from extraction.rules import Alike, Field, Rule

PLACES_KEPT = 3  # published for each value
ALIKE_COMPARED = 200  # best values of a vote that are compared with each other


@dataclass(frozen=True)
class Candidate:
    """One value of one field, as `resolve` weighs it: the observations that stand in a document, if it has any
    and the field asks for that, else all."""

    key: str
    value: Any
    grounded: bool
    documents: frozenset[str]
    chunks: frozenset[str]
    sample: tuple[Observation, ...]
    newest: str
    weight: float

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
    field: Field, evidence: Evidence, weights: Mapping[str, float], dates: Mapping[str, str]
) -> list[Candidate]:
    values = evidence.of(field.name)
    found = []
    for key in sorted({key for key, _ in values}):
        standing, loose = values.get((key, True)), values.get((key, False))
        telling = [t for t in (standing, None if standing and field.rule.verbatim else loose) if t]
        found.append(_candidate(key, standing is not None, telling, weights, dates))
    return found


def _candidate(
    key: str,
    grounded: bool,
    telling: Sequence[Tally],
    weights: Mapping[str, float],
    dates: Mapping[str, str],
) -> Candidate:
    documents = frozenset[str]().union(*(t.documents for t in telling))
    sample = tuple(sorted(o for t in telling for o in t.sample.values()))
    return Candidate(
        key=key,
        value=_spelled(sample),
        grounded=grounded,
        documents=documents,
        chunks=frozenset[str]().union(*(t.chunks for t in telling)),
        sample=sample,
        newest=max(dates[d] for d in documents),
        weight=weight_of(documents, weights),
    )


def _spelled(sample: Sequence[Observation]) -> Any:
    """A value the way it is written most often; then the longest, then the first in order."""
    spelled = Counter(o.value for o in sample)
    return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


def weight_of(documents: Iterable[str], weights: Mapping[str, float]) -> float:
    """What some documents weigh together, summed in an order of its own."""
    return sum(weights[d] for d in sorted(documents))


def rank(rule: Rule, candidates: Sequence[Candidate], weights: Mapping[str, float]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), trusted documents, chunks, newest, earliest."""
    ranked = sorted(sorted(candidates, key=lambda c: c.key), key=lambda c: _order(rule, c), reverse=True)
    if not (rule.alike and rule.kind in ("vote", "latest")):
        return ranked
    best, rest = ranked[:ALIKE_COMPARED], ranked[ALIKE_COMPARED:]
    backed = {c.key: _backed(c, best, rule.alike, weights) for c in best}
    return [*sorted(best, key=lambda c: _order(rule, c, *backed[c.key]), reverse=True), *rest]


def _order(
    rule: Rule, one: Candidate, weight: float | None = None, chunks: int | None = None
) -> tuple[object, ...]:
    """What a candidate is ranked by, with its own weight and chunks or those of all that support it."""
    newest = one.newest if rule.kind == "latest" else ""
    fact = one.grounded and rule.verbatim  # that a reading has a quote says little of it
    support = one.weight if weight is None else weight, len(one.chunks) if chunks is None else chunks
    return fact, newest, *support, one.weight, one.grounded, one.newest, -one.start


def _backed(
    one: Candidate, others: Sequence[Candidate], alike: Alike, weights: Mapping[str, float]
) -> tuple[float, int]:
    """Weight and chunks of a value together with those that are alike."""
    backed = [one, *(c for c in others if c.grounded and alike(c.key, one.key))]
    documents = frozenset[str]().union(*(c.documents for c in backed))
    return weight_of(documents, weights), len(frozenset[str]().union(*(c.chunks for c in backed)))
