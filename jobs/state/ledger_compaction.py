"""Compaction: many small segments of a ledger become few large ones."""

from collections.abc import Sequence

import ray

from jobs.state.ledger import Index, Ledger, best_of
from jobs.state.storage import batched_by

MANY = 500  # small segments that a ledger may have: reading their keys takes seconds
SMALL_ROWS = 20_000
LARGE_ROWS = 50_000
ROWS_PER_GROUP = 1_000  # read at least, where one is wanted


def compact(ledger: Ledger, index: Index, many: int = MANY) -> Index:
    """Fold small segments where there are many; the index as it is then.

    A segment is deleted when the one that holds its rows is written, so a crash leaves rows twice at worst.
    """
    small = [segment for segment in index.segments if len(segment.ids) < SMALL_ROWS]
    if len(small) < many:
        return index
    fold = ray.remote(max_retries=-1)(fold_segments)
    # In the order of their names: those of a run, and what it asked together, stay so.
    groups = batched_by(small, lambda segment: len(segment.ids), LARGE_ROWS)
    ray.get([fold.remote(ledger, [segment.path for segment in group]) for group in groups if len(group) > 1])
    return ledger.index(index)


def fold_segments(ledger: Ledger, paths: Sequence[str]) -> None:
    """Ray: segments become one.

    Rows stand in the order in which they were answered, which is about that of the plan: who reads some chunks
    of a plan reads few row groups.
    """
    there = set(ledger.paths())  # a task that is tried again finds its segments gone
    paths = [path for path in paths if path in there]
    if not paths:
        return
    try:
        answers = best_of([ledger.storage.read_table(path) for path in paths]).sort_by("ended_at")
    except FileNotFoundError:  # another run that shares the ledger folds it, too
        return
    ledger.append("folded", answers, ROWS_PER_GROUP)
    ledger.storage.delete(paths)
