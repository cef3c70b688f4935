"""The job's path: the whole extract stage through Ray, on a server lent to it or on servers of its own."""

import json
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from actors.extractor import Extractor
from actors.servers import gpu
from actors.servers.server import Address, Server
from actors.servers.sglang import SglangServer
from extraction.errors import RunError
from jobs.benchmarks.measurement import Sample
from jobs.stages import pool
from jobs.state.digests import digests
from jobs.state.run import Run

POLL_S = 0.1


class Timed(Extractor):
    """An extractor that tells when it was handed a batch, when all of it was written down, and by which server."""

    def __init__(self, *given: Any, **named: Any) -> None:
        began = time.time()
        super().__init__(*given, **named)
        self.startup_s = time.time() - began

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """As the extractor's, with columns for that."""
        began = time.time()
        answers = await super().__call__(batch)
        told = {
            "began": began,
            "ended": time.time(),
            "startup_s": self.startup_s,
            "flags": json.dumps(flags_of(self.keeper.server)),
        }
        for name, value in told.items():
            answers = answers.append_column(name, pa.array([value] * answers.num_rows))
        return answers

    async def _canary(self) -> None:
        if self.settings.model.load_format != "dummy":  # random weights write no profile
            await super()._canary()


class Lent:
    """A server that somebody else keeps, used by an actor of the job."""

    name = "lent"
    alive = True

    def __init__(self, address: Address) -> None:
        self.address = address

    def start(self) -> Address:
        """It runs already."""
        return self.address

    def stop(self) -> None:
        """It is not ours."""


class Together:
    """A server that is ready when all `count` of them are, so that they are measured over the same time.

    They tell each other by files in a folder: all actors are on one host.
    """

    def __init__(self, server: Server, folder: Path, count: int, timeout_s: float) -> None:
        self.server, self.folder, self.count, self.timeout_s = server, folder, count, timeout_s
        self.name = server.name

    def start(self) -> Address:
        """Start it and wait for the others. Raises RunError when they don't come."""
        address = self.server.start()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / uuid.uuid4().hex).touch()
        deadline = time.monotonic() + self.timeout_s
        while (ready := len(list(self.folder.iterdir()))) < self.count:
            if time.monotonic() > deadline:
                raise RunError(f"{ready} of {self.count} servers were ready after {self.timeout_s:g} s")
            time.sleep(POLL_S)
        return address

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self.server.alive

    def stop(self) -> None:
        """End it."""
        self.server.stop()


def lent(run: Run, address: Address) -> Run:
    """The run on one server that is there, by an actor without a GPU."""
    fleet = replace(run.fleet, make_server=partial(_lent, address), limit=address.limit, gpus=0)
    return replace(run, fleet=fleet)


def owned(run: Run, count: int) -> Run:
    """The run on `count` servers of its own actors, which start to work together."""
    servers = run.settings.servers.model_copy(update={"min_servers": count, "max_servers": count})
    settings = run.settings.model_copy(update={"servers": servers})
    make = partial(_together, run.fleet.make_server, run.logs / "ready", count, servers.start_timeout_s)
    return replace(run, settings=settings, fleet=replace(run.fleet, make_server=make))


def _lent(address: Address, logs: Path) -> Server:
    return Lent(address)


def _together(make: Any, folder: Path, count: int, timeout_s: float, logs: Path) -> Server:
    return Together(make(logs), folder, count, timeout_s)


def flags_of(server: Server) -> dict[str, Any]:
    """The flags that a server of this benchmark runs with; none of one that is not SGLang, or is lent."""
    inner = server.server if isinstance(server, Together) else server
    return inner.flags.said() if isinstance(inner, SglangServer) else {}


@dataclass(frozen=True)
class Extracted:
    """What the stage did: a sample a chunk, how long the slowest actor took to be ready, its server's flags, and
    who used which GPU."""

    samples: list[Sample]
    startup_s: float
    flags: dict[str, Any]
    processes: list[dict[str, Any]]


def extract(run: Run, questions: pa.Table) -> Extracted:
    """Put all questions through the extract stage, with a ledger that holds nothing."""
    path = run.storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", questions).path
    count = questions.num_rows
    work = pool.Work({path: np.arange(count)}, digests(questions["chunk_id"].to_pylist()), count)
    tables: list[pa.Table] = []
    processes: list[dict[str, Any]] = []
    for answers in pool.extract(run, work, Timed):
        processes = processes or on_gpus()
        tables.append(answers)
    rows = pa.concat_tables(tables).to_pylist()
    names = [name for name in Sample.__slots__ if name != "first_token_s"]
    samples = [Sample(**{name: row[name] for name in names}) for row in rows]
    slowest = max(rows, key=itemgetter("startup_s"))
    return Extracted(samples, slowest["startup_s"], json.loads(slowest["flags"]), processes)


def on_gpus() -> list[dict[str, Any]]:
    """The processes that NVML sees on each GPU, with the actor that each one descends from; none without
    NVML."""
    try:
        return [{**found, "actor": _actor(found["pid"])} for found in gpu.processes()]
    except RunError:
        return []


def _actor(pid: int) -> int | None:
    """The nearest process of Ray's above one."""
    try:
        above = psutil.Process(pid).parents()
        return next((process.pid for process in above if process.name().startswith("ray::")), None)
    except psutil.Error:
        return None
