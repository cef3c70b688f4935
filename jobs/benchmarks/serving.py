"""How fast servers answer, bare and through the job, for presets of the scenario matrix.

    python jobs/benchmark.py serving --input documents/ --scenario auto --scenario balanced+quantization=fp8

A row that can't be measured does not stop the others.
"""

import contextlib
import json
import re
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import pyarrow as pa
import ray.exceptions
from cyclopts import Parameter

from actors.results import Request
from actors.servers import sglang
from actors.servers.sglang import SglangServer
from actors.servers.supervisor import Server, ServerAddress
from extraction.config.settings import Settings, load_settings, parse_override
from extraction.config.sglang_presets import Flags
from extraction.errors import OperatorError, RunError
from jobs.benchmarks import paths, ray_data_llm
from jobs.benchmarks.harness import show
from jobs.benchmarks.measurement import AskedBy, Measurement, Wire, rows_of, span_s
from jobs.cli.command import CONFIGS, LOG, command
from jobs.cli.exit_codes import DONE, FAILED
from jobs.cli.flags import FLAGS, FilePath, Name, NumbersFile, Overrides, Positive, WholeNumbers, flag, write_file
from jobs.inputs import document_reader
from jobs.stages import plan, ray_cluster
from jobs.stages.engines import fleet, version_of
from jobs.stages.run import Run, logs_of, new_run_id
from jobs.state.storage import Storage, storage_at


@dataclass(frozen=True)
class BenchmarkRow:
    """What is measured: `text` is how it was asked for, `overrides` are settings by their dotted keys.
    Without `wire`, the server's grammar decides; `chunks` is how many it is asked about, `paths` how. `lengths` are
    the tokens at which answers are cut, one after the other, from the first again when there are no more."""

    text: str
    overrides: Mapping[str, Any]
    wire: Wire | None
    chunks: int
    paths: tuple[AskedBy, ...]
    lengths: tuple[int, ...] = ()

    def settings(self, config: Path) -> Settings:
        """The settings of a run with this row. Raises OperatorError for a key or value that is none."""
        wire = {} if self.wire in (None, "full") else {"wire": self.wire}
        return load_settings(config, {**self.overrides, **wire})

    def run(self, settings: Settings, storage: Storage, logs: Path) -> Run:
        """A run of its own, with a ledger that holds nothing."""
        kind = PydanticRun if self.wire == "full" else Run
        return kind(new_run_id(), settings, fleet("sglang", settings), storage, logs)

    def sent(self, run: Run) -> Wire:
        """The kind of schema that goes out in a run with this row."""
        return "full" if self.wire == "full" else "bounded" if run.fleet.bounded else "light"


