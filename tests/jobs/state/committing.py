"""Commits two publications to tables in processes that die at some moment of the second: for test_output_table.py.

    python -m tests.jobs.state.committing FOLDER KIND CASES

Case 0 is not killed, and its seconds are the measure of when the others are; the first of these has done nothing.
"""

import os
import signal
import sys
import time
from pathlib import Path

import deltalake  # noqa: F401  # imported once, before any process is forked
import pyiceberg.catalog.sql
import pyiceberg.io.pyarrow  # noqa: F401

from jobs.state.manifest import Manifest
from jobs.state.output_table import commit_table
from jobs.state.storage import Storage
from tests.jobs.state.test_publications import RUNS, SCHEMA, publish

ROWS = (4, 6)


def place(folder: Path, kind: str) -> str:
    """The table of a case."""
    return f"delta://{folder}/table" if kind == "delta" else f"iceberg://{folder}/warehouse/profiles.companies"


def commit(folder: Path, kind: str, number: int) -> Manifest:
    """Publish and commit one of two publications."""
    storage = Storage(str(folder / "out"))
    manifest = publish(storage, RUNS[number], ROWS[number])
    commit_table(place(folder, kind), storage, manifest, SCHEMA)
    return manifest


def killed(folder: Path, kind: str, after_s: float | None) -> float:
    """Commit both in a process that is killed so long after the second began; the seconds of that."""
    child = os.fork()
    if not child:
        commit(folder, kind, 0)
        if after_s:
            signal.setitimer(signal.ITIMER_REAL, after_s)  # SIGALRM ends a process at once, as SIGKILL does
        began = time.monotonic()
        commit(folder, kind, 1)
        (folder / "seconds").write_text(str(time.monotonic() - began))
        os._exit(0)
    os.waitpid(child, 0)
    done = folder / "seconds"
    return float(done.read_text()) if done.exists() else 0


def main(folder: Path, kind: str, cases: int) -> None:
    """Run all cases."""
    whole = killed(folder / "0", kind, None)
    for case in range(1, cases):
        killed(folder / str(case), kind, max(1e-6, whole * (case - 1) / cases))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
