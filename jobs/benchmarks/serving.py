"""How fast servers answer, bare and through the job, for rows of the scenario matrix.

Each row's server is started, and asked about the same chunks on two paths: `bare`, a minimal client with as many
requests at a time as the job has, and `job`, the whole extract stage through Ray with a fresh ledger. With
--servers N the job runs on N servers of its own actors instead, one a GPU.

    benchmark.py serving --model Qwen/Qwen2.5-3B-Instruct --input documents/ --chunks 192 --json out/h100.json \\
        --scenario balanced+wire=full+chunks=48 --scenario auto_80gb --scenario auto_80gb_fp8
"""

import argparse
import contextlib
import json
import re
import shlex
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import ray.exceptions
from rich.console import Console

from actors.client import Question
from actors.servers import gpu
from actors.servers.server import Address, Server
from extraction.config.settings import parse_override
from extraction.errors import OperatorError, RunError
from jobs.benchmarks import bare, job
from jobs.benchmarks.measurement import Measurement, Wire, table
from jobs.benchmarks.rows import Row, parse_row
from jobs.cli.command import CONFIGS, DONE, FAILED, LOG
from jobs.stages import cluster, intake, plan
from jobs.stages.engines import version_of
from jobs.state.run import Run
from jobs.state.storage import Storage, storage_at

