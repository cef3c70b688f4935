"""Decides what is published of a company. `resolve` is a pure function of the evidence, run once, at the end.

The values of a field are ranked by the documents that give them, spellings of one list item are joined, each gets a
confidence, and those that are sure enough are published.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rapidfuzz import fuzz

from extraction.merging.candidate_ranking import Candidate, candidates, judged, rank
from extraction.merging.confidence import Calibration
from extraction.merging.evidence import Evidence, canonical
from extraction.merging.spelling_clusters import clusters, joined
from extraction.schema.profile_model import Field, facts

MERGING_VERSION = 4  # raise it when the same answers would be grounded or merged otherwise


VALUES_KEPT = 20  # published for each field, chosen or not
ALTERNATIVES_KEPT = 5  # published for each conflict
CONFLICT_SHARE = 0.2  # of the weight of all facts; less is a slip, not another opinion
COMPARED = 1_000  # best supported items of a list that are compared with each other
TEXTS_COMPARED = 200  # free texts likewise, which are longer
ISO_DATE = re.compile(r"\d{4}(?!\d)(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")  # sorts as text does
NO_END = "9999"
Trust = Mapping[str, float]


@dataclass(frozen=True)
class Judge:
    """What decides: how signals become confidence, and how much of it a published value needs, by field."""

    calibration: Calibration | None = None
    minimum: Callable[[str], float] = lambda field: 0.0


@dataclass(frozen=True)
class Resolved:
    """A profile's values, nested as its model, the confidence of each likewise, evidence rows for all that was
    observed, and the conflicts. `identified` says whether a value tells which company it is."""

    values: dict[str, Any]
    confidence: dict[str, Any]
    evidence: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    identified: bool


def resolve(
    model: type[BaseModel],
    evidence: Evidence,
    trust: Trust | None = None,
    until: str = NO_END,
    judge: Judge | None = None,
) -> Resolved:
    """Decide each field. A verbatim field publishes what stands in a document and is sure enough; the rest stays
    evidence.

    `trust` weighs a document's vote by its type; types that it does not name weigh 1. Dates after `until` (ISO)
    are mistakes, and tell no order.
    """
    dates = {d: _date(date, until) for d, (date, _) in evidence.documents.items()}
    weights = {d: (trust or {}).get(kind, 1.0) for d, (_, kind) in evidence.documents.items()}
    values: dict[str, Any] = {}
    confidence: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    conflicts: list[dict[str, Any]] = []
    judge = judge or Judge()
    identified = not any(field.rule.identifies for field in facts(model))
    for field in facts(model):
        ranked = rank(field.rule, candidates(field, evidence, weights, dates), weights)
        if field.rule.kind == "union":
            standing = [c for c in ranked if c.grounded or not field.rule.verbatim]
            loose = [c for c in ranked if not c.grounded and field.rule.verbatim]
            ranked = [*joined(clusters(field.rule, standing[:COMPARED]), weights), *loose]
        ranked = judged(field.rule, ranked, weights, judge.calibration)
        least = judge.minimum(field.name)
        published = [c for c in ranked if _is_published(field, c, least)]
        rest = [c for c in ranked if not _is_published(field, c, least)]
        if field.rule.kind == "union":
            chosen = published[: field.rule.limit]
            _put(values, field.path, [c.value for c in chosen])
        else:
            if field.rule.kind == "medoid":
                published = _by_likeness(published[:TEXTS_COMPARED])
            chosen = published[:1]
            _put(values, field.path, chosen[0].value if chosen else None)
            facts_or_readings = [c for c in ranked if c.grounded or not field.rule.verbatim]
            conflicts.extend(_conflict(field, chosen, facts_or_readings))
        _put(confidence, field.path, min((c.confidence for c in chosen if c.confidence is not None), default=None))
        identified |= field.rule.identifies and bool(chosen)
        shown = [*published, *rest][: max(VALUES_KEPT, len(chosen))]
        rows.extend(_row(field, c, n < len(chosen)) for n, c in enumerate(shown))
    return Resolved(values, confidence, rows, conflicts, identified)


def _is_published(field: Field, candidate: Candidate, least: float) -> bool:
    """Whether a value may stand in its column: a reading always, a fact where it stands in a document, sure
    enough."""
    if not field.rule.verbatim:
        return True
    return candidate.grounded and (candidate.confidence or 0.0) >= least


def _date(given: str, until: str) -> str:
    """A date as far as it tells an order, else nothing."""
    date = ISO_DATE.match(given)
    return date[0] if date and date[0] <= until else ""


def _by_likeness(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Texts, first the one that is most like all the others, each weighed by its documents."""

    def likeness(one: Candidate) -> float:
        return sum(c.weight * fuzz.token_set_ratio(one.key, c.key) for c in candidates if c is not one)

    return sorted(candidates, key=lambda c: (likeness(c), c.weight, c.key), reverse=True)


def _conflict(field: Field, chosen: Sequence[Candidate], ranked: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The row for a field of which documents say different things that can't all be right, if they do."""
    if not chosen or len(ranked) < 2 or field.rule.kind not in ("vote", "latest"):
        return []
    best, alike = chosen[0], field.rule.likeness
    rivals = [c for c in ranked if c.key != best.key and not (alike and alike(c.key, best.key))]
    if field.rule.kind == "latest":  # what older documents say is history
        rivals = [c for c in rivals if c.newest == best.newest]
    least = CONFLICT_SHARE * sum(c.weight for c in ranked)
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
    row = {"field": field.name, "chosen": _text(best.value), "support": len(best.documents)}
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
        "found": candidate.found,
        "confidence": candidate.confidence,
        "support": len(candidate.documents),
        "places": candidate.places,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)
