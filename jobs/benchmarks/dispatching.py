"""What asking costs: chunks through the extract stage to a server that answers at once, and in other ways.

Paths: `job`, the whole extract stage through Ray with its ledger; `ray`, the same with actors that ask nobody and
write nothing; `bare`, an asyncio client that only asks; `raydata`, the HTTP processor of ray.data.llm, written to
Parquet. All but `ray` ask the same server about the same chunks. The CPU that each takes is told by who used it,
the server's apart.

    python jobs/benchmark.py dispatching --chunks 2000 20000 200000
    python jobs/benchmark.py dispatching --chunks 2000 --path job --path bare --path raydata --latency 0.2
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from actors.extractor import Extractor
from actors.results import RESULT_TEXTS, RESULTS, Request, Result
from extraction.config.settings import Settings, load_settings
from extraction.errors import OperatorError, RunError
from jobs.benchmarks import paths, ray_data_llm
from jobs.benchmarks.instant_server import MODEL, InstantServer
from jobs.benchmarks.measurement import ROLES, CpuClock, CpuSeconds
from jobs.cli.command import CONFIGS, LOG, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FLAGS, FilePath, NumbersFile, WholeNumber, WholeNumbers, flag
from jobs.stages import extract, ray_cluster
from jobs.stages.engines import fleet
from jobs.stages.run import Run, new_run_id
from jobs.stages.run_stats import RunStats
from jobs.state.ledger import digests
from jobs.state.storage import storage_at

SENTENCE = "Alder & Finch Ltd of Galway makes oak furniture, and ships it to customers in eleven countries. "
SAMPLED_EVERY_S = {"string": "Alder & Finch Ltd", "integer": 1998, "number": 1.5, "boolean": True, "null": None}
REQUESTS_AT_ONCE = 256  # requests, as many as an H100's server takes


@dataclass(frozen=True)
class Dispatched:
    """A path at a size: seconds from the second request to the last, and all of the path's CPU seconds, by role."""

    path: str
    chunks: int
    characters: int
    latency_s: float
    seconds: float
    cpu: CpuSeconds

    @property
    def chunks_per_s(self) -> float:
        """Chunks a second."""
        return (self.chunks - 1) / max(1e-9, self.seconds)

    @property
    def cpu_seconds(self) -> float:
        """CPU of all but the server."""
        return sum(used for role, used in self.cpu.items() if role != "server")


@Parameter("*", group=FLAGS)
@dataclass(frozen=True, kw_only=True)
class DispatchingFlags:
    """The benchmark's flags."""

    path: Annotated[Sequence[Literal["job", "ray", "bare", "raydata"]], flag("default: job")] = ("job",)
    chunks: WholeNumbers = (2_000, 20_000, 200_000)
    characters: Annotated[WholeNumber, flag("of each chunk (12,000 tokens are about 48,000)")] = 4_000
    latency: Annotated[float, flag("of the server", metavar="S")] = 0
    config: Annotated[FilePath, flag("prompt and schema")] = CONFIGS / "extract.yaml"
    actors: Annotated[WholeNumber, flag("of the path ray")] = 1
    processors: Annotated[WholeNumber, flag("actors of raydata")] = 2
    batch: Annotated[WholeNumber, flag("rows of a batch of raydata (64 is its default)")] = 64
    json_file: NumbersFile = None


app = command("dispatching", __doc__)


@app.default
def run(flags: DispatchingFlags = DispatchingFlags()) -> int:
    """Measure every path at every size."""
    if min(flags.chunks) < 2:
        raise OperatorError("--chunks: numbers above one are expected")
    measured = []
    with ray_cluster.connected(flags.actors + 1), tempfile.TemporaryDirectory(prefix="dispatching-") as folder:
        for count in flags.chunks:
            for path in flags.path:
                measured.append(measure_dispatching(path, count, flags, folder))
                LOG.print(f"{path} {count:,}: {measured[-1].chunks_per_s:,.0f} chunks/s")
    Console(width=160, highlight=False).print(dispatching_table(measured))
    if flags.json_file:
        told = [{**asdict(one), "chunks_per_s": one.chunks_per_s} for one in measured]
        flags.json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return DONE


def measure_dispatching(path: str, count: int, flags: DispatchingFlags, folder: str) -> Dispatched:
    """One path at one size, with a server of its own."""
    laid = {
        "model.name": MODEL,
        "endpoint.concurrency": REQUESTS_AT_ONCE,
        "model.load_format": "dummy",
    }  # no test request
    settings = load_settings(flags.config, {**laid, "endpoint.url": "http://127.0.0.1:9/v1"})
    this = Run(new_run_id(), settings, fleet("endpoint", settings), storage_at(folder), Path(folder, "logs"))
    asked = made_up_requests(count, flags.characters)
    with InstantServer(json.dumps(sampled(this.schema)), flags.latency) as server:
        clock = CpuClock((server.pid,))
        seconds = PATHS[path](this, server, asked, flags)
        cpu, told = clock.seconds(), server.stats()
    if seconds is None and told["requests"] < count:
        raise RunError(f"{path}: {told['requests']:,} of {count:,} requests came to the server")
    return Dispatched(path, count, flags.characters, flags.latency, seconds or told["last"] - told["first"], cpu)


