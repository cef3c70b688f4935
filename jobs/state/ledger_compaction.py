"""Compaction: many small segments of a ledger become few large ones."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray.data

from jobs.state.ledger import Index, Ledger, Segment, best_of

MANY = 500  # small segments that a ledger may have: reading their keys takes seconds
SMALL_ROWS = 20_000
LARGE_ROWS = 50_000
ROWS_PER_GROUP = 1_000  # read at least, where one is wanted
FOLDED = pa.schema([("path", pa.string()), ("rows", pa.int64())])


def compact(ledger: Ledger, index: Index, many: int = MANY) -> Index:
    """Fold small segments where there are many; the index as it is then.

    A segment is deleted when the one that holds its rows is written, so a crash leaves rows twice at worst.
    """
    small = [segment for segment in index.segments if len(segment.ids) < SMALL_ROWS]
    if len(small) < many:
        return index
    items = [{"paths": [segment.path for segment in group]} for group in _groups(small)]
    ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        fold_segments, batch_size=1, batch_format="pyarrow", fn_kwargs={"ledger": ledger}
    ).take_all()
    return ledger.index(index)


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Segments that make one, in the order of their names: those of a run, and what it asked together, stay so."""
    group: list[Segment] = []
    for segment in segments:
        group.append(segment)
        if sum(len(one.ids) for one in group) >= LARGE_ROWS:
            yield group
            group = []
    if len(group) > 1:
        yield group


def fold_segments(batch: pa.Table, ledger: Ledger) -> pa.Table:
    """Ray Data: paths of segments to rows that tell what they were folded into.

    Rows stand in the order in which they were answered, which is about that of the plan: who reads some chunks
    of a plan reads few row groups.
    """
    rows: list[dict[str, Any]] = []
    there = set(ledger.paths())  # a task that is tried again finds its segments gone
    for item in batch.to_pylist():
        paths = [path for path in item["paths"] if path in there]
        if not paths:
            continue
        try:
            answers = best_of([ledger.storage.read_table(path) for path in paths]).sort_by("ended_at")
        except FileNotFoundError:  # another run that shares the ledger folds it, too
            continue
        path = ledger.append("folded", answers, ROWS_PER_GROUP)
        ledger.storage.delete(paths)
        rows.append({"path": path, "rows": answers.num_rows})
    return pa.Table.from_pylist(rows, FOLDED)
