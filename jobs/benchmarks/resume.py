"""What a large ledger adds to a run that goes on: seconds and memory until it knows which chunks are missing.

Nothing is asked of a model: segments are written as actors leave them, with made-up ids and empty replies.
"""

import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa

from actors.results import RESULTS
from jobs.cli.command import command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NumbersFile, WholeNumber, flag
from jobs.state.ledger import FOLDED_ROWS, ChunkState, Ledger, digests
from jobs.state.storage import storage_at

MISSING_SHARE = 0.01  # of the plan's chunks, which the ledger does not hold
SEGMENT_ROWS = 1_000_000


app = command("resume", __doc__)


@app.default
def run(
    *,
    chunks: WholeNumber = 10_000_000,
    rows: Annotated[WholeNumber, flag("of each segment")] = FOLDED_ROWS,
    json_file: NumbersFile = None,
) -> int:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="resume-") as folder:
        ledger = Ledger(storage_at(folder), "f" * 64)
        held = round(chunks * (1 - MISSING_SHARE))
        for first in range(0, held, rows):
            ledger.append("made", _answers(first, min(held, first + rows)))
        found = measure_resume(ledger, chunks)
    for name, value in found.items():
        print(f"{name:<42} {value:>12,}")
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return DONE


def measure_resume(ledger: Ledger, planned: int) -> dict[str, float]:
    """Read a ledger's index, and ask it about a plan."""
    before, began = _most_memory_mib(), time.monotonic()
    index = ledger.index()
    indexed_s, spent_s, missing = time.monotonic() - began, 0.0, 0
    for first in range(0, planned, SEGMENT_ROWS):
        ids = digests(_ids(first, min(planned, first + SEGMENT_ROWS)))
        began = time.monotonic()
        missing += int((index.states(ids) < ChunkState.SETTLED).sum())
        spent_s += time.monotonic() - began
    return {
        "chunks in the ledger": len(index),
        "segments": len(index.segments),
        "seconds for the index": round(indexed_s, 1),
        "seconds to look up the plan": round(spent_s, 1),
        "chunks missing": missing,
        "MiB at most": round(_most_memory_mib() - before),
    }


def _ids(first: int, last: int) -> Iterator[str]:
    return (hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, last))


def _answers(first: int, last: int) -> pa.Table:
    rows = last - first
    columns = {"chunk_id": pa.array(_ids(first, last)), "replies": pa.array([["{}"]] * rows)}
    return pa.Table.from_arrays(
        [columns.get(field.name, pa.nulls(rows, field.type)) for field in RESULTS], schema=RESULTS
    )


def _most_memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
