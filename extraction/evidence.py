"""Evidence: what chunks say of a company, as sets whose union is all that merging is.

Union is associative, commutative and idempotent, so order, brackets, retries and repeats change nothing.
Of each value the documents and chunks that give it are kept, and the places in a few documents: the memory
of a company with 10,000 chunks is bounded by the distinct values that it has.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

Standing = Literal["stated", "stands", "nowhere"]  # in words that name it, elsewhere in a document, in none
SAMPLE = 16  # documents of each value whose observation is kept whole
CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


def canonical(value: Any) -> str:
    """A value as JSON, the same for equal values."""
    return CANONICAL.encode(value)


class Observation(NamedTuple):
    """A value from a chunk. `value` is canonical JSON; without a place, start and end are -1 and quote is empty.

    `stated` is one that was taken from the text itself, beside words that name it; others are a model's.
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
    stated: bool = False

    @property
    def grounded(self) -> bool:
        """Whether the value stands in the document."""
        return self.start >= 0

    @property
    def standing(self) -> Standing:
        """How the value stands in the document."""
        return "stated" if self.stated else "stands" if self.grounded else "nowhere"


def _place(observation: Observation) -> tuple[object, ...]:
    """The total order in which observations of one value are kept: what a document is about, it says early."""
    return observation.start, observation.document_id, observation.chunk_id, observation


class Tally:
    """All observations of one value that stand alike.

    `sample` holds for each document its first observation, and of those the first SAMPLE: the least
    elements under a total order, which is a union too.
    """

    __slots__ = ("chunks", "documents", "sample")

    def __init__(self) -> None:
        self.documents: set[str] = set()
        self.chunks: set[str] = set()
        self.sample: dict[str, Observation] = {}

    def add(self, observation: Observation) -> None:
        """Take one observation in."""
        self.documents.add(observation.document_id)
        self.chunks.add(observation.chunk_id)
        self._keep(observation)

    def update(self, other: "Tally") -> None:
        """Take another tally of the same value in."""
        self.documents |= other.documents
        self.chunks |= other.chunks
        for observation in other.sample.values():
            self._keep(observation)

    def _keep(self, observation: Observation) -> None:
        first = self.sample.get(observation.document_id)
        if first is not None and _place(first) <= _place(observation):
            return
        self.sample[observation.document_id] = observation
        if len(self.sample) > SAMPLE:
            last = max(self.sample.values(), key=_place)
            del self.sample[last.document_id]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self._told() == other._told()

    def _told(self) -> tuple[object, ...]:
        return self.documents, self.chunks, self.sample


Value = tuple[str, Standing]  # its key, and how it stands


class Evidence:
    """The evidence on one company: `tallies` by field and value, and the date and type of each document."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        self.tallies: dict[str, dict[Value, Tally]] = {}
        self.documents: dict[str, tuple[str, str]] = {}
        for observation in observations:
            self.add(observation)

    def add(self, observation: Observation) -> None:
        """Take one observation in."""
        values = self.tallies.setdefault(observation.field, {})
        value = observation.key, observation.standing
        if value not in values:
            values[value] = Tally()
        values[value].add(observation)
        self._describe(observation.document_id, (observation.document_date, observation.document_type))

    def update(self, other: "Evidence") -> None:
        """Take other evidence on the same company in."""
        for field, theirs in other.tallies.items():
            values = self.tallies.setdefault(field, {})
            for value, tally in theirs.items():
                if value not in values:
                    values[value] = Tally()
                values[value].update(tally)
        for document_id, told in other.documents.items():
            self._describe(document_id, told)

    def _describe(self, document_id: str, told: tuple[str, str]) -> None:
        self.documents[document_id] = max(told, self.documents.get(document_id, told))

    def of(self, field: str) -> Mapping[Value, Tally]:
        """The values that a field was given."""
        return self.tallies.get(field, {})

    def __iter__(self) -> Iterator[tuple[str, Value, Tally]]:
        for field, values in self.tallies.items():
            for value, tally in values.items():
                yield field, value, tally

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and (self.tallies, self.documents) == (other.tallies, other.documents)


def merge(*evidence: Evidence) -> Evidence:
    """The union of evidence; what it is made of stays as it was."""
    union = Evidence()
    for one in evidence:
        union.update(one)
    return union
