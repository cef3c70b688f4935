"""Resolving: what the evidence on a company comes to. A pure function of it, run once, at the end."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from rapidfuzz import fuzz

from extraction.evidence import Evidence, Observation, Tally
from extraction.rules import SIMILAR, Field, Rule, facts

PLACES_KEPT = 3  # published for each value
VALUES_KEPT = 20  # published for each field, chosen or not
ALTERNATIVES_KEPT = 5  # published for each conflict
CONFLICT_SHARE = 0.2  # of the weight of all facts; less is a slip, not another opinion
COMPARED = 1_000  # best supported items of a list that are compared with each other
TEXTS_COMPARED = 200  # free texts likewise, which are longer
DATE = re.compile(r"\d{4}(?!\d)(-\d\d){0,2}")  # dates that sort as text do; others tell no order
NUMBER = re.compile(r"\d+")
Trust = Mapping[str, float]


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


@dataclass(frozen=True)
class Resolved:
    """A profile's values, nested as its model, evidence rows for all that was observed, and the conflicts."""

    values: dict[str, Any]
    evidence: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]


def resolve(model: type[BaseModel], evidence: Evidence, trust: Trust | None = None) -> Resolved:
    """Decide each field. A verbatim field publishes only what stands in a document; the rest stays evidence.

    `trust` weighs a document's vote by its type; types that it does not name weigh 1.
    """
    weights = {d: (trust or {}).get(kind, 1.0) for d, (_, kind) in evidence.documents.items()}
    resolved = Resolved({}, [], [])
    for field in facts(model):
        ranked = _rank(field.rule, _candidates(field, evidence, weights), weights)
        published = [c for c in ranked if c.grounded or not field.rule.verbatim]
        rest = [c for c in ranked if not c.grounded and field.rule.verbatim]
        if field.rule.kind == "union":
            published = [_joined(cluster) for cluster in _clusters(published[:COMPARED])]
            chosen = published[: field.rule.limit]
            _put(resolved.values, field.path, [c.value for c in chosen])
        else:
            if field.rule.kind == "medoid":
                published = _by_likeness(published[:TEXTS_COMPARED])
            chosen = published[:1]
            _put(resolved.values, field.path, chosen[0].value if chosen else None)
            resolved.conflicts.extend(_conflict(field, published))
        shown = [*published, *rest][: max(VALUES_KEPT, len(chosen))]
        resolved.evidence.extend(_row(field, c, n < len(chosen)) for n, c in enumerate(shown))
    return resolved


def _candidates(field: Field, evidence: Evidence, weights: Mapping[str, float]) -> list[Candidate]:
    values = evidence.of(field.name)
    found = []
    for key in sorted({key for key, _ in values}):
        standing, loose = values.get((key, True)), values.get((key, False))
        telling = [t for t in (standing, None if standing and field.rule.verbatim else loose) if t]
        found.append(_candidate(key, standing is not None, telling, evidence.documents, weights))
    return found


def _candidate(
    key: str,
    grounded: bool,
    telling: Sequence[Tally],
    described: Mapping[str, tuple[str, str]],
    weights: Mapping[str, float],
) -> Candidate:
    documents = frozenset[str]().union(*(t.documents for t in telling))
    dates = [DATE.match(described[d][0]) for d in documents]
    sample = tuple(sorted(o for t in telling for o in t.sample.values()))
    return Candidate(
        key=key,
        value=_spelled(sample),
        grounded=grounded,
        documents=documents,
        chunks=frozenset[str]().union(*(t.chunks for t in telling)),
        sample=sample,
        newest=max(date[0] if date else "" for date in dates),
        weight=sum(weights[d] for d in sorted(documents)),
    )


def _spelled(sample: Sequence[Observation]) -> Any:
    """A value the way it is written most often; then the longest, then the first in order."""
    spelled = Counter(o.value for o in sample)
    return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


