"""How well each field is covered, and how far documents agree on it: counted over all published profiles."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

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


SUMMED = ("companies", "values", "support", "confidence", "unsure", "loose", "conflicts")


def fields_of(published: PublishedRun) -> dict[str, Field]:
    """The profile model's fields by name; none where it can't be imported here."""
    try:
        return {field.name: field for field in facts(published.model())}
    except OperatorError:
        return {}


def coverage(published: PublishedRun) -> Coverage:
    """Count the evidence and conflicts of all profiles, a few leaves of their columns at a time."""
    parts: list[pa.Table] = []
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    with ThreadPoolExecutor(COVERAGE_THREADS) as threads:
        files = threads.map(lambda file: _file(published, file.path), published.manifest.profiles)
        for sums, companies, faults in chain.from_iterable(files):
            parts.append(sums)
            counts.update(companies)
            missing.update(faults)
    rows = {row["field"]: row for row in _summed(parts, "field").to_pylist()} if parts else {}
    known = fields_of(published)
    by_field = [
        FieldFacts(
            name,
            known[name].rule.kind if name in known else None,
            not known[name].rule.verbatim if name in known else None,
            **{of: rows[name][of] or 0 if name in rows else 0 for of in SUMMED},
        )
        for name in (*known, *sorted(rows.keys() - known.keys()))
    ]
    return Coverage(by_field, counts["all"], counts["with_conflicts"], counts["with_missing"], missing)


def _file(published: PublishedRun, path: str) -> list[tuple[pa.Table, Counter[str], Counter[str]]]:
    return list(map(_batch, published.storage.read_batches(path, COVERAGE_ROWS_READ, LEAVES)))


def _batch(batch: pa.Table) -> tuple[pa.Table, Counter[str], Counter[str]]:
    """The sums of each field, how many companies have what, and the faults of missing chunks."""
    evidence, conflicts, missing = (batch[name] for name in ("evidence", "conflicts", "chunks_missing"))
    flat, company = pc.list_flatten(evidence), pc.list_parent_indices(evidence)
    of = {name: pc.struct_field(flat, name) for name in flat.type.names}
    kept, grounded = pc.invert(of["chosen"]), of["grounded"]
    values = {
        "values": of["chosen"].cast(pa.int64()),
        "support": pc.if_else(of["chosen"], of["support"], 0),
        "confidence": pc.if_else(of["chosen"], of["confidence"], 0.0),
        "unsure": pc.and_(kept, grounded).cast(pa.int64()),
        "loose": pc.and_(kept, pc.invert(grounded)).cast(pa.int64()),
    }
    by_company = _summed([pa.table({"field": of["field"], "company": company, **values})], "field", "company")
    companies = pc.greater(by_company["values"], 0).cast(pa.int64())
    disputed = pc.struct_field(pc.list_flatten(conflicts), "field")
    ones = pa.table({"field": disputed, "conflicts": pa.repeat(1, len(disputed))})
    counts = {"with_conflicts": _longer_than_nothing(conflicts), "with_missing": _longer_than_nothing(missing)}
    return (
        _summed([by_company.append_column("companies", companies), ones], "field"),
        Counter({"all": batch.num_rows, **counts}),
        counted(pc.struct_field(pc.list_flatten(missing), "fault")),
    )


def _summed(tables: Sequence[pa.Table], *keys: str) -> pa.Table:
    """The sums of SUMMED over the rows of several tables, as far as these have them."""
    table = pa.concat_tables(tables, promote_options="default")
    names = [name for name in SUMMED if name in table.column_names]
    summed = table.group_by(list(keys)).aggregate([(name, "sum") for name in names])
    return summed.rename_columns({f"{name}_sum": name for name in names} | {key: key for key in keys})


def _longer_than_nothing(lists: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.greater(pc.list_value_length(lists), 0)).as_py() or 0)