SHORT_LIST = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
PACKAGES = ("sglang", "sglang-kernel", "torch", "xgrammar", "llguidance", "ray", "openai", "company-profiles")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this benchmark."""
    add = parser.add_argument
    add("--input", action="append", required=True, metavar="PATH", help="documents in Parquet, as extract.py's")
    add("--model", metavar="NAME", help="the model's name, or the path of its files")
    add("--config", type=Path, default=CONFIGS / "extract.yaml", metavar="FILE", help="settings")
    add("--scenario", action="append", metavar="ROW", help="NAME or NAME+flag=value+key=value; may be given again")
    add("--servers", type=int, nargs="+", default=[], metavar="N", help="the job on N servers of its own")
    add("--chunks", type=int, default=64, metavar="N", help="chunks to ask about, for each server")
    add("--output-tokens", type=int, metavar="N", help="cut answers there, and ask nothing twice")
    add("--first-token", action="store_true", help="bare takes answers as streams and times their first token")
    add("--wire-schema", choices=get_args(Wire), help="full: as pydantic prints it (default: by the grammar)")
    add("--grammar-backend", metavar="NAME", help="over all rows")
    add("--quantization", metavar="NAME", help="over all rows, such as fp8")
    add("--kv-cache-dtype", metavar="NAME", help="over all rows, such as fp8_e4m3")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a value over the settings")
    add("--json", type=Path, metavar="FILE", help="where to write all numbers")
    add("--work", metavar="DIR", help="folder for plan and ledgers (default: a temporary one)")


def run(flags: argparse.Namespace) -> int:
    """Measure each row; what could not be measured is told, and the others go on."""
    if min(flags.servers, default=1) < 1:
        raise OperatorError("--servers: numbers above zero are expected")
    given = overrides(flags)
    rows = [parse_row(text, given, flags.wire_schema, flags.chunks) for text in flags.scenario or ["auto"]]
    for row in rows:
        row.settings(flags.config)  # a mistake in any row shows before the first server starts
    measured: list[Measurement] = []
    failed = False
    with cluster.connected(), tempfile.TemporaryDirectory() as folder, Kept() as kept:
        storage = storage_at(flags.work or folder)
        first = rows[0].run(rows[0].settings(flags.config), storage, Path(folder))
        chunks = planned_chunks(first, flags.input)
        for row in rows:
            try:
                for one in measure(row, flags, storage, chunks, kept):
                    measured.append(one)
                    LOG.print(f"{one.row}  {one.path}  {one.chunks_per_s:.2f} chunks/s")
                    write(flags, first, measured)
            except (RunError, ray.exceptions.RayError) as error:
                failed = True
                LOG.print(f"{row.text}  not measured: {cluster.reason(error) or error}")
    if measured:
        Console(width=160, highlight=False).print(table(measured))
    return FAILED if failed else DONE


def overrides(flags: argparse.Namespace) -> dict[str, Any]:
    """What the flags say about the settings of all rows."""
    said = {
        "model.name": flags.model,
        "sglang.flags.grammar_backend": flags.grammar_backend,
        "sglang.flags.quantization": flags.quantization,
        "sglang.flags.kv_cache_dtype": flags.kv_cache_dtype,
        "limits.max_output_tokens": flags.output_tokens,
        "requests.attempts": 1 if flags.output_tokens else None,
    }
    return {key: value for key, value in said.items() if value is not None} | dict(map(parse_override, flags.set))


def planned_chunks(run: Run, inputs: list[str]) -> list[Question]:
    """The chunks of the documents, as the plan stage makes them with the settings of the first row."""
    found = plan.plan(run, intake.find(inputs, run.settings.columns))
    columns = list(Question.__slots__)
    tables = [run.storage.read_table(path, columns) for path in found.chunk_files]
    chunks = [Question(**row) for one in tables for row in one.to_pylist()]
    if not chunks:
        raise OperatorError(f"--input {' '.join(inputs)}: no document in it gives a chunk to ask about")
    return chunks


def questions(chunks: list[Question], count: int, label: str) -> pa.Table:
    """`count` chunks, from the first again when there are no more. Each begins with a line of its own, so that
    no server has it in its cache from another path or round."""
    rows = []
    for number in range(count):
        chunk = asdict(chunks[number % len(chunks)])
        name = f"{label} {number:06}"
        rows.append({**chunk, "chunk_id": name, "content": f"[{name}]\n\n{chunk['content']}"})
    return pa.Table.from_pylist(rows)


class Kept(contextlib.AbstractContextManager["Kept"]):
    """The server of the row before: a row whose server would be started in the same way is measured on it."""

    def __init__(self) -> None:
        self.startup_s = 0.0
        self._started_as: tuple[Any, ...] | None = None
        self._server: Server | None = None
        self._address: Address | None = None

    def server(self, run: Run) -> tuple[Server, Address]:
        """A server for a run that is ready to answer."""
        settings = run.settings
        wanted = (settings.sglang, settings.model, settings.servers, settings.limits.context_length)
        if self._server is None or self._address is None or wanted != self._started_as:
            self.__exit__()
            server = run.fleet.make_server(run.logs)
            began = time.monotonic()
            address = server.start()
            self.startup_s = time.monotonic() - began
            self._started_as, self._server, self._address = wanted, server, address
        return self._server, self._address

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.stop()
        self._server = None


def measure(
    row: Row, flags: argparse.Namespace, storage: Storage, chunks: list[Question], kept: Kept
) -> Iterator[Measurement]:
    """Measure a row on every path that is asked for."""
    for count in flags.servers:
        yield on_servers(new_run(row, flags, storage), row, count, chunks)
    if not flags.servers:
        yield from on_one_server(new_run(row, flags, storage), row, chunks, kept, stream=flags.first_token)


def new_run(row: Row, flags: argparse.Namespace, storage: Storage) -> Run:
    """A run of its own for a row, with logs of its own."""
    logs = Path(tempfile.gettempdir(), "company-profiles", f"benchmark-{time.time_ns()}")
    return row.run(row.settings(flags.config), storage, logs)


def on_servers(run: Run, row: Row, count: int, chunks: list[Question]) -> Measurement:
    """The job on `count` servers of its own, each with as many chunks as the row says."""
    cluster.require_gpus(count * run.fleet.gpus)
    done = job.extract(job.owned(run, count), questions(chunks, count * row.chunks, f"job {run.run_id}"))
    return Measurement(
        row=row.text,
        path="job",
        wire=row.sent(run),
        servers=count,
        limit=run.fleet.limit,
        startup_s=done.startup_s,
        flags=done.flags,
        samples=tuple(done.samples),
        processes=tuple(done.processes),
    )


def on_one_server(run: Run, row: Row, chunks: list[Question], kept: Kept, *, stream: bool) -> Iterator[Measurement]:
    """A row's paths, one after the other on the same server."""
    server, address = kept.server(run)
    for path in row.paths:
        asked = questions(chunks, row.chunks, f"{path} {run.run_id}")
        if path == "bare":
            listed = [Question(**one) for one in asked.to_pylist()]
            samples = bare.ask_all(address, run, listed, stream=stream)
        else:
            samples = job.extract(job.lent(run, address), asked).samples
        yield Measurement(
            row=row.text,
            path=path,
            wire=row.sent(run),
            servers=1,
            limit=address.limit,
            startup_s=kept.startup_s,
            flags=job.flags_of(server),
            samples=tuple(samples),
        )


def write(flags: argparse.Namespace, run: Run, measured: list[Measurement]) -> None:
    """Write all numbers so far."""
    if flags.json is None:
        return
    settings = run.settings
    told = {
        "command": shlex.join(["jobs/benchmark.py", *flags.command]),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "gpus": gpus(),
        "versions": {package: version_of(package) for package in PACKAGES},
        "model": run.fleet.model,
        "limits": settings.limits.model_dump(),
        "measurements": [one.to_json() for one in measured],
    }
    flags.json.parent.mkdir(parents=True, exist_ok=True)
    lines = json.dumps(told, indent=1)
    text = SHORT_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", lines)  # a sample a line
    flags.json.write_text(text + "\n", encoding="utf-8")


def gpus() -> list[dict[str, Any]]:
    """Names and memory of this machine's GPUs, none where there are none."""
    try:
        return [{"name": found.name, "vram_gib": round(found.vram_gib, 1)} for found in gpu.visible()]
    except RunError:
        return []