def _rank(rule: Rule, candidates: list[Candidate], weights: Mapping[str, float]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), trusted documents, chunks, newest, earliest."""

    def order(one: Candidate) -> tuple[object, ...]:
        weight, chunks = one.weight, len(one.chunks)
        if alike := rule.alike:
            backed = [one, *(c for c in candidates if c.grounded and alike(c.key, one.key))]
            documents = frozenset[str]().union(*(c.documents for c in backed))
            weight = sum(weights[d] for d in sorted(documents))
            chunks = len(frozenset[str]().union(*(c.chunks for c in backed)))
        newest = one.newest if rule.kind == "latest" else ""
        fact = one.grounded and rule.verbatim  # that a reading has a quote says little of it
        return fact, newest, weight, chunks, one.weight, one.grounded, one.newest, -one.start

    by_key = sorted(candidates, key=lambda c: c.key)
    return sorted(by_key, key=order, reverse=True)


def _clusters(ranked: Sequence[Candidate]) -> list[list[Candidate]]:
    """Items that are one, best first: each joins the first cluster that it is like every member of, so
    that a chain of small differences never ties two different ones together."""
    clusters: list[list[Candidate]] = []
    for one in ranked:
        for cluster in clusters:
            if all(_similar(one.key, member.key) for member in cluster):
                cluster.append(one)
                break
        else:
            clusters.append([one])
    return clusters


def _similar(one: str, other: str) -> bool:
    """Whether two keys are spellings of one item. Model numbers that differ by a digit are two."""
    if abs(len(one) - len(other)) * 100 > (100 - SIMILAR) * (len(one) + len(other)):
        return False
    alike = fuzz.token_sort_ratio(one, other, score_cutoff=SIMILAR) > 0
    return alike and sorted(NUMBER.findall(one)) == sorted(NUMBER.findall(other))


def _joined(cluster: Sequence[Candidate]) -> Candidate:
    """A cluster as one value, written as its best member; what that leaves open, the others fill in."""
    best = cluster[0]
    sample = tuple(sorted(o for c in cluster for o in c.sample))
    value = best.value
    if isinstance(value, dict):
        others = [json.loads(o.value) for o in sample]
        value = {
            name: next((v for v in (given, *(o.get(name) for o in others)) if v is not None), None)
            for name, given in value.items()
        }
    documents = frozenset[str]().union(*(c.documents for c in cluster))
    return replace(best, value=value, documents=documents, sample=sample)


def _by_likeness(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Texts, first the one that is most like all the others, each weighed by its documents."""

    def likeness(one: Candidate) -> float:
        return sum(c.weight * fuzz.token_set_ratio(one.key, c.key) for c in candidates if c is not one)

    return sorted(candidates, key=lambda c: (likeness(c), c.weight, c.key), reverse=True)


def _conflict(field: Field, published: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The row for a field of which documents say different things that can't all be right, if they do."""
    if not published or field.rule.kind not in ("vote", "latest"):
        return []
    chosen, alike = published[0], field.rule.alike
    rivals = [c for c in published[1:] if not (alike and alike(c.key, chosen.key))]
    if field.rule.kind == "latest":  # what older documents say is history
        rivals = [c for c in rivals if c.newest == chosen.newest]
    least = CONFLICT_SHARE * sum(c.weight for c in published)
    alternatives = [
        {
            "value": _text(c.value),
            "support": len(c.documents),
            "newest": c.newest or None,
            "place": next(iter(c.places), None),
        }
        for c in rivals
        if c.weight >= least
    ][:ALTERNATIVES_KEPT]
    row = {"field": field.name, "chosen": _text(chosen.value), "support": len(chosen.documents)}
    return [{**row, "rule": field.rule.kind, "alternatives": alternatives}] if alternatives else []


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _row(field: Field, candidate: Candidate, chosen: bool) -> dict[str, Any]:
    """A row of the published evidence."""
    return {
        "field": field.name,
        "value": _text(candidate.value),
        "chosen": chosen,
        "grounded": candidate.grounded,
        "support": len(candidate.documents),
        "places": candidate.places,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
