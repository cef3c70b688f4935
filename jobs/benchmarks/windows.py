"""What a later window of a backfill costs against a whole one: CPU to merge all companies, then those that changed.

Nothing is asked of a model: plans of partitions and their answers are made up, as runs of a backfill leave them.
"""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

import pyarrow as pa

from actors.results import RESULTS
from jobs.backfills.window import publish_window, window_run
from jobs.benchmarks.harness import made_up_run, show
from jobs.benchmarks.measurement import CpuClock
from jobs.benchmarks.merging import made_extraction
from jobs.cli.command import CONFIGS, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NumbersFile, Positive, flag
from jobs.stages import ray_cluster
from jobs.stages.run import Run, new_run_id
from jobs.state.ledger import LEDGERS
from jobs.state.ledger_compaction import ROWS_PER_GROUP
from jobs.state.parquet_schemas import CHUNKS
from jobs.state.run_record import folder_of

CHARACTERS = 700  # of a chunk
LEDGER_ROWS = 5_000
app = command("windows", __doc__)


@app.default
def run(
    *,
    partitions: Positive = 1_000,
    companies: Annotated[Positive, flag("with a chunk each, in these partitions")] = 10_000,
    changed: Annotated[Positive, flag("of them another partition has a chunk in the later window")] = 100,
    json_file: NumbersFile = None,
) -> int:
    """Measure, print and write."""
    show(measure_windows(partitions, companies, changed), json_file)
    return DONE


def measure_windows(partitions: int, companies: int, changed: int) -> list[dict[str, Any]]:
    """Publish the window of some partitions, and the one to which a partition was added: the seconds of each, those
    of CPU, and of these the part in Ray's tasks. `cpu_of_whole` is the CPU as a share of what the whole window
    took."""
    rows = list[dict[str, Any]]()
    with tempfile.TemporaryDirectory(prefix="windows-") as folder, ray_cluster.connected():
        this, runs = made_up_run(CONFIGS / "demo.yaml", folder, {}), dict[str, str]()
        this = replace(this, ledgers=this.storage.under(LEDGERS))
        some = [range(n, companies, partitions) for n in range(partitions)]
        for chunk, (name, added) in enumerate((("whole", some), ("later", [range(changed)]))):
            _write(this, added, chunk, runs)
            index, window = this.ledger.index(), replace(window_run(this, ()), run_id=new_run_id())
            clock, began = CpuClock(), time.monotonic()
            published = publish_window(window, this.storage, runs, "recipe", index)
            seconds, used = time.monotonic() - began, clock.seconds()
            cpu_s, counts = sum(used.values()), published.counts
            rows.append(
                {
                    "window": name,
                    "chunks": counts.chunks,
                    "companies": counts.companies,
                    "seconds": seconds,
                    "cpu_s": cpu_s,
                    "tasks_cpu_s": used["tasks"],
                    "cpu_of_whole": cpu_s / rows[0]["cpu_s"] if rows else 1.0,
                }
            )
    return rows


def _write(run: Run, partitions: Iterable[Iterable[int]], chunk: int, runs: dict[str, str]) -> None:
    """Partitions of some companies each, as new runs that planned and answered a chunk of each, by its number."""
    answers = []
    for companies in partitions:
        path = f"part={len(runs):06}"
        made = [made_extraction(company, chunk, CHARACTERS) for company in companies]
        answers += [answer for _, answer in made]
        runs[path] = new_run_id()
        plan = f"{path}/{folder_of(runs[path])}/chunks/{{sha}}.parquet"
        run.storage.write_table(plan, pa.Table.from_pylist([planned for planned, _ in made], CHUNKS))
    for first in range(0, len(answers), LEDGER_ROWS):
        rows = pa.Table.from_pylist(answers[first : first + LEDGER_ROWS], RESULTS)
        run.ledger.append("made", rows, ROWS_PER_GROUP)