@dataclass(frozen=True)
class PydanticRun(Run):
    """A run whose wire schema is the profile's as pydantic prints it: what the guide's client sends."""

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The schema with its titles, descriptions, references, patterns and bounds."""
        return self.model.model_json_schema()


def parse_row(text: str, given: Mapping[str, Any], wire: Wire | None = None, chunks: int = 64) -> BenchmarkRow:
    """A row as the command line has it. What else is given holds for all rows, unless a row says otherwise."""
    scenario, *more = text.split("+")
    own = dict(map(parse_override, more))
    wire, chunks, path = own.pop("wire", wire), own.pop("chunks", chunks), own.pop("path", None)
    lengths = own.pop("lengths", None)
    if wire not in (None, *get_args(Wire)):
        raise OperatorError(f"--scenario {text}: wire is one of {', '.join(get_args(Wire))}, not {wire!r}")
    if not (isinstance(chunks, int) and chunks > 0):
        raise OperatorError(f"--scenario {text}: chunks is a number above zero, not {chunks!r}")
    if path not in (None, *get_args(AskedBy)):
        raise OperatorError(f"--scenario {text}: path is one of {', '.join(get_args(AskedBy))}, not {path!r}")
    laid = {f"sglang.flags.{key}" if key in Flags.model_fields else key: value for key, value in own.items()}
    paths = cast(tuple[AskedBy, ...], (path,) if path else ("bare", "job"))
    overrides = {**given, "sglang.scenario": scenario, **laid}
    return BenchmarkRow(text, overrides, cast(Wire | None, wire), chunks, paths, _lengths(text, lengths))


def _lengths(text: str, file: str | None) -> tuple[int, ...]:
    try:
        return tuple(map(int, Path(file).read_text(encoding="utf-8").split())) if file else ()
    except (OSError, ValueError) as error:
        raise OperatorError(f"--scenario {text}: lengths is a file with a number a line: {error}") from None


SHORT_LIST = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
PACKAGES = ("sglang", "sglang-kernel", "torch", "xgrammar", "llguidance", "ray", "openai", "company-profiles")


@Parameter("*", group=FLAGS)
@dataclass(frozen=True, kw_only=True)
class ServingFlags:
    """The flags of this benchmark."""

    input: Annotated[Sequence[str], flag("documents in Parquet, as extract.py's", metavar="PATH")]
    model: Annotated[Name | None, flag("the model's name, or the path of its files")] = None
    config: Annotated[FilePath, flag("settings")] = CONFIGS / "extract.yaml"
    scenario: Annotated[
        Sequence[str], flag("NAME or NAME+flag=value+key=value; may be given again", metavar="ROW")
    ] = ("auto",)
    servers: Annotated[WholeNumbers, flag("the job on N servers of its own")] = ()
    chunks: Annotated[Positive, flag("chunks to ask about, for each server")] = 64
    output_tokens: Annotated[Positive | None, flag("cut answers there, and ask nothing twice")] = None
    log_requests: Annotated[bool, flag("time all paths by the engine's log; raydata has no other times")] = False
    first_token: Annotated[bool, flag("bare takes answers as streams and times their first token")] = False
    wire_schema: Annotated[Wire | None, flag("full: as pydantic prints it (default: by the grammar)")] = None
    laid: Annotated[Overrides, flag("a value over the settings", name="--set")] = field(default_factory=dict)
    json_file: NumbersFile = None


app = command("serving", __doc__)


@app.default
def run(flags: ServingFlags, *, words: Annotated[Sequence[str], Parameter(parse=False)]) -> int:
    """Measure each row; what could not be measured is told, and the others go on."""
    if min(flags.servers, default=1) < 1:
        raise OperatorError("--servers: numbers above zero are expected")
    given = overrides(flags)
    rows = [parse_row(text, given, flags.wire_schema, flags.chunks) for text in flags.scenario]
    for row in rows:
        row.settings(flags.config)  # a mistake in any row shows before the first server starts
    measured: list[Measurement] = []
    failed = False
    # An actor may write of its end when the folder goes.
    folders = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with ray_cluster.connected(), folders as folder, Kept() as kept:
        storage = storage_at(folder)
        first = rows[0].run(rows[0].settings(flags.config), storage, Path(folder))
        chunks = planned_chunks(first, flags.input)
        requests = Path(folder, "requests") if flags.log_requests else None
        for row in rows:
            try:
                for one in measure_serving(row, flags, storage, chunks, kept, requests):
                    measured.append(one)
                    LOG.print(f"{one.row}  {one.path}  {one.chunks_per_s:.2f} chunks/s")
                    write_results(flags.json_file, words, first, measured)
            except (RunError, ray.exceptions.RayError) as error:
                failed = True
                LOG.print(f"{row.text}  not measured: {ray_cluster.reason(error) or error}")
    if measured:
        show(rows_of(measured))
    return FAILED if failed else DONE


def overrides(flags: ServingFlags) -> dict[str, Any]:
    """What the flags say about the settings of all rows."""
    values = {
        "model.name": flags.model,
        "limits.max_output_tokens": flags.output_tokens,
        "requests.attempts": 1 if flags.output_tokens else None,
    }
    return {key: value for key, value in values.items() if value is not None} | dict(flags.laid)


def planned_chunks(run: Run, inputs: Sequence[str]) -> list[Request]:
    """The chunks of the documents, as the plan stage makes them with the settings of the first row."""
    planned = plan.plan(run, document_reader.find_input(inputs, run.settings.columns))
    columns = list(Request.__slots__)
    tables = [run.storage.read_table(path, columns) for path in planned.chunk_files]
    chunks = [Request(**row) for one in tables for row in one.to_pylist()]
    if not chunks:
        raise OperatorError(f"--input {' '.join(inputs)}: no document in it gives a chunk to ask about")
    return chunks


def requests_of(chunks: list[Request], count: int, label: str, lengths: Sequence[int] = ()) -> pa.Table:
    """`count` chunks, from the first again when there are no more. Each begins with a line of its own, so that
    no server has it in its cache from another path or round."""
    rows = []
    for number in range(count):
        chunk = asdict(chunks[number % len(chunks)])
        name = f"{label} {number:06}"
        if lengths:
            chunk["max_tokens"] = lengths[number % len(lengths)]
        rows.append({**chunk, "chunk_id": name, "content": f"[{name}]\n\n{chunk['content']}"})
    return pa.Table.from_pylist(rows)


class Kept(contextlib.AbstractContextManager["Kept"]):
    """The server of the row before: a row whose server would be started in the same way is measured on it."""

    def __init__(self) -> None:
        self.startup_s = 0.0
        self._started_as: tuple[Any, ...] | None = None
        self._server: Server | None = None
        self._address: ServerAddress | None = None

    def server(self, run: Run) -> tuple[Server, ServerAddress]:
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


def measure_serving(
    row: BenchmarkRow,
    flags: ServingFlags,
    storage: Storage,
    chunks: list[Request],
    kept: Kept,
    requests: Path | None,
) -> Iterator[Measurement]:
    """Measure a row on every path that is asked for; `requests` is where servers log them."""
    for count in flags.servers:
        yield on_servers(new_run(row, flags, storage), row, count, chunks)
    if not flags.servers:
        run = new_run(row, flags, storage, requests)
        yield from on_one_server(run, row, chunks, kept, stream=flags.first_token, requests=requests)


def new_run(row: BenchmarkRow, flags: ServingFlags, storage: Storage, requests: Path | None = None) -> Run:
    """A run of its own for a row, with logs of its own; its servers log their requests into a folder."""
    logs, settings = logs_of(f"benchmark-{time.time_ns()}"), row.settings(flags.config)
    if requests:
        command = (*settings.sglang.command, *ray_data_llm.logging_arguments(requests))
        sglang = settings.sglang.model_copy(update={"command": command})
        settings = settings.model_copy(update={"sglang": sglang})
    return row.run(settings, storage, logs)


def on_servers(run: Run, row: BenchmarkRow, count: int, chunks: list[Request]) -> Measurement:
    """The job on `count` servers of its own, each with as many chunks as the row says."""
    ray_cluster.require_gpus(count * run.fleet.gpus)
    done = paths.ask_job(paths.owned(run, count), requests_of(chunks, count * row.chunks, f"job {run.run_id}"))
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


def on_one_server(
    run: Run, row: BenchmarkRow, chunks: list[Request], kept: Kept, *, stream: bool, requests: Path | None
) -> Iterator[Measurement]:
    """A row's paths, one after the other on the same server; that of Ray alone starts one of its own."""
    for path in row.paths:
        asked = requests_of(chunks, row.chunks, f"{path} {run.run_id}", row.lengths)
        if path == "raydata":
            kept.__exit__()
            server: Server = run.fleet.make_server(run.logs)
            made = cast(SglangServer, server)
            limit = ray_data_llm.in_flight(made)
            samples = ray_data_llm.ask_engine(run, made, asked, run.logs / "raydata")
            engine_s: float | None = span_s(samples)
        else:
            server, address = kept.server(run)
            limit = address.limit
            if path == "bare":
                listed = [Request(**one) for one in asked.to_pylist()]
                samples = paths.ask_bare(address, run, listed, stream=stream)
            else:
                samples = paths.ask_job(paths.lent(run, address), asked).samples
            began = min(sample.began for sample in samples)
            logged = ray_data_llm.logged_requests(requests) if requests else []
            engine_s = span_s([one for one in logged if one.began >= began]) if logged else None
        yield Measurement(
            row=row.text,
            path=path,
            wire=row.sent(run),
            servers=1,
            limit=limit,
            startup_s=0.0 if path == "raydata" else kept.startup_s,
            flags=paths.flags_of(server),
            samples=tuple(samples),
            engine_s=engine_s,
        )


def write_results(path: Path | None, words: Sequence[str], run: Run, measured: list[Measurement]) -> None:
    """Write all numbers so far."""
    if path is None:
        return
    settings = run.settings
    results = {
        "command": shlex.join(["jobs/benchmark.py", *words[words.index("serving") :]]),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "gpus": gpus_in_use(),
        "versions": {package: version_of(package) for package in PACKAGES},
        "model": run.fleet.model,
        "limits": settings.limits.model_dump(),
        "measurements": [one.to_json() for one in measured],
    }
    lines = json.dumps(results, indent=1)
    text = SHORT_LIST.sub(lambda match: f"[{' '.join(match[1].split())}]", lines)  # a sample a line
    write_file(path, text + "\n", "--json")


def gpus_in_use() -> list[dict[str, Any]]:
    """Names and memory of this machine's GPUs, none where there are none."""
    try:
        return [{"name": gpu.name, "vram_gib": round(gpu.vram_gib, 1)} for gpu in sglang.visible_gpus()]
    except RunError:
        return []
