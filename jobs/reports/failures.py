"""What failed, by class: dead letters and the chunks that profiles miss, with examples of each."""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jobs.state.published import Published

EXAMPLES = 3
LETTERS_SHOWN = 1_000
MEANINGS = {
    "missing_id": "the row has no document_id",
    "empty": "nothing to read in the text",
    "not_text": "the text is not valid UTF-8",
    "too_large": "larger than the limits allow",
    "duplicate_id": "the id stands for another text too",
    "unreadable": "a file or row group can't be read",
    "too_long": "more tokens than the server takes",
    "truncated": "the answer was cut off, in parts too",
    "repetition": "the answer repeats itself",
    "invalid": "the answer is no profile",
    "rejected": "the server refused the request",
    "no_company": "nothing about a company stands in it",
    "poison": "the server died of it, twice, alone",
    "unavailable": "no server could be reached; the next run asks again",
    "deadline": "no answer in time; the next run asks again",
    "aborted": "the server gave the request up; the next run asks again",
}


@dataclass
class Failures:
    """Documents that gave nothing, by stage and fault; a few of each as examples, more of them as a list."""

    by_class: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[dict[str, str]]] = field(default_factory=dict)
    letters: list[dict[str, str]] = field(default_factory=list)

    def of_stage(self, stage: str) -> int:
        """How many a stage gave up."""
        return sum(count for (named, _), count in self.by_class.items() if named == stage)

    @property
    def total(self) -> int:
        """All dead letters."""
        return self.by_class.total()


def failures(published: Published) -> Failures:
    """Count the dead letters of a run, and take some of each class."""
    found = Failures()
    for file in published.manifest.dead_letters:
        table = published.storage.read_table(file.path)
        for stage, fault in _classes(table):
            rows = table.filter(pc.and_(pc.equal(table["stage"], stage), pc.equal(table["fault"], fault)))
            kind = stage, fault
            found.by_class[kind] += rows.num_rows
            examples = found.examples.setdefault(kind, [])
            examples += rows.slice(0, EXAMPLES - len(examples)).to_pylist()
        found.letters += table.slice(0, LETTERS_SHOWN - len(found.letters)).to_pylist()
    return found


def _classes(table: pa.Table) -> list[tuple[str, str]]:
    kinds = table.group_by(["stage", "fault"]).aggregate([])
    return sorted(zip(kinds["stage"].to_pylist(), kinds["fault"].to_pylist(), strict=True))
