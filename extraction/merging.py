"""Merging: evidence sets are united, and what they say is decided once, at the end.

An observation is one value that one chunk gives for one field, with the place where it stands. Union of
sets is associative, commutative and idempotent, so order, retries and repeats change nothing; `resolve`
is a pure function of the set.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from pydantic import BaseModel

from extraction.chunking import Piece
from extraction.grounding import Text
from extraction.rules import Field, Rule, fields

SPANS_KEPT = 3  # places published for each value
VALUES_KEPT = 20  # values published for each field, chosen or not
DATE = re.compile(r"\d{4}(?!\d)(-\d\d){0,2}")  # dates that sort as text do; others tell no order


class Observation(NamedTuple):
    """A value from a chunk. `value` is canonical JSON; without a place, start and end are -1 and quote is empty."""

    field: str
    key: str
    value: str
    document_id: str
    chunk_id: str
    start: int
    end: int
    quote: str
    document_date: str
    document_type: str

    @property
    def grounded(self) -> bool:
        """Whether the value stands in the document."""
        return self.start >= 0


@dataclass(frozen=True)
class Candidate:
    """All observations of one value of one field, as `resolve` weighs them."""

    key: str
    observations: tuple[Observation, ...]
    verbatim: bool

    @cached_property
    def telling(self) -> tuple[Observation, ...]:
        """The observations that count: where quotes are asked for, those that stand in a document, if any does."""
        return tuple(o for o in self.observations if o.grounded and self.verbatim) or self.observations

    @property
    def grounded(self) -> bool:
        """Whether it stands in any document."""
        return any(o.grounded for o in self.observations)

    @cached_property
    def documents(self) -> frozenset[str]:
        """The documents that give it."""
        return frozenset(o.document_id for o in self.telling)

    @property
    def newest(self) -> str:
        """Date of the newest document that gives it (2024, 2024-05 or 2024-05-31), empty without dates."""
        dates = [DATE.match(o.document_date) for o in self.telling]
        return max(date[0] if date else "" for date in dates)

    @property
    def chunks(self) -> int:
        """Number of chunks that give it."""
        return len({o.chunk_id for o in self.telling})

    @property
    def start(self) -> int:
        """How far into a document it first stands: what a document is about, it says early."""
        return min(o.start for o in self.telling)

    @property
    def value(self) -> Any:
        """The way it is written most often; then the longest, then the first in order."""
        spelled = Counter(o.value for o in self.telling)
        return json.loads(min(spelled, key=lambda v: (-spelled[v], -len(v), v)))


@dataclass(frozen=True)
class Resolved:
    """A profile's values, nested as its model, and the evidence rows for everything that was observed."""

    values: dict[str, Any]
    evidence: list[dict[str, Any]]


def observe(profile: BaseModel, chunk_id: str, content: str, pieces: Iterable[Piece]) -> Iterator[Observation]:
    """The observations in one answer, each looked up in the pieces that the chunk was made of."""
    texts = [(piece, Text(content[piece.at : piece.at + piece.end - piece.start])) for piece in pieces]
    data = profile.model_dump(mode="json")
    for field in fields(type(profile)):
        for value in _values(data, field):
            quoted = field.rule.quote_of(value)
            if quoted is None or not field.rule.key_of(value):
                continue
            rule, found = field.rule, []
            if rule.valid is None or rule.valid(quoted):
                found = [(p, text.text, span) for p, text in texts if (span := text.find(quoted, rule.cues))]
            for piece, text, (start, end) in found:
                yield _observation(
                    field, value, chunk_id, piece, piece.start + start, piece.start + end, text[start:end]
                )
            if not found:
                yield _observation(field, value, chunk_id, texts[0][0], -1, -1, "")


def merge(*sets: Iterable[Observation]) -> frozenset[Observation]:
    """The union of evidence sets."""
    return frozenset().union(*sets)


def resolve(model: type[BaseModel], observations: Iterable[Observation]) -> Resolved:
    """Decide each field. A verbatim field publishes only what stands in a document; the rest stays evidence."""
    by_field: dict[str, dict[str, list[Observation]]] = defaultdict(lambda: defaultdict(list))
    for observation in sorted(set(observations)):
        by_field[observation.field][observation.key].append(observation)
    values: dict[str, Any] = {}
    evidence: list[dict[str, Any]] = []
    for field in fields(model):
        groups = by_field.get(field.name, {})
        candidates = [Candidate(key, tuple(group), field.rule.verbatim) for key, group in groups.items()]
        ranked = _rank(field.rule, candidates)
        facts = [c for c in ranked if c.grounded or not field.rule.verbatim]
        if field.rule.kind == "union":
            chosen = facts[: field.rule.limit]
            _put(values, field.path, [c.value for c in chosen])
        else:
            chosen = facts[:1]
            _put(values, field.path, chosen[0].value if chosen else None)
        evidence += [_row(field, c, c in chosen) for c in ranked[: max(VALUES_KEPT, len(chosen))]]
    return Resolved(values, evidence)


def _rank(rule: Rule, candidates: list[Candidate]) -> list[Candidate]:
    """Best first: grounded, newest (where that is the rule), most documents, most chunks, newest, earliest."""

    def weight(one: Candidate) -> tuple[object, ...]:
        backed = {c.key: c for c in candidates if rule.alike and c.grounded and rule.alike(c.key, one.key)}
        supporters = {**backed, one.key: one}.values()
        documents = frozenset[str]().union(*(c.documents for c in supporters))
        newest = one.newest if rule.kind == "latest" else ""
        chunks = sum(c.chunks for c in supporters)
        fact = one.grounded and rule.verbatim  # that a sector's name stands in a document says little
        return fact, newest, len(documents), chunks, len(one.documents), one.grounded, one.newest, -one.start

    by_key = sorted(candidates, key=lambda c: c.key)
    return sorted(by_key, key=weight, reverse=True)


def _values(data: Mapping[str, Any], field: Field) -> list[Any]:
    """What an answer gives for a field: a list's items, or the one value unless it is null."""
    value: Any = data
    for part in field.path:
        value = value[part] if value is not None else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _observation(
    field: Field, value: Any, chunk_id: str, piece: Piece, start: int, end: int, quote: str
) -> Observation:
    return Observation(
        field=field.name,
        key=field.rule.key_of(value),
        value=json.dumps(value, ensure_ascii=False, sort_keys=True),
        document_id=piece.document_id,
        chunk_id=chunk_id,
        start=start,
        end=end,
        quote=quote,
        document_date=piece.document_date or "",
        document_type=piece.document_type or "",
    )


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _row(field: Field, candidate: Candidate, chosen: bool) -> dict[str, Any]:
    """A row of the published evidence."""
    value = candidate.value
    places = [o for o in candidate.observations if o.grounded][:SPANS_KEPT]
    return {
        "field": field.name,
        "value": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True),
        "chosen": chosen,
        "grounded": candidate.grounded,
        "support": len(candidate.documents),
        "places": [
            {"document_id": o.document_id, "start": o.start, "end": o.end, "quote": o.quote} for o in places
        ],
    }
