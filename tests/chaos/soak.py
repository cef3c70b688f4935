"""The soak: a hundred thousand small documents against the fake server, with memory and open files watched.

    python -m tests.chaos.soak --documents 100000 --json FILE

Prints what each kind of process held early and late in the extract stage, and the stage's pace. Exit code 0
when the census is clean; whether a column is flat is for the reader to see.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tests.fakes.process import ROOT, FakeServer
from tests.jobs import helpers

EVERY_S = 5
ROWS_PER_GROUP = 5_000
MIB = 1 << 20
EARLY, LATE = (0.2, 0.4), (0.8, 1.0)  # parts of the extract stage that are compared


def main() -> int:
    """Write the documents, run the job, watch it, count."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--documents", type=int, default=100_000, metavar="N")
    flags.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    asked = flags.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, FakeServer() as server:
        source, output = Path(folder, "in.parquet"), Path(folder, "out")
        ids = write(source, asked.documents)
        process = start(source, output, server, Path(folder, "job.err"))
        samples = list(watch(process, server))
        said = Path(folder, "job.err").read_text()
        if process.wait():
            print(said[-3000:], file=sys.stderr)
            return 1
        helpers.census(output, ids)
        counts = helpers.manifest(output)["counts"]
        segments = len(list((output / "work" / "ledger").glob("*/*.parquet")))
    stage = [s for s in samples if 0 < s["answered"] < asked.documents]
    pace = (stage[-1]["answered"] - stage[0]["answered"]) / (stage[-1]["at"] - stage[0]["at"])
    told = ", ".join(f"{counts[name]:,} {name}" for name in ("documents", "chunks", "companies"))
    print(f"{told}, census clean")
    print(f"{pace:.0f} chunks/s, server and job on the same {os.cpu_count()} cores; {segments} segments written")
    Console(width=120).print(table(stage, asked.documents))
    if asked.json:
        asked.json.write_text(json.dumps({"pace": pace, "counts": counts, "samples": samples}) + "\n")
    return 0


def write(path: Path, count: int) -> set[str]:
    """The documents, some row groups of them; their ids."""
    with pq.ParquetWriter(path, helpers.TEXT) as file:
        for first in range(0, count, ROWS_PER_GROUP):
            numbers = range(first, min(count, first + ROWS_PER_GROUP))
            file.write_table(pa.Table.from_pylist([helpers.row(n, company=n // 2) for n in numbers], helpers.TEXT))
    return {f"d{n:03}" for n in range(count)}


def start(source: Path, output: Path, server: FakeServer, told: Path) -> "subprocess.Popen[bytes]":
    """The job, on a Ray of its own."""
    argv = helpers.arguments(source, output, server.url, "--set", "ledger.flush_s=5")
    with told.open("w") as file:
        return subprocess.Popen([sys.executable, "jobs/extract.py", *argv], cwd=ROOT, stdout=file, stderr=file)


def watch(process: "subprocess.Popen[bytes]", server: FakeServer) -> Iterator[dict[str, Any]]:
    """Samples until the job ends: memory (MiB) and open files of each kind of process."""
    while process.poll() is None:
        held: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        try:
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                kind = kind_of(one, process.pid)
                held[kind][0] += one.memory_full_info().uss / MIB
                held[kind][1] += one.num_fds()
            answered = server.stats()["answered"]
        except (psutil.Error, OSError):
            continue
        yield {"at": time.monotonic(), "answered": answered, "held": held}
        time.sleep(EVERY_S)


def kind_of(process: psutil.Process, driver: int) -> str:
    """What a process is to the job."""
    title = " ".join(process.cmdline())
    if process.pid == driver:
        return "driver"
    if "Extractor" in title:
        return "extractor"
    return "Ray's workers" if title.startswith("ray::") else "Ray itself"


def table(samples: list[dict[str, Any]], documents: int) -> Table:
    """Early and late, side by side."""
    shown = Table("process", "MiB early", "MiB late", "open files early", "open files late", box=None)
    for kind in sorted({kind for sample in samples for kind in sample["held"]}):
        cells = []
        for column in (0, 1):
            for low, high in (EARLY, LATE):
                part = [s for s in samples if low <= s["answered"] / documents <= high and kind in s["held"]]
                cells.append(f"{mean(s['held'][kind][column] for s in part):,.0f}" if part else "-")
        shown.add_row(kind, *cells)
    return shown


if __name__ == "__main__":
    sys.exit(main())
