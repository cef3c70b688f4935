"""What becomes of a run when something fails: this project beside ray.data.llm, on failures that its users report.

Both get the same documents and the same faulty servers, on one Ray that has GPUs by name only. Of ray.data.llm the
HTTP processor is run as its documentation has it, and with all that its settings and Ray Data's checkpoints can do
(`raydata_job.py`); engines are stand-ins that die as SGLang's do.

    python -m tests.chaos.peers               all cases; writes the table of docs/peers.md
    python -m tests.chaos.peers --case hang   one of them, to the screen
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psutil
import pyarrow.parquet as pq

from docs.generate import DOCS, with_tables
from jobs.stages.engines import version_of
from tests.chaos.world import TEST_REQUEST, World
from tests.fakes.process import ROOT, FakeServer, events
from tests.jobs import helpers
from tests.jobs.interrupting import kill_family
from tests.jobs.nodes import ENVIRONMENT, RayCluster, running

PAGE = DOCS / "peers.md"
Side = Literal["company-profiles", "ray.data.llm", "ray.data.llm, careful"]
AT_A_TIME = 8
FLAGS = ("--latency", "0.2", "--max-running-requests", str(AT_A_TIME))  # of each server
HANGS_FOR_S = 10.0  # what a request may take, for those that can be told so
ENGINES = 4
KILLED_AFTER = 24  # answers
SHOWN = 160  # characters of an error
ERROR = re.compile(r"(?:[\w.]+\.)?(?:\w*(?:Error|Exception)|error)\b.*: ")
HEAD = "failure | side | answered | told of as failed | lost | asked twice | servers | how it ends | seconds"


@dataclass(frozen=True)
class Case:
    """A failure, as `issue` tells of it. `flags` are the faulty server's, `odd` is the text of one document;
    `engines` are owned by the run instead. `strike` is called with the run's process after some answers, and the
    run is started `again` after its end."""

    name: str
    issue: str
    told: str
    flags: Sequence[str] = ()
    odd: str = ""
    engines: int = 0
    strike: Callable[[World, "subprocess.Popen[str]"], None] | None = None
    again: bool = False

    @property
    def sides(self) -> tuple[Side, ...]:
        """Who is tried: an engine's processor has no settings that would help."""
        every: tuple[Side, ...] = get_args(Side)
        return every[:2] if self.engines else every


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
    seconds: int


def main() -> int:
    """Run the cases on all sides."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--case", action="append", choices=[case.name for case in CASES], help="default: all")
    flags.add_argument("--documents", type=int, default=100, metavar="N")
    flags.add_argument("--patience", type=int, default=120, metavar="S", help="then a run counts as stuck")
    asked = flags.parse_args()
    rows: list[tuple[Case, Side, Outcome]] = []
    more = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "fakes" / "engines")))}
    with tempfile.TemporaryDirectory() as logs, running(RayCluster(Path(logs))) as cluster:
        cluster.add(cpus=6, gpus=ENGINES, **more).wait()
        for case in CASES:
            for side in case.sides if case.name in (asked.case or [case.name]) else ():
                world = World(cluster, ENVIRONMENT | more, seed=0)
                with contextlib.closing(world):
                    rows.append((case, side, outcome(world, case, side, asked.documents, asked.patience)))
                print(f"{case.name:<10} {side:<22} {rows[-1][2]}", flush=True)
    if asked.case:
        print(outcomes_table(rows))
        return 0
    versions = ", ".join(f"{name} {version_of(name)}" for name in ("company-profiles", "ray", "aiohttp", "openai"))
    python, day = ".".join(map(str, sys.version_info[:3])), datetime.datetime.now(datetime.UTC).date()
    measured = f"{versions}, Python {python}, {os.cpu_count()} cores, {day}"
    told = f"{asked.documents} documents, {asked.patience} s of patience; {measured}.\n\n{outcomes_table(rows)}\n"
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), {"outcomes": told}), "utf-8")
    return 0


def outcome(world: World, case: Case, side: Side, documents: int, patience_s: float) -> Outcome:
    """One case on one side, to its end or until patience is over."""
    odd = documents // 2
    world.documents(documents, texts={odd: f"{helpers.row(odd)['text']} {case.odd}"})
    with serving(world, case) as url:
        command = command_of(world, case, side, url)
        began = time.monotonic()
        ends = end_of(world, command, case.strike, patience_s)
        if case.again:
            ends = f"{ends}; again: {end_of(world, command, None, patience_s)}"
        seconds = round(time.monotonic() - began)
    answered, failed = found(world.output)
    journal = events(world.journal)
    servers = len({event["pid"] for event in journal if event["event"] == "answer"})
    return Outcome(answered, failed, documents - answered - failed, twice(journal), servers, ends, seconds)


@contextlib.contextmanager
def serving(world: World, case: Case) -> Iterator[str]:
    """The URL of the faulty server; none where the run owns engines."""
    if case.engines:
        yield ""
        return
    with FakeServer(*FLAGS, *case.flags, journal=world.journal) as server:
        yield server.url


def command_of(world: World, case: Case, side: Side, url: str) -> list[str]:
    """The command line of a side's program."""
    if side != "company-profiles":
        told = {
            "input": str(world.source),
            "output": str(world.output),
            "url": url,
            "engines": case.engines,
            "fake_flags": " ".join([*FLAGS, "--journal", str(world.journal)]),
            "careful": side == "ray.data.llm, careful",
            "timeout_s": HANGS_FOR_S,
        }
        return [sys.executable, "-m", "tests.chaos.raydata_job", json.dumps(told)]
    settings = {"ledger.flush_s": 0.5, "requests.deadline_s": HANGS_FOR_S, "requests.attempts": 2}
    settings |= {"requests.backoff_s": 0.5, "requests.backoff_max_s": 60, "endpoint.concurrency": AT_A_TIME}
    laid = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    if case.engines:
        owned = {"servers.max_servers": case.engines, "sglang.flags.max_running_requests": AT_A_TIME}
        return world.command(world.owned(*FLAGS, **owned), *laid)
    return world.command(["--engine", "endpoint", "--endpoint", url, "--model", "fake"], *laid)


