"""How well each field is covered, and how far documents agree on it: counted over all published profiles."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from extraction.errors import OperatorError
from extraction.schema.profile_model import Field, facts
from jobs.reports.request_stats import counted
from jobs.state.published_run import PublishedRun

COVERAGE_THREADS = 4
COVERAGE_ROWS_READ = 5_000  # profiles read at a time
LEAVES = [
    *(f"evidence.list.element.{name}" for name in ("field", "chosen", "grounded", "support", "confidence")),
    "conflicts.list.element.field",
    "chunks_missing.list.element.fault",
]


@dataclass(frozen=True)
class FieldFacts:
    """One field over all companies. `companies` have a value, in `conflicts` of them documents disagree; `values`
    of theirs are published, `support` is the sum of the documents that give them and `confidence` that of how sure
    they are; `unsure` more stand in a document, `loose` more in none. `rule` and `reading` (the model's own words)
    are None where there is no model."""

    name: str
    rule: str | None
    reading: bool | None
    companies: int
    conflicts: int
    values: int
    support: int
    confidence: float
    unsure: int
    loose: int

    @property
    def mean_confidence(self) -> float | None:
        """How sure a published value is, on average; None of a reading."""
        return self.confidence / self.values if self.values and not self.reading else None


@dataclass
class Coverage:
    """All fields, and how many companies have conflicts and missing chunks (by fault)."""

    fields: list[FieldFacts]
    companies: int
    with_conflicts: int
    with_missing: int
    missing: Counter[str]


SUMMED = ("companies", "values", "support", "confidence", "unsure", "loose", "conflicts", "missing")


@dataclass
class _Sums:
    """Counts by field, and of companies."""

    companies: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    support: Counter[str] = field(default_factory=Counter)
    confidence: Counter[str] = field(default_factory=Counter)
    unsure: Counter[str] = field(default_factory=Counter)
    loose: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    with_conflicts: int = 0
    with_missing: int = 0

    def add(self, other: "_Sums") -> None:
        """Take those of other companies in."""
        for name in SUMMED:
            getattr(self, name).update(getattr(other, name))
        self.rows += other.rows
        self.with_conflicts += other.with_conflicts
        self.with_missing += other.with_missing


def fields_of(published: PublishedRun) -> dict[str, Field]:
    """The profile model's fields by name; none where it can't be imported here."""
    try:
        return {field.name: field for field in facts(published.model())}
    except OperatorError:
        return {}


def coverage(published: PublishedRun) -> Coverage:
    """Count the evidence and conflicts of all profiles, a few leaves of their columns at a time."""
    total = _Sums()
    with ThreadPoolExecutor(COVERAGE_THREADS) as threads:
        for sums in threads.map(lambda file: _file(published, file.path), published.manifest.profiles):
            total.add(sums)
    known = fields_of(published)
    names = [*known, *sorted((set(total.values) | set(total.loose)) - set(known))]
    found = [
        FieldFacts(
            name,
            known[name].rule.kind if name in known else None,
            not known[name].rule.verbatim if name in known else None,
            total.companies[name],
            total.conflicts[name],
            total.values[name],
            total.support[name],
            float(total.confidence[name]),
            total.unsure[name],
            total.loose[name],
        )
        for name in names
    ]
    return Coverage(found, total.rows, total.with_conflicts, total.with_missing, total.missing)


def _file(published: PublishedRun, path: str) -> _Sums:
    total = _Sums()
    for batch in published.storage.read_batches(path, COVERAGE_ROWS_READ, LEAVES):
        total.add(_batch(batch))
    return total


def _batch(batch: pa.Table) -> _Sums:
    evidence, conflicts, missing = (batch[name] for name in ("evidence", "conflicts", "chunks_missing"))
    rows = _rows(evidence)
    chosen = rows.filter(rows["chosen"])
    by_company = chosen.group_by(["field", "company"]).aggregate(
        [("support", "sum"), ("support", "count"), ("confidence", "sum")]
    )
    by_field = by_company.group_by("field").aggregate(
        [("company", "count"), ("support_sum", "sum"), ("support_count", "sum"), ("confidence_sum", "sum")]
    )
    sums = by_field.to_pydict()
    names = sums["field"]
    loose = rows.filter(pc.invert(pc.or_(rows["grounded"], rows["chosen"])))
    unsure = rows.filter(pc.and_(rows["grounded"], pc.invert(rows["chosen"])))
    sure = (number or 0.0 for number in sums["confidence_sum_sum"])
    return _Sums(
        companies=Counter(dict(zip(names, sums["company_count"], strict=True))),
        values=Counter(dict(zip(names, sums["support_count_sum"], strict=True))),
        support=Counter(dict(zip(names, sums["support_sum_sum"], strict=True))),
        confidence=Counter(dict(zip(names, sure, strict=True))),
        unsure=counted(unsure["field"]),
        loose=counted(loose["field"]),
        conflicts=counted(pc.struct_field(pc.list_flatten(conflicts), "field")),
        missing=counted(pc.struct_field(pc.list_flatten(missing), "fault")),
        rows=batch.num_rows,
        with_conflicts=_longer_than_nothing(conflicts),
        with_missing=_longer_than_nothing(missing),
    )


def _rows(evidence: pa.ChunkedArray) -> pa.Table:
    """The evidence of some companies, a value a row; `company` numbers them."""
    flat = pc.list_flatten(evidence)
    columns = {
        name: pc.struct_field(flat, name) for name in ("field", "chosen", "grounded", "support", "confidence")
    }
    return pa.table({**columns, "company": pc.list_parent_indices(evidence)})


def _longer_than_nothing(lists: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.greater(pc.list_value_length(lists), 0)).as_py() or 0)
