"""What becomes of a run when something fails: this project beside ray.data.llm, on failures that its users report.

Both sides get the same documents and the same faulty servers, which are the tests' (a checkout is needed), on one
Ray that has GPUs by name only. Of ray.data.llm the HTTP processor is run as its documentation has it, and with all
that its settings and Ray Data's checkpoints can do (`raydata_job.py`); engines are stand-ins that die as SGLang's.

    python jobs/benchmark.py peers               all cases; writes docs/peers.md
    python jobs/benchmark.py peers --case hang   one of them, to the screen
"""

import contextlib
import datetime
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from actors.servers.process import free_port
from extraction.errors import OperatorError, RunError
from jobs.cli.command import LOG, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import WholeNumber, flag
from jobs.stages.engines import version_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "peers.md"
Side = Literal["company-profiles", "ray.data.llm", "ray.data.llm, careful"]
CaseName = Literal["row", "throttled", "hang", "killed", "engine", "pool"]
AT_A_TIME, LATENCY_S = 8, 0.2
HANGS_FOR_S = 10.0  # what a request may take, for those that can be told so
ENGINES = 4
KILLED_AFTER = 40  # answers
JOURNAL = "journal.jsonl"
UP_WITHIN_S = 120.0
SHOWN = 160  # characters of an error
ERROR = re.compile(r"(?:[\w.]+\.)?(?:\w*(?:Error|Exception)|error)\b.*: ")


@dataclass(frozen=True)
class Case:
    """A failure, as `issue` tells of it. `flags` are the faulty server's, `odd` is the text of one document;
    `engines` are owned by the run instead. `strike` is called with the run's process after some answers."""

    name: CaseName
    issue: str
    told: str
    flags: Sequence[str] = ()
    odd: str = ""
    engines: int = 0
    strike: Callable[["Trial", "subprocess.Popen[bytes]"], None] | None = None
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of it: documents answered, told of as failed, and lost; requests for what was asked before;
    servers that answered; how the last run ended; seconds of all runs."""

    answered: int
    failed: int
    lost: int
    twice: int
    servers: int
    ends: str
    seconds: float


app = command("peers", __doc__)


@app.default
def run(
    *,
    case: Annotated[Sequence[CaseName], flag("default: all, which are written down")] = (),
    documents: WholeNumber = 160,
    patience: Annotated[WholeNumber, flag("after so many seconds a run counts as stuck", metavar="S")] = 90,
) -> int:
    """Run the cases on all sides."""
    if not (ROOT / "tests" / "fakes").is_dir():
        raise OperatorError("the faulty servers are in tests/fakes: run it in a checkout")
    chosen = [each for each in CASES if each.name in (case or get_args(CaseName))]
    rows: list[tuple[Case, Side, Outcome]] = []
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, ray_head(Path(folder)) as environment:
        for each in chosen:
            for side in sides(each):
                trial = Trial(each, side, Path(folder), documents, patience, environment)
                rows.append((each, side, trial.outcome()))
                LOG.print(f"{each.name:<10} {side:<22} {rows[-1][2]}", markup=False)
                if not case:
                    PAGE.write_text(page(rows, documents, patience), encoding="utf-8")
    Console(width=160, highlight=False).print(outcomes_table(rows), markup=False)
    return DONE


def sides(case: Case) -> tuple[Side, ...]:
    """Who is tried: an engine's processor has no settings that would help."""
    every: tuple[Side, ...] = get_args(Side)
    return every[:2] if case.engines else every