def end_of(
    world: World,
    command: Sequence[str],
    strike: Callable[[World, "subprocess.Popen[str]"], None] | None,
    patience_s: float,
) -> str:
    """Run a program; how it ended."""
    process = world.start(command)
    if strike:
        world.wait_for(lambda: world.answered() >= KILLED_AFTER or process.poll() is not None)
        strike(world, process)
    try:
        status = process.wait(patience_s)
    except subprocess.TimeoutExpired:
        kill_family(process.pid)
        return f"stuck: not done after {patience_s:g} s"
    if status == -signal.SIGKILL:
        return "killed"
    return f"exit {status}" + (f": {last_error(world.told(process))}" if status else "")


def found(output: Path) -> tuple[int, int]:
    """How many documents have an answer, and how many are told of as failed."""
    if (output / "manifest.json").exists():
        counts = helpers.manifest(output)["counts"]
        return counts["documents"] - counts["dead_documents"], counts["dead_documents"]
    tables = [pq.read_table(path) for path in output.glob("*.parquet")]
    replies = {row["document_id"]: row["reply"] for each in tables for row in each.to_pylist()}
    failed = sum(reply is None for reply in replies.values())
    return len(replies) - failed, failed


def twice(events: Sequence[dict[str, Any]]) -> int:
    """Requests for what was asked before, beside those that were refused at once and test requests."""
    refused = {(e["pid"], e["id"]) for e in events if e["event"] == "answer" and e["status"] == 429}
    asked = (e for e in events if e["event"] == "request" and e["sha"] != TEST_REQUEST)
    paid = Counter(e["sha"] for e in asked if (e["pid"], e["id"]) not in refused)
    return paid.total() - len(paid)


def last_error(log: str) -> str:
    """The last line of a log that tells of an error, cut to a readable length."""
    lines = [" ".join(line.split()) for line in log.splitlines() if line.strip()]
    told = [line for line in lines if ERROR.match(line)] or lines or ["nothing said"]
    return told[-1].replace("|", "/")[:SHOWN]


def outcomes_table(rows: Sequence[tuple[Case, Side, Outcome]]) -> str:
    """The outcomes in Markdown."""
    lines = [f"| {HEAD} |", "|---" * len(HEAD.split("|")) + "|"]
    for case, side, one in rows:
        about = f"{case.told} ({case.issue})" if side == case.sides[0] else ""
        lines.append(f"| {' | '.join([about, side, *map(str, vars(one).values())])} |")
    return "\n".join(lines)


def _kill_driver(_: World, process: "subprocess.Popen[str]") -> None:
    process.kill()


def _kill_engine(world: World, _: "subprocess.Popen[str]") -> None:
    pids = Counter(event["pid"] for event in events(world.journal) if event["event"] == "answer")
    psutil.Process(pids.most_common(1)[0][0]).kill()


CASES = (
    Case("row", "ray#59194", "the server refuses one document (HTTP 400: too long)", odd="[[fault:400]]"),
    Case(
        "killed",
        "ray#55008",
        f"the driver is killed after {KILLED_AFTER} answers, and run again",
        strike=_kill_driver,
        again=True,
    ),
    Case("throttled", "HTTP 429", "the server takes 20 requests in 10 s", flags=("--requests-per-10-s", "20")),
    Case(
        "engine",
        "ray#59522",
        f"one of {ENGINES} engines dies after {KILLED_AFTER} answers",
        engines=ENGINES,
        strike=_kill_engine,
    ),
    Case("pool", "ray#59144", f"a pool of up to {ENGINES} engines, and a GPU for each", engines=ENGINES),
    Case("hang", "ray#59986", "one document never gets an answer", odd="[[fault:hang]]"),
)


if __name__ == "__main__":
    sys.exit(main())
