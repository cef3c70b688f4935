"""Resolving: what the evidence on a company comes to. A pure function of it, run once, at the end.

The values of a field are ranked by the documents that give them, spellings of one list item are joined, each gets a
confidence, and those that are sure enough are published.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from pydantic import BaseModel
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from extraction.grounding.text_folding import text_key
from extraction.merging.confidence import Calibration, of_company
from extraction.merging.evidence import Evidence, Observation, Support, canonical
from extraction.schema.merge_rules import Alike, Rule
from extraction.schema.profile_model import Field, facts

MERGING_VERSION = 2  # raise it when the same answers would be grounded or merged otherwise
PLACES_KEPT = 3  # published for each value
ALIKE_COMPARED = 200  # best values of a vote that are compared with each other


@dataclass(frozen=True)
class Candidate:
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
    found = []
    for key in sorted({key for key, _ in values}):
        supports = [values[key, grounded] for grounded in (True, False) if (key, grounded) in values]
        grounded = (key, True) in values
        if field.rule.verbatim and grounded:
            supports = supports[:1]
        found.append(_candidate(key, supports, trust, dates, grounded=grounded))
    return found


def _candidate(
    key: str,
    supports: Sequence[Support],
    trust: Mapping[str, float],
    dates: Mapping[str, str],
    *,
    grounded: bool,
) -> Candidate:
    documents = surest(*(support.documents for support in supports))
    places = {o.document_id: o for support in reversed(supports) for o in support.sample.values()}
    sample = tuple(sorted(places.values()))
    return Candidate(
        key=key,
        value=_spelled(sample),
        grounded=grounded,
        found=any(support.found for support in supports),
        documents=documents,
        chunks=frozenset[str]().union(*(support.chunks for support in supports)),
        sample=sample,
        newest=max((dates[d] for d in documents), default=""),
        weight=weight_of(documents, trust),
    )


def _spelled(sample: Sequence[Observation]) -> Any:
    """A value the way it is written most often; then the longest, then the first in order."""
    spelled = Counter(o.value for o in sample)
    return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


def surest(*documents: Mapping[str, float]) -> dict[str, float]:
    """Documents with the greatest of their probabilities, in the order of their ids."""
    found: dict[str, float] = {}
    for some in documents:
        for document_id, probability in some.items():
            found[document_id] = max(probability, found.get(document_id, 0.0))
    return dict(sorted(found.items()))


def weight_of(documents: Mapping[str, float], trust: Mapping[str, float]) -> float:
    """What some documents weigh together, in an order of its own: the right votes to expect of them."""
    return sum(trust[d] * p for d, p in sorted(documents.items()))


def rank(rule: Rule, candidates: Sequence[Candidate], trust: Mapping[str, float]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), weight of it and of what is alike, its own, chunks,
    grounded (readings), newest, earliest."""
    ranked = sorted(sorted(candidates, key=lambda c: c.key), key=lambda c: _order(rule, c, c.weight), reverse=True)
    if not (rule.alike and rule.kind in ("vote", "latest")):
        return ranked
    best, rest = ranked[:ALIKE_COMPARED], ranked[ALIKE_COMPARED:]
    backed = {c.key: weight_of(backing(c, best, rule.alike), trust) for c in best}
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
    found = []
    for place, one in enumerate(ranked):
        documents = backing(one, compared, rule.alike) if place < len(compared) else one.documents
        rivals = rule.kind != "union" and total > 0
        weight = one.weight if documents is one.documents else weight_of(documents, trust)
        share = min(1.0, weight / total) if rivals else 1.0
        found.append(of_company(max(one.documents.values(), default=0.0), share, len(documents)))
    return found


def judged(
    rule: Rule, ranked: Sequence[Candidate], trust: Mapping[str, float], calibration: Calibration | None
) -> list[Candidate]:
    """Candidates of a verbatim field with their confidence, in the same order."""
    if not rule.verbatim:
        return list(ranked)
    numbers = agreement(rule, ranked, trust)
    return [
        replace(one, confidence=_confidence(one, its, calibration))
        for one, its in zip(ranked, numbers, strict=True)
    ]


def _confidence(one: Candidate, numbers: Mapping[str, float], calibration: Calibration | None) -> float:
    if not one.grounded:
        return 0.0
    if calibration is None:
        return round(max(one.documents.values()) * numbers["share"], 4)
    return round(calibration.company.of(numbers), 4)


MISSPELT = 5  # letters: a word with fewer is another word with one letter changed


def clusters(rule: Rule, ranked: Sequence[Candidate]) -> list[list[Candidate]]:
    """Items that are one, best first: each joins the first cluster that it is like every member of, so
    that a chain of small differences never ties two different ones together."""
    alike = rule.alike or (_misspelt if rule.fuzzy else None)
    found: list[list[Candidate]] = []
    for one in ranked:
        same = (c for c in found if alike and all(alike(one.key, member.key) for member in c))
        cluster = next(same, None)
        if cluster is None:
            found.append([one])
        else:
            cluster.append(one)
    return found


def _misspelt(one: str, other: str) -> bool:
    """Whether two keys are spellings of one item: the same words, long ones a letter off. A digit more is
    another model, a short word another word."""
    if abs(len(one) - len(other)) > MISSPELT:
        return False
    pairs = zip_longest(sorted(one.split()), sorted(other.split()), fillvalue="")
    return all(a == b or _letter_off(a, b) for a, b in pairs)


def _letter_off(one: str, other: str) -> bool:
    long = min(len(one), len(other)) >= MISSPELT and one.isalpha() and other.isalpha()
    return long and Levenshtein.distance(one, other, score_cutoff=1) <= 1


def joined(found: Sequence[Sequence[Candidate]], trust: Mapping[str, float]) -> list[Candidate]:
    """Each cluster as one value, written as its best member; best supported first."""
    items = []
    for cluster in found:
        documents = surest(*(c.documents for c in cluster))
        one = replace(
            cluster[0],
            value=_filled(cluster),
            found=any(c.found for c in cluster),
            documents=documents,
            chunks=frozenset[str]().union(*(c.chunks for c in cluster)),
            sample=tuple(sorted(o for c in cluster for o in c.sample)),
            newest=max(c.newest for c in cluster),
            weight=weight_of(documents, trust),
        )
        items.append(one)
    rank = {c.key: n for n, c in enumerate(items)}
    return sorted(items, key=lambda c: (-c.grounded, -c.weight, -len(c.chunks), rank[c.key]))


def _filled(cluster: Sequence[Candidate]) -> Any:
    """A cluster's best value; what it leaves open is taken from those that say nothing else otherwise."""
    value = cluster[0].value
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for other in (json.loads(o.value) for c in cluster for o in c.sample):
        if all(mine is None or other[name] is None or _same(mine, other[name]) for name, mine in filled.items()):
            filled = {name: other[name] if mine is None else mine for name, mine in filled.items()}
    return filled


def _same(one: Any, other: Any) -> bool:
    return text_key(one) == text_key(other)


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
    if not chosen or field.rule.kind not in ("vote", "latest"):
        return []
    best, alike = chosen[0], field.rule.alike
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
