"""Evidence: what chunks say of a company, as sets whose union is all that merging is.

Union is associative, commutative and idempotent, so order, brackets, retries and repeats change nothing.
Of each value the documents and chunks that give it are kept, and the places in a few documents: the memory
of a company with 10,000 chunks is bounded by the distinct values that it has.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

PLACES_SAMPLED = 16  # documents of each value whose observation is kept whole
CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def canonical(value: Any) -> str:
    """A value as JSON, the same for equal values."""
    return str(value) if type(value) is int else CANONICAL.encode(value)  # which takes longer for a number


class Observation(NamedTuple):
    """A value from a chunk. `value` is canonical JSON; without a place, start and end are -1 and quote is empty.

    `probability` is that it is right, as far as the chunk tells; `found` is one that a finder read from the text by
    a standard, others are a model's.
    """

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
    probability: float = 0.5
    found: bool = False

    @property
    def grounded(self) -> bool:
        """Whether the value stands in the document."""
        return self.start >= 0


def _order(observation: Observation) -> tuple[object, ...]:
    """The total order in which observations of one value are kept: the surest, then those that stand early."""
    return -observation.probability, observation.start, observation.document_id, observation.chunk_id, observation


@dataclasses.dataclass(slots=True)
class Support:
    """All observations of one value that stand in a document, or all that stand in none.

    `documents` has for each document the probability of its surest observation, `sample` that observation, of the
    first PLACES_SAMPLED documents: greatest and least elements under total orders, which are unions too.
    """

    documents: dict[str, float] = dataclasses.field(default_factory=dict)
    chunks: set[str] = dataclasses.field(default_factory=set)
    sample: dict[str, Observation] = dataclasses.field(default_factory=dict)
    found: bool = False
    last: tuple[object, ...] | None = None  # in the order of a sample that is full

    def add(self, observation: Observation) -> None:
        """Take one observation in."""
        self._raise(observation.document_id, observation.probability)
        self.chunks.add(observation.chunk_id)
        self.found |= observation.found
        self._keep(observation)

    def update(self, other: "Support") -> None:
        """Take the support of the same value by other chunks in."""
        for document_id, probability in other.documents.items():
            self._raise(document_id, probability)
        self.chunks |= other.chunks
        self.found |= other.found
        for observation in other.sample.values():
            self._keep(observation)

    def drop(self, documents: Set[str]) -> None:
        """Leave out some documents. Where none of the others is in the sample, what is left of it is a spelling of
        the value, without a place."""
        gone = documents & self.documents.keys()
        for document_id in gone:
            del self.documents[document_id]
        dropped = [self.sample.pop(document_id) for document_id in gone & self.sample.keys()]
        self.last = self.last if len(self.sample) == PLACES_SAMPLED else None
        if dropped and self.documents and not self.sample:
            spelling = min(dropped, key=_order)._replace(document_id="", start=-1, end=-1, quote="")
            self.sample[""] = spelling

    def _raise(self, document_id: str, probability: float) -> None:
        if probability >= self.documents.get(document_id, 0.0):
            self.documents[document_id] = probability

    def _keep(self, observation: Observation) -> None:
        first = self.sample.get(observation.document_id)
        bound = self.last if first is None else _order(first)
        if bound is not None and bound <= _order(observation):
            return
        self.sample[observation.document_id] = observation
        if len(self.sample) > PLACES_SAMPLED:
            del self.sample[max(self.sample.values(), key=_order).document_id]
        if len(self.sample) == PLACES_SAMPLED:
            self.last = max(map(_order, self.sample.values()))


ValueKey = tuple[str, bool]  # its key, and whether it stands in a document


@dataclasses.dataclass(init=False)
class Evidence:
    """The evidence on one company: `supports` by field and value, and the date and type of each document."""

    supports: dict[str, dict[ValueKey, Support]]
    documents: dict[str, tuple[str, str]]

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self.supports, self.documents = {}, {}
        for observation in observations:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """Take one observation in."""
        values = self.supports.setdefault(observation.field, {})
        value = observation.key, observation.grounded
        if value not in values:
            values[value] = Support()
        values[value].add(observation)
        self._describe(observation.document_id, (observation.document_date, observation.document_type))

    def update(self, other: "Evidence") -> None:
        """Take other evidence on the same company in."""
        for field, theirs in other.supports.items():
            values = self.supports.setdefault(field, {})
            for value, support in theirs.items():
                if value not in values:
                    values[value] = Support()
                values[value].update(support)
        for document_id, described in other.documents.items():
            self._describe(document_id, described)

    def _describe(self, document_id: str, described: tuple[str, str]) -> None:
        if described >= self.documents.get(document_id, described):
            self.documents[document_id] = described

    def drop(self, documents: Set[str]) -> None:
        """Leave out what some documents say."""
        for document_id in documents & self.documents.keys():
            del self.documents[document_id]
        for values in self.supports.values():
            for value, support in list(values.items()):
                support.drop(documents)
                if not support.documents:
                    del values[value]

    def of(self, field: str) -> Mapping[ValueKey, Support]:
        """The values that a field was given."""
        return self.supports.get(field, {})
