"""Candidates: the values of one field as they are weighed against each other."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from extraction.evidence import Evidence, Observation, Standing, Tally
from extraction.fields import Field
from extraction.rules import Alike, Rule

STANDINGS: tuple[Standing, ...] = get_args(Standing)  # the surest first
PLACES_KEPT = 3  # published for each value
ALIKE_COMPARED = 200  # best values of a vote that are compared with each other


@dataclass(frozen=True)
class Candidate:
    """One value of one field, as `resolve` weighs it: the observations that stand in a document, if it has any
    and the field asks for that, else all.

    `voting` are those of its documents that say nothing else beside a caption: a form's own word for its
    company's name outdoes whatever else the form names. `weight` and `newest` are theirs.
    """

    key: str
    value: Any
    grounded: bool
    stated: bool
    documents: frozenset[str]
    voting: frozenset[str]
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
    """All values of a field, in the order of their keys."""
    values = evidence.of(field.name)
    stated = [tally.documents for (_, standing), tally in values.items() if standing == "stated"]
    settled = frozenset[str]().union(*stated) if field.rule.kind in ("vote", "latest") else frozenset[str]()
    found = []
    for key in sorted({key for key, _ in values}):
        told = {standing: values[key, standing] for standing in STANDINGS if (key, standing) in values}
        if field.rule.verbatim and len(told) > 1:
            told.pop("nowhere", None)
        found.append(_candidate(key, told, settled, weights, dates))
    return found


def _candidate(
    key: str,
    told: dict[Standing, Tally],
    settled: frozenset[str],
    weights: Mapping[str, float],
    dates: Mapping[str, str],
) -> Candidate:
    documents = frozenset[str]().union(*(t.documents for t in told.values()))
    voting = documents - (settled - told["stated"].documents if "stated" in told else settled)
    places = {o.document_id: o for tally in reversed(told.values()) for o in tally.sample.values()}
    sample = tuple(sorted(places.values()))
    return Candidate(
        key=key,
        value=_spelled(sample),
        grounded=told.keys() != {"nowhere"},
        stated="stated" in told,
        documents=documents,
        voting=voting,
        chunks=frozenset[str]().union(*(t.chunks for t in told.values())),
        sample=sample,
        newest=max((dates[d] for d in voting), default=""),
        weight=weight_of(voting, weights),
    )


def _spelled(sample: Sequence[Observation]) -> Any:
    """A value the way it is written most often; then the longest, then the first in order."""
    spelled = Counter(o.value for o in sample)
    return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


def weight_of(documents: Iterable[str], weights: Mapping[str, float]) -> float:
    """What some documents weigh together, summed in an order of its own."""
    return sum(weights[d] for d in sorted(documents))


def rank(rule: Rule, candidates: Sequence[Candidate], weights: Mapping[str, float]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), trusted documents of it and of what is alike, its own,
    chunks, grounded (readings), newest, earliest."""
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
    weight = one.weight if weight is None else weight
    chunks = len(one.chunks) if chunks is None else chunks
    return fact, newest, weight, one.weight, chunks, one.grounded, one.newest, -one.start


def _backed(
    one: Candidate, others: Sequence[Candidate], alike: Alike, weights: Mapping[str, float]
) -> tuple[float, int]:
    """Weight and chunks of a value together with those that are alike."""
    backed = [one, *(c for c in others if c.grounded and alike(c.key, one.key))]
    voting = frozenset[str]().union(*(c.voting for c in backed))
    return weight_of(voting, weights), len(frozenset[str]().union(*(c.chunks for c in backed)))