def made_up_requests(count: int, characters: int) -> pa.Table:
    """Made-up chunks, each with a line of its own."""
    text = SENTENCE * (characters // len(SENTENCE) + 1)
    contents = [f"{number:09}\n{text[: characters - 10]}" for number in range(count)]
    ids = [f"{number:064x}" for number in range(count)]
    ones = pa.array([1] * count, pa.int64())
    return pa.table({"chunk_id": ids, "content": contents, "prompt_tokens": ones, "max_tokens": ones})


def sampled(schema: dict[str, Any]) -> Any:
    """A value of a JSON schema: every property, one item in each list."""
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return sampled(option)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: sampled(each) for name, each in schema["properties"].items()}
    return [sampled(schema["items"])] if kind == "array" else SAMPLED_EVERY_S[kind]


def _job(this: Run, server: InstantServer, asked: pa.Table, _: DispatchingFlags) -> None:
    extract.extract(paths.lent(this, server.address(REQUESTS_AT_ONCE)), _work(this, asked))


def _work(this: Run, asked: pa.Table) -> extract.Work:
    path = this.storage.write_table(f"{this.folder}/chunks/{{sha}}.parquet", asked).path
    ids = digests(asked["chunk_id"].to_pylist())
    return extract.Work({path: np.arange(len(ids))}, ids, len(ids))


class Unasked(Extractor):
    """An extractor that answers at once, out of nothing."""

    def __init__(self, settings: Settings, **_: Any) -> None:
        self.settings = settings

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """An answer to each chunk."""
        now = time.time()
        answers = [
            Result(**{**BLANK_REPLY, "chunk_id": each, "ended_at": now}) for each in batch["chunk_id"].to_pylist()
        ]
        return pa.Table.from_pylist([asdict(answer) for answer in answers], RESULTS).drop_columns(
            list(RESULT_TEXTS)
        )


BLANK_REPLY: dict[str, Any] = {"chunk_id": "", "attempts": 1, "in_flight": 1, "server": "nobody"}


def _ray(this: Run, server: InstantServer, asked: pa.Table, flags: DispatchingFlags) -> float:
    lent, tally = paths.lent(this, server.address(REQUESTS_AT_ONCE)), RunStats()
    servers = lent.settings.servers.model_copy(update={"min_servers": flags.actors, "max_servers": flags.actors})
    lent = replace(lent, settings=lent.settings.model_copy(update={"servers": servers}))
    for answers in extract.results(lent, _work(this, asked), Unasked):
        tally.add(answers)
    return tally.seconds


def _bare(this: Run, server: InstantServer, asked: pa.Table, _: DispatchingFlags) -> None:
    paths.ask_bare(server.address(REQUESTS_AT_ONCE), this, [Request(**row) for row in asked.to_pylist()])


def _raydata(this: Run, server: InstantServer, asked: pa.Table, flags: DispatchingFlags) -> None:
    ray_data_llm.ask_http(server.address(REQUESTS_AT_ONCE), this, asked, actors=flags.processors, batch=flags.batch)


PATHS: dict[str, Callable[[Run, InstantServer, pa.Table, DispatchingFlags], float | None]] = {
    "job": _job,
    "ray": _ray,
    "bare": _bare,
    "raydata": _raydata,
}


def dispatching_table(measured: list[Dispatched]) -> Table:
    """A line each; CPU in milliseconds a chunk. `more` leaves the start out: what a chunk costs beyond the size
    before."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("path", no_wrap=True)
    for name in ("chunks", "chunks/s", "a core", *(f"{role} ms" for role in ROLES), "all but server", "more"):
        shown.add_column(name, justify="right", no_wrap=True)
    before: dict[str, Dispatched] = {}
    for one in measured:
        cells = [f"{1000 * one.cpu[role] / one.chunks:.2f}" for role in ROLES]
        total, last = 1000 * one.cpu_seconds / one.chunks, before.get(one.path)
        more = 1000 * (one.cpu_seconds - last.cpu_seconds) / (one.chunks - last.chunks) if last else None
        shown.add_row(
            one.path,
            f"{one.chunks:,}",
            f"{one.chunks_per_s:,.0f}",
            f"{one.chunks / max(1e-9, one.cpu_seconds):,.0f}",
            *cells,
            f"{total:.2f}",
            "-" if more is None else f"{more:.2f}",
        )
        before[one.path] = one
    return shown
