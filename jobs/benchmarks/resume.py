"""What a large ledger adds to a run that goes on: seconds and memory until it knows which chunks are missing.

Nothing is asked of a model: segments are written as actors leave them, with made-up ids and empty replies.
"""

import hashlib
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow as pa

from actors.results import RESULTS
from jobs.benchmarks.harness import show
from jobs.cli.command import command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NumbersFile, Positive, flag
from jobs.state.ledger import FOLDED_ROWS, ChunkState, Ledger, digests
from jobs.state.storage import storage_at

MISSING_SHARE = 0.01  # of the plan's chunks, which the ledger does not hold
LOOKED_UP_AT_ONCE = 1_000_000  # chunks of the plan


app = command("resume", __doc__)


@app.default
def run(
    *,
    chunks: Positive = 10_000_000,
    rows: Annotated[Positive, flag("of each segment")] = FOLDED_ROWS,
    json_file: NumbersFile = None,
) -> int:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="resume-") as folder:
        ledger = Ledger(storage_at(folder), "f" * 64)
        held = round(chunks * (1 - MISSING_SHARE))
        for first in range(0, held, rows):
            ledger.append("made", _answers(first, min(held, first + rows)))
        show([measure_resume(ledger, chunks)], json_file)
    return DONE


def measure_resume(ledger: Ledger, planned: int) -> dict[str, Any]:
    """Read a ledger's index, and look a plan up in it: the seconds of each, chunks that are missing there, and how
    much the driver's memory grew at most."""
    before, began = _most_memory_mib(), time.monotonic()
    index = ledger.index()
    indexed_s, spent_s, missing = time.monotonic() - began, 0.0, 0
    for first in range(0, planned, LOOKED_UP_AT_ONCE):
        ids = digests(_ids(first, min(planned, first + LOOKED_UP_AT_ONCE)))
        began = time.monotonic()
        missing += int((index.states(ids) < ChunkState.FAILED).sum())
        spent_s += time.monotonic() - began
    return {
        "chunks": len(index),
        "segments": len(index.segments),
        "index_s": indexed_s,
        "lookup_s": spent_s,
        "missing": missing,
        "mib": _most_memory_mib() - before,
    }


def _ids(first: int, last: int) -> Iterator[str]:
    return (hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, last))


def _answers(first: int, last: int) -> pa.Table:
    rows = last - first
    columns = {"chunk_id": pa.array(_ids(first, last)), "replies": pa.array([["{}"]] * rows)}
    return pa.concat_tables([RESULTS.empty_table(), pa.table(columns)], promote_options="default")


def _most_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
