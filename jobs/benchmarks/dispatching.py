"""What asking costs: chunks through the extract stage to a server that answers at once, and in other ways.

Paths: `job`, the whole extract stage through Ray with its ledger; `bare`, an asyncio client that only asks;
`raydata`, the HTTP processor of ray.data.llm, written to Parquet. All ask the same server about the same chunks.
CPU is told by who used it, the server's apart.

    python jobs/benchmark.py dispatching --chunks 2000 20000 200000
    python jobs/benchmark.py dispatching --chunks 2000 --path job --path bare --path raydata --latency 0.2
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow as pa
from cyclopts import Parameter

from actors.results import Request
from extraction.errors import OperatorError, RunError
from jobs.benchmarks import paths, ray_data_llm
from jobs.benchmarks.harness import INSTANT, made_up_requests, made_up_run, show, work_on
from jobs.benchmarks.instant_server import InstantServer, sampled
from jobs.benchmarks.measurement import CpuClock
from jobs.cli.command import CONFIGS, LOG, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FLAGS, FilePath, NumbersFile, Positive, WholeNumbers, flag
from jobs.stages import extract, ray_cluster
from jobs.stages.run import Run

REQUESTS_AT_ONCE = 256  # requests, as many as an H100's server takes


@Parameter("*", group=FLAGS)
@dataclass(frozen=True, kw_only=True)
class DispatchingFlags:
    """The benchmark's flags."""

    path: Annotated[Sequence[Literal["job", "bare", "raydata"]], flag("default: job")] = ("job",)
    chunks: WholeNumbers = (2_000, 20_000, 200_000)
    characters: Annotated[Positive, flag("of each chunk (12,000 tokens are about 48,000)")] = 4_000
    latency: Annotated[float, flag("of the server", metavar="S")] = 0
    config: Annotated[FilePath, flag("prompt and schema")] = CONFIGS / "extract.yaml"
    processors: Annotated[Positive, flag("actors of raydata")] = 2
    batch: Annotated[Positive, flag("rows of a batch of raydata (64 is its default)")] = 64
    json_file: NumbersFile = None


app = command("dispatching", __doc__)


@app.default
def run(flags: DispatchingFlags = DispatchingFlags()) -> int:
    """Measure every path at every size."""
    if min(flags.chunks) < 2:
        raise OperatorError("--chunks: numbers above one are expected")
    measured = []
    with (  # actors that end still write there
        ray_cluster.connected(2),
        tempfile.TemporaryDirectory(prefix="dispatching-", ignore_cleanup_errors=True) as folder,
    ):
        for count in flags.chunks:
            for path in flags.path:
                measured.append(measure_dispatching(path, count, flags, folder))
                LOG.print(f"{path} {count:,}: {measured[-1]['chunks_per_s']:,.0f} chunks/s")
    show(measured, flags.json_file)
    return DONE


def measure_dispatching(path: str, count: int, flags: DispatchingFlags, folder: str) -> dict[str, Any]:
    """One path at one size, with a server of its own: seconds from the second request to the last, and milliseconds
    of CPU a chunk, by role."""
    laid = {**INSTANT, "endpoint.concurrency": REQUESTS_AT_ONCE}
    this = made_up_run(flags.config, folder, laid)
    asked = made_up_requests([1] * count, flags.characters)
    with InstantServer(json.dumps(sampled(this.schema)), flags.latency) as server:
        clock = CpuClock((server.pid,))
        PATHS[path](this, server, asked, flags)
        cpu, stats = clock.seconds(), server.stats()
    if stats["requests"] < count:
        raise RunError(f"{path}: {stats['requests']:,} of {count:,} requests came to the server")
    seconds = stats["last"] - stats["first"]
    return {
        "path": path,
        "chunks": count,
        "characters": flags.characters,
        "latency_s": flags.latency,
        "seconds": seconds,
        "cpu_ms": {role: 1000 * used / count for role, used in cpu.items()},
        "chunks_per_s": (count - 1) / max(1e-9, seconds),
    }


def _job(this: Run, server: InstantServer, asked: pa.Table, _: DispatchingFlags) -> None:
    extract.extract(paths.lent(this, server.address(REQUESTS_AT_ONCE)), work_on(this, asked))


def _bare(this: Run, server: InstantServer, asked: pa.Table, _: DispatchingFlags) -> None:
    paths.ask_bare(server.address(REQUESTS_AT_ONCE), this, [Request(**row) for row in asked.to_pylist()])


def _raydata(this: Run, server: InstantServer, asked: pa.Table, flags: DispatchingFlags) -> None:
    ray_data_llm.ask_http(server.address(REQUESTS_AT_ONCE), this, asked, actors=flags.processors, batch=flags.batch)


PATHS: dict[str, Callable[[Run, InstantServer, pa.Table, DispatchingFlags], None]] = {
    "job": _job,
    "bare": _bare,
    "raydata": _raydata,
}
