"""The world in which faults happen: a Ray head, folders, documents, the job as a process, and the census."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from actors.canary import CANARY
from actors.servers.sglang import QUEUED_PER_RUNNING
from tests.conftest import ROOT, model_folder
from tests.fakes.process import FakeServer, events
from tests.jobs import helpers
from tests.jobs.nodes import RayCluster

T = TypeVar("T")
IN_FLIGHT = 4
LIMIT_S = 300
TEST_REQUEST = hashlib.sha256(CANARY.encode()).hexdigest()  # as journals know it
SITE = Path(__file__).with_name("site")
QUICK = {
    "ledger.flush_s": 0.05,
    "requests.backoff_s": 0.01,
    "requests.backoff_max_s": 0.5,
    "requests.deadline_s": 5,
    "max_dead_fraction": 1,
    "endpoint.concurrency": IN_FLIGHT,
}


class World:
    """A folder of its own for one fault, on a Ray cluster that all share; `env` is that of drivers."""

    def __init__(self, cluster: RayCluster, env: Mapping[str, str], seed: int) -> None:
        self.cluster, self.env, self.seed = cluster, env, seed
        self.random = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.output = self.folder / "out"
        self.source = self.folder / "in.parquet"
        self.ids: set[str] = set()
        self.notes: list[str] = []
        self.running: list[subprocess.Popen[str]] = []

    def documents(self, count: int, *, texts: dict[int, str] | None = None, per_company: int = 1) -> None:
        """Write the input: so many documents, some of them with texts of their own."""
        rows = [helpers.row(n, n // per_company, (texts or {}).get(n)) for n in range(count)]
        helpers.write(self.source, rows)
        self.ids = {row["document_id"] for row in rows}

    def command(self, engine: Sequence[str], *more: str, source: Any = None, output: Any = None) -> list[str]:
        """The job's command line."""
        paths = ["--input", str(source or self.source), "--output", str(output or self.output)]
        told = [part for key, value in QUICK.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        return [sys.executable, "jobs/extract.py", *paths, "--config", "configs/demo.yaml", *told, *engine, *more]

    def endpoint(self, server: FakeServer) -> list[str]:
        """Flags for a server that somebody else runs."""
        return ["--engine", "endpoint", "--endpoint", server.url, "--model", "fake"]

    def owned(self, *flags: str, **settings: Any) -> list[str]:
        """Flags for servers of the job's own: the fake one, spawned as SGLang is; they share a journal."""
        folder = self.folder / "house-model"
        if not folder.exists():
            model_folder(folder)
        fake = ["python", "-m", "tests.fakes.server", "--child", "--journal", str(self.journal), *flags]
        told = {"sglang.command": fake, "sglang.vram_gib": 79.6, "servers.start_timeout_s": 60,
                "sglang.flags.max_running_requests": IN_FLIGHT // QUEUED_PER_RUNNING, **settings}  # fmt: skip
        laid = [part for key, value in told.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        return ["--engine", "sglang", "--model", str(folder), *laid]

    @property
    def journal(self) -> Path:
        """Where the job's own servers write down what they are asked."""
        return self.folder / "journal.jsonl"

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start the job; its output goes to files of its own."""
        name = self.folder / f"job-{len(self.running)}"
        env = {**self.env, "RAY_ADDRESS": f"127.0.0.1:{self.cluster.port}"}
        with name.with_suffix(".err").open("w") as told, name.with_suffix(".out").open("w") as out:
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=out, stderr=told, text=True, start_new_session=True
            )
        self.running.append(process)
        return process

    def told(self, process: subprocess.Popen[str]) -> str:
        """What a job has said so far."""
        return (self.folder / f"job-{self.running.index(process)}.err").read_text(errors="replace")

    def run(self, command: Sequence[str], exits: int = 0) -> str:
        """Run the job to its end, which has to be that one; what it said."""
        process = self.start(command)
        status = self.end_of(process)
        said = self.told(process)
        assert status == exits, f"exit {status} instead of {exits}: {said[-3000:]}\n{shlex.join(command)}"
        return said

    def end_of(self, process: subprocess.Popen[str], limit_s: float = LIMIT_S) -> int:
        """Wait for a job's end; its exit status."""
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill(process)
            raise AssertionError(f"not ended after {limit_s} s: {self.told(process)[-3000:]}") from None

    def wait_for(self, condition: Callable[[], T], process: subprocess.Popen[str] | None = None) -> T:
        """Wait until something is there, while a job runs; what that is."""
        end = time.monotonic() + LIMIT_S
        while not (found := condition()):
            ended = process and process.poll() is not None
            assert not ended, f"the job ended early: {process and self.told(process)[-3000:]}"
            assert time.monotonic() < end, "waited too long"
            time.sleep(0.02)
        return found

    def kill(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the driver, and wait for its end where that is one."""
        process.send_signal(number)
        if number != signal.SIGSTOP:
            process.wait(LIMIT_S)

    def servers(self) -> set[int]:
        """The servers of the jobs' own that run: they all write to this world's journal."""
        found = set()
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            ours = words[1:3] == ["-m", "tests.fakes.server"] and str(self.journal) in words
            if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        return found

    def answered(self) -> int:
        """How many answers the job's own servers have sent."""
        return sum(entry["event"] == "answer" for entry in events(self.journal))

    def census(self, *, output: Path | None = None) -> None:
        """All documents are in one state, the files are what the manifest says, nothing is left behind."""
        helpers.census(output or self.output, self.ids)
        left = [psutil.Process(pid) for pid in self.servers() if psutil.pid_exists(pid)]
        _, alive = psutil.wait_procs(left, timeout=30)
        assert not alive, f"left behind: {[process.cmdline() for process in alive]}"

    def dead(self) -> dict[str | None, str]:
        """Dead letters: the fault of each document."""
        return {row["document_id"]: row["fault"] for row in helpers.rows_of(self.output, "dead_letters")}

    def asked_twice(self, journal: Path | None = None) -> int:
        """How many whole answers were sent for chunks that had one already; test requests are left out."""
        whole = (e for e in events(journal or self.journal) if e["event"] == "answer" and e["status"] == 200)
        shas = Counter(entry["sha"] for entry in whole)
        return sum(count - 1 for sha, count in shas.items() if sha != TEST_REQUEST)

    def note(self, text: str) -> None:
        """Something for the last column of the table."""
        self.notes.append(text)

    def close(self) -> None:
        """End what is still running, and remove the folder."""
        for process in self.running:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                process.wait()
        subprocess.run(["rm", "-rf", str(self.folder)], check=False)