@contextlib.contextmanager
def ray_head(folder: Path) -> Iterator[dict[str, str]]:
    """A Ray with cores and GPUs by name, for all runs; the environment of who joins it."""
    port = free_port()
    paths = (str(ROOT), str(ROOT / "tests" / "fakes" / "engines"))
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_worker_niceness": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "FAKE_FLAGS": f"--latency {LATENCY_S} --max-running-requests {AT_A_TIME} --journal {folder / JOURNAL}",
    }
    words = ["--head", "--block", "--include-dashboard=false", "--disable-usage-stats", f"--port={port}"]
    words += [f"--temp-dir={folder}", "--num-cpus=6", f"--num-gpus={ENGINES}", "--object-store-memory=200000000"]
    ray = [str(Path(sys.executable).with_name("ray")), "start", *words]
    log = folder / "ray.log"
    with log.open("wb") as file:
        head = subprocess.Popen(ray, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        until = time.monotonic() + UP_WITHIN_S
        while "Ray runtime started" not in log.read_text():
            if head.poll() is not None or time.monotonic() > until:
                raise RunError(f"a Ray could not be started here: {log.read_text()[-500:]}")
            time.sleep(0.2)
        yield {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        kill_family(head.pid)


def kill_family(pid: int) -> None:
    """SIGKILL a process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=30)


@dataclass
class Trial:
    """One case on one side."""

    case: Case
    side: Side
    shared: Path
    documents: int
    patience_s: float
    environment: Mapping[str, str]
    url: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is this project's turn."""
        return self.side == "company-profiles"

    @property
    def folder(self) -> Path:
        """Where it reads and writes."""
        return self.shared / self.case.name / self.side.replace(", ", "-")

    @property
    def output(self) -> Path:
        """Where answers go."""
        return self.folder / "out"

    def outcome(self) -> Outcome:
        """Run it, to its end or until patience is over."""
        self.folder.mkdir(parents=True)
        self._write()
        (self.shared / JOURNAL).unlink(missing_ok=True)
        with self._server():
            began = time.monotonic()
            ends = self._run()
            if self.case.again:
                ends = f"{ends}; again: {self._run(strike=False)}"
            seconds = time.monotonic() - began
        answered, failed = self.found()
        return Outcome(
            answered,
            failed,
            self.documents - answered - failed,
            self.twice(),
            len({event["pid"] for event in self.events() if event["event"] == "answer"}),
            ends,
            round(seconds, 1),
        )

    def events(self) -> list[dict[str, Any]]:
        """What servers noted so far."""
        path = self.shared / JOURNAL
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _write(self) -> None:
        texts = [f"Northwind Works {n} makes pumps in Porto, Portugal. Note {n}." for n in range(self.documents)]
        texts[self.documents // 2] += f" {self.case.odd}"
        ids = [f"d{n:04}" for n in range(self.documents)]
        told = {"document_id": ids, "company_id": ids, "text": texts}
        pq.write_table(pa.table(told), self.folder / "in.parquet")

    @contextlib.contextmanager
    def _server(self) -> Iterator[None]:
        """The faulty server, where the run owns no engines."""
        if self.case.engines:
            yield
            return
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        words = [sys.executable, "-m", "tests.fakes.server", "--port", str(port), *self.case.flags]
        words += self.environment["FAKE_FLAGS"].split()
        server = subprocess.Popen(words, cwd=ROOT, env=self.environment)
        try:
            until = time.monotonic() + UP_WITHIN_S
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    break
                time.sleep(0.1)
            yield
        finally:
            server.kill()
            server.wait()

    def _run(self, strike: bool = True) -> str:
        """Run the side's program; how it ended."""
        log = self.folder / "log"
        words = [sys.executable, *(self._our_words() if self.ours else self._their_words())]
        with log.open("wb") as file:
            process = subprocess.Popen(words, cwd=ROOT, env=self.environment, stdout=file, stderr=file)
        until, due = time.monotonic() + self.patience_s, self.case.strike if strike else None
        while process.poll() is None:
            answers = sum(event["event"] == "answer" for event in self.events())
            if due and answers >= KILLED_AFTER:
                due(self, process)
                due = None
            if time.monotonic() > until:
                kill_family(process.pid)
                return f"stuck: not done after {self.patience_s:g} s"
            time.sleep(0.1)
        if process.returncode == -signal.SIGKILL:
            return "killed"
        return f"exit {process.returncode}" + (f": {last_error(log.read_text())}" if process.returncode else "")

    def _our_words(self) -> list[str]:
        settings: dict[str, Any] = {
            "ledger.flush_s": 0.5,
            "requests.deadline_s": HANGS_FOR_S,
            "requests.attempts": 2,
        }
        if self.case.engines:
            fake = [sys.executable, "-m", "tests.fakes.server", *self.environment["FAKE_FLAGS"].split()]
            settings |= {"sglang.command": json.dumps(fake), "sglang.vram_gib": 79.6}
            settings |= {"servers.max_servers": self.case.engines, "sglang.flags.max_running_requests": AT_A_TIME}
            engine = ["--engine", "sglang", "--model", str(self._model())]
        else:
            settings |= {"endpoint.concurrency": AT_A_TIME}
            engine = ["--engine", "endpoint", "--endpoint", self.url, "--model", "fake"]
        laid = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        paths = ["--input", str(self.folder / "in.parquet"), "--output", str(self.output)]
        return ["jobs/extract.py", *paths, "--config", "configs/demo.yaml", *engine, *laid]

    def _model(self) -> Path:
        """A folder with all of a model that the plan needs."""
        folder = self.folder / "stand-in"
        folder.mkdir(exist_ok=True)
        Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
        return folder

    def _their_words(self) -> list[str]:
        told = {
            "input": str(self.folder / "in.parquet"),
            "output": str(self.output),
            "url": self.url,
            "engines": self.case.engines,
            "careful": self.side == "ray.data.llm, careful",
            "timeout_s": HANGS_FOR_S,
        }
        return ["jobs/benchmarks/raydata_job.py", json.dumps(told)]

    def found(self) -> tuple[int, int]:
        """How many documents have an answer, and how many are told of as failed."""
        if self.ours:
            path = self.output / "manifest.json"
            counts = json.loads(path.read_text())["counts"] if path.exists() else None
            return (counts["documents"] - counts["dead_documents"], counts["dead_documents"]) if counts else (0, 0)
        tables = [pq.read_table(path) for path in self.output.glob("*.parquet")]
        found = {row["document_id"]: row for each in tables for row in each.to_pylist()}
        failed = sum(row["reply"] is None for row in found.values())
        return len(found) - failed, failed

    def twice(self) -> int:
        """Requests for what was asked before, beside those that were refused at once and this project's test
        requests, of which the first one is the first request."""
        asked = [event for event in self.events() if event["event"] == "request"]
        refused = {(e["pid"], e["id"]) for e in self.events() if e["event"] == "answer" and e["status"] == 429}
        paid = Counter(event["sha"] for event in asked if (event["pid"], event["id"]) not in refused)
        if self.ours and asked:
            del paid[asked[0]["sha"]]
        return sum(paid.values()) - len(paid)


def last_error(log: str) -> str:
    """The last line of a log that tells of an error, cut to a readable length."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    told = [line for line in lines if ERROR.match(line)] or lines or ["nothing said"]
    return told[-1].replace("|", "/")[:SHOWN]


def _kill_driver(_: Trial, process: "subprocess.Popen[bytes]") -> None:
    process.kill()


def _kill_engine(trial: Trial, _: "subprocess.Popen[bytes]") -> None:
    pids = Counter(event["pid"] for event in trial.events() if event["event"] == "answer")
    psutil.Process(pids.most_common(1)[0][0]).kill()


CASES = (
    Case(
        "engine",
        "ray#59522",
        f"one of {ENGINES} engines dies after {KILLED_AFTER} answers",
        engines=ENGINES,
        strike=_kill_engine,
    ),
    Case("row", "ray#59194", "the server refuses one document (HTTP 400: too long)", odd="[[fault:400]]"),
    Case("pool", "ray#59144", f"a pool of up to {ENGINES} engines, and a GPU for each", engines=ENGINES),
    Case(
        "killed",
        "ray#55008",
        f"the driver is killed after {KILLED_AFTER} answers, and run again",
        strike=_kill_driver,
        again=True,
    ),
    Case("throttled", "HTTP 429", "the server takes 60 requests in 10 s", flags=("--requests-per-10-s", "60")),
    Case("hang", "ray#59986", "one document never gets an answer", odd="[[fault:hang]]"),
)


def outcomes_table(rows: Sequence[tuple[Case, Side, Outcome]]) -> str:
    """The outcomes in Markdown."""
    lines = [
        "| failure | side | answered | told of as failed | lost | asked twice | servers | how it ends | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    last = None
    for case, side, one in rows:
        about = f"{case.told} ({case.issue})" if case is not last else ""
        last = case
        numbers = (one.answered, one.failed, one.lost, one.twice, one.servers)
        cells = [about, side, *map(str, numbers), one.ends, f"{one.seconds:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(rows: Sequence[tuple[Case, Side, Outcome]], documents: int, patience: int) -> str:
    """docs/peers.md."""
    versions = {name: version_of(name) for name in ("company-profiles", "ray", "aiohttp", "openai")}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    day, python = datetime.datetime.now(datetime.UTC).date(), ".".join(map(str, sys.version_info[:3]))
    return PAGE_TEXT.format(
        table=outcomes_table(rows),
        versions=f"{told}, Python {python}, {os.cpu_count()} cores, {day}",
        documents=documents,
        patience=patience,
        at_a_time=AT_A_TIME,
        latency=LATENCY_S,
        timeout=HANGS_FOR_S,
    )


PAGE_TEXT = """# Beside ray.data.llm

<!-- Written by `python jobs/benchmark.py peers`; changes here are lost. -->

What becomes of {documents} documents when something fails that users of ray.data.llm report: this project
beside it, on the same Ray, with the same servers. Ray Data does the work of both. Measured: {versions}.

{table}

```sh
python jobs/benchmark.py peers
python jobs/benchmark.py peers --case hang
```

- **answered** documents stand in the output when all is over; **told of as failed** are dead letters, or rows
  with an error; **lost** are the others. **asked twice** are requests for what a server had been asked before,
  refusals with HTTP 429 apart. **servers** that gave answers, those that were started anew among them.
- `ray.data.llm` is its HTTP processor as its documentation shows it. `careful` is the same with all that its
  settings and a few lines can do: `max_retries=5`, a `session_factory` with a timeout of {timeout:g} s, replies
  that are no answers kept as rows, and Ray Data's checkpoints by document
  ([its program](../jobs/benchmarks/raydata_job.py)). With engines it is the SGLang
  processor, `concurrency` as its documentation has it.
- Servers are fakes that answer after {latency:g} s, {at_a_time} at a time; SGLang's engine is a stand-in that,
  as SGLang's, takes its process along when it dies. This project gave a request {timeout:g} s and two attempts.
  A run that is not done after {patience} s is ended and called stuck.
- Seconds are of one run each on a Ray that was up, without what a model costs: they compare orders, not speeds.

## What ray.data.llm does better

- It is a library: any prompt, any row, any sink of Ray Data, in ten lines and in the middle of a pipeline. This
  project extracts one record a document, with a ledger, and publishes it.
- It starts no server of its own for an engine: vLLM's and SGLang's run in the actor, with their Python
  settings, over several nodes too. `should_continue_on_error` of its vLLM processor, which needs a GPU and was
  not run here, keeps a bad row from ending a run.
"""
