"""Resolving: what the evidence on a company comes to. A pure function of it, run once, at the end."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from rapidfuzz import fuzz

from extraction.candidates import Candidate, candidates, rank
from extraction.clustering import clusters, joined
from extraction.evidence import Evidence, canonical
from extraction.fields import Field, facts

VALUES_KEPT = 20  # published for each field, chosen or not
ALTERNATIVES_KEPT = 5  # published for each conflict
CONFLICT_SHARE = 0.2  # of the weight of all facts; less is a slip, not another opinion
COMPARED = 1_000  # best supported items of a list that are compared with each other
TEXTS_COMPARED = 200  # free texts likewise, which are longer
DATE = re.compile(r"\d{4}(?!\d)(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")  # sorts as text does
NO_END = "9999"
Trust = Mapping[str, float]


@dataclass(frozen=True)
class Resolved:
    """A profile's values, nested as its model, evidence rows for all that was observed, and the conflicts."""

    values: dict[str, Any]
    evidence: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]


def resolve(
    model: type[BaseModel], evidence: Evidence, trust: Trust | None = None, until: str = NO_END
) -> Resolved:
    """Decide each field. A verbatim field publishes only what stands in a document; the rest stays evidence.

    `trust` weighs a document's vote by its type; types that it does not name weigh 1. Dates after `until` (ISO)
    are mistakes, and tell no order.
    """
    dates = {d: _date(date, until) for d, (date, _) in evidence.documents.items()}
    weights = {d: (trust or {}).get(kind, 1.0) for d, (_, kind) in evidence.documents.items()}
    resolved = Resolved({}, [], [])
    for field in facts(model):
        ranked = rank(field.rule, candidates(field, evidence, weights, dates), weights)
        published = [c for c in ranked if c.grounded or not field.rule.verbatim]
        rest = [c for c in ranked if not c.grounded and field.rule.verbatim]
        if field.rule.kind == "union":
            published = joined(clusters(field.rule, published[:COMPARED]), weights)
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


def _date(given: str, until: str) -> str:
    """A date as far as it tells an order, else nothing."""
    date = DATE.match(given)
    return date[0] if date and date[0] <= until else ""


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
        "stated": candidate.stated,
        "support": len(candidate.documents),
        "places": candidate.places,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical(value)
