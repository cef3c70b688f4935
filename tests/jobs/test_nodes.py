"""Jobs submitted to a Ray of several nodes, which come, are taken away, and die while they run."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from actors.metrics import METRICS, RESTARTS
from jobs import rayjob, submit
from tests.chaos.__main__ import trial
from tests.chaos.kinds import KINDS
from tests.chaos.world import World
from tests.conftest import ROOT
from tests.fakes.process import FakeServer, events, requests_of
from tests.jobs.helpers import arguments, census, held, manifest, owned, row, write
from tests.jobs.interrupting import PATIENCE_S as WAIT_S
from tests.jobs.interrupting import wait_for
from tests.jobs.nodes import ENVIRONMENT, Node, RayCluster, running

IN_FLIGHT = 4


@pytest.fixture(scope="module", name="nodes")
def fixture_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A head, and one worker with cores."""
    with running(RayCluster(tmp_path_factory.mktemp("ray"))) as cluster:
        # Cores for two actors and for what feeds them: one node has to do when the other is lost.
        cluster.add(cpus=3).wait()
        yield cluster


def test_a_job_is_stopped_and_a_worker_of_the_next_one_dies(nodes: RayCluster, tmp_path: Path) -> None:
    """The one that is stopped gives the lease back, says so, and publishes nothing; the next one asks for the rest,
    as attempt two, and goes on without the node that it loses."""
    rows = [row(n, company=n // 2) for n in range(70)]
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "job.log"
    second = nodes.add(cpus=3)
    with FakeServer("--latency", "0.8", "--max-running-requests", "16") as server:
        argv = arguments(source, output, server.url, "--set", f"endpoint.concurrency={IN_FLIGHT}")
        job = nodes.submit(log, ["python", "jobs/extract.py", *argv])
        wait_for(lambda: len(held(output)) >= 4, job, log)
        nodes.stop_job(json.loads((output / "work" / "lease.json").read_text())["job"])
        job.wait(WAIT_S)  # with 0: Ray tells a stop by its status alone
        assert "interrupted: what was answered is in the ledger" in log.read_text()
        assert not (output / "work" / "lease.json").exists()
        assert not (output / "manifest.json").exists()
        second.wait()
        before, log = held(output), tmp_path / "next.log"
        two = ["--set", "servers.min_servers=2", "--set", "servers.max_servers=2"]
        job = nodes.join(log, ["jobs/extract.py", "--wait", *argv, *two])
        wait_for(lambda: len(held(output)) >= len(before) + 16, job, log)
        at_work = {int(each.split(":")[1]) for chunk, each in held(output).items() if chunk not in before}
        lost = next(each for each in nodes.workers if at_work & {member.pid for member in each.family()})
        lost.kill()
        nodes.workers.remove(lost)
        left = len(rows) - len(held(output))
        assert job.wait(WAIT_S) == 0, log.read_text()
        asked = requests_of(server.journal_path)
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["attempt"] == 2
    assert manifest(output)["counts"]["chunks_answered"] == len(rows)
    assert left > 0
    # Beside canaries, twice: what an actor had under way, or had been answered and had not written down.
    repeated = sum(count - 1 for count in asked.values()) - (max(asked.values()) - 1)
    assert repeated <= 2 * 2 * IN_FLIGHT


def answered_by(journal: Path) -> Counter[int]:
    """How much each fake server answered, by its pid."""
    return Counter(event["pid"] for event in events(journal) if event["event"] == "answer")


def gpu_node(nodes: RayCluster, label: int, vram_gib: float) -> Node:
    """Start a worker with a GPU of that memory and no cores."""
    path = f"{ROOT}/tests/fakes/nvml:{ROOT}"
    return nodes.add(gpus=1, labels=f"extract/vram-gb={label}", FAKE_VRAM_GIB=str(vram_gib), PYTHONPATH=path)


def exported(node: Node) -> set[str]:
    """The project's metrics that a node exports."""
    return {line.split("{")[0] for line in node.metrics().splitlines() if line.startswith("ray_extract_")}


def test_gpu_nodes_come_and_go(nodes: RayCluster, tmp_path: Path, model: Path) -> None:
    """From no GPU node at all: servers start where nodes join, each with the row of its memory; a node of another
    label gets none; one that is taken away drains; a server that dies is started again."""
    rows, journal = [row(n, company=n // 2) for n in range(160)], tmp_path / "journal.jsonl"
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "job.log"
    labels = {"extract/vram-gb": "in(24,80)"}
    fake, own = ["--latency", "0.5", "--journal", str(journal)], {"sglang__vram_gib": None, "ledger__flush_s": 0.2}
    argv = owned(source, output, model, fake, servers__labels=labels, **own)
    job = nodes.join(log, ["jobs/extract.py", *argv])

    unfit, small = gpu_node(nodes, 16, 15.5), gpu_node(nodes, 24, 23.5)
    unfit.wait()
    small.wait()
    wait_for(lambda: answered_by(journal).total() > 10, job, log)
    (first,) = answered_by(journal)
    psutil.Process(first).suspend()  # so that there is work left for the next, however long it takes to come
    large = gpu_node(nodes, 80, 79.6)
    large.wait()
    wait_for(lambda: answered_by(journal).total() - answered_by(journal)[first] > 10, job, log)
    # As long as the first is stopped the job goes on. Of restarts there are none yet to tell of.
    wait_for(lambda: exported(large) == {each.exported for each in METRICS if each is not RESTARTS}, job, log)
    large.terminate()
    wait_for(lambda: large.process.poll() is not None, job, log)

    answered = {event["sha"] for event in events(journal) if event["event"] == "answer"}
    asked = {event["sha"] for event in events(journal) if event["event"] == "request"}
    known = answered_by(journal).keys()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: answered_by(journal).keys() - known, job, log)
    (restarted,) = map(psutil.Process, answered_by(journal).keys() - known)
    restarted.suspend()  # the job goes on until its metrics are there
    wait_for(lambda: RESTARTS.exported in exported(small), job, log)
    restarted.resume()
    assert job.wait(WAIT_S) == 0, log.read_text()

    census(output, {r["document_id"] for r in rows})
    said = log.read_text()
    assert "auto_24gb: Fake with 23.5 GiB seen" in said
    assert "auto_80gb: Fake with 79.6 GiB seen" in said
    assert "auto_16gb" not in said
    times = requests_of(journal)
    (canary,) = [sha for sha, count in times.items() if count == max(times.values()) and sha in answered]
    again = {sha for sha, count in times.items() if count > 1} - {canary}
    assert again <= asked - answered  # the dead server's; the node that drained cost none

    told = "import ray; ray.init(); from jobs.stages import ray_cluster as c; print(c.gpu_memory_gib())"
    assert nodes.join(log, ["-c", told]).wait(WAIT_S) == 0, log.read_text()
    assert "23.5" in log.read_text().splitlines()  # of the nodes that are left, the largest
    unfit.kill()
    small.kill()


def test_a_quick_kind_of_chaos_is_clean(nodes: RayCluster, tmp_path: Path) -> None:
    """So that `make chaos` runs when it is wanted."""
    (quick,) = (each for each in KINDS if "files cut off" in each.name)
    told = io.StringIO()
    assert trial(World(nodes, ENVIRONMENT, seed=1), quick, Console(file=told))["census"] == "clean", told.getvalue()


def submitting(nodes: RayCluster, name: str, *command: str) -> "subprocess.Popen[str]":
    """Start jobs/submit.py."""
    words = [sys.executable, "jobs/submit.py", "--address", nodes.url, "--name", name, "--", *command]
    return subprocess.Popen(
        words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def require_line(process: "subprocess.Popen[str]", words: str) -> None:
    """The first line that it prints has to hold some words."""
    assert process.stdout and words in process.stdout.readline()


def test_exit_codes_come_through(nodes: RayCluster, tmp_path: Path) -> None:
    """submit.py ends as the job did; rayjob.py stops a job that no retry can cure; a name is one job."""
    waits = f"import os, time; os.chdir({str(tmp_path)!r}); open(f'begun-{{time.time()}}', 'w').close()\n"
    waits += "while not os.path.exists('go'): time.sleep(0.1)\n"
    mistake = ["-c", f"{waits}print('no such input')\nraise SystemExit(2)"]
    begun = {
        "mistake": submitting(nodes, "mistake", "python", *mistake),
        "stopped": submitting(nodes, "stopped", "python", "jobs/rayjob.py", *mistake),
    }
    require_line(begun["stopped"], "stopped-1")
    begun["again"] = submitting(nodes, "stopped", "true")
    require_line(begun["again"], "stopped-1")  # it follows the job that is under way
    (tmp_path / "go").touch()
    said = {name: process.communicate(timeout=WAIT_S)[0] for name, process in begun.items()}
    codes = {name: process.returncode for name, process in begun.items()}
    assert codes == {"mistake": 2, "stopped": 1, "again": 1}, said
    assert "mistake-1 failed" in said["mistake"]
    assert "no such input" in said["mistake"]
    assert "stopped-1 stopped" in said["stopped"]
    assert "stopped-1 stopped" in said["again"]
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_a_token_is_asked_for(nodes: RayCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit.main(["--address", nodes.url, "--name", "x", "--", "true"]) == 2
    assert "RAY_AUTH_TOKEN" in capsys.readouterr().err


def test_rayjob_passes_other_codes_on() -> None:
    for code in (1, 2):  # 2, where it is no job of Ray's
        assert rayjob.main(["-c", f"raise SystemExit({code})"]) == code
