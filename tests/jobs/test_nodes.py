"""Jobs submitted to a Ray of several nodes, which come, are taken away, and die while they run."""

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

from actors.metrics import METRICS
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


def test_a_worker_dies_midway(nodes: RayCluster, tmp_path: Path) -> None:
    rows = [row(n, company=n // 2) for n in range(120)]
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "job.log"
    nodes.add(cpus=3).wait()
    with FakeServer("--latency", "0.4", "--max-running-requests", "16") as server:
        two = ["--set", "servers.min_servers=2", "--set", "servers.max_servers=2"]
        argv = arguments(source, output, server.url, "--set", f"endpoint.concurrency={IN_FLIGHT}", *two)
        job = nodes.submit(log, ["python", "jobs/extract.py", *argv])
        wait_for(lambda: len(held(output)) >= 20, job, log)
        at_work = int(list(held(output).values())[-1].split(":")[1])
        (lost,) = [each for each in nodes.workers if at_work in {member.pid for member in each.family()}]
        lost.kill()
        nodes.workers.remove(lost)
        before = len(held(output))
        assert job.wait(WAIT_S) == 0, log.read_text()
        asked = requests_of(server.journal_path)
    census(output, {r["document_id"] for r in rows})
    assert manifest(output)["counts"]["chunks_answered"] == len(rows) > before
    # Beside canaries: what the lost actor had under way, or had been answered and had not written down.
    repeated = sum(count - 1 for count in asked.values()) - (max(asked.values()) - 1)
    assert repeated <= 2 * IN_FLIGHT


def test_a_job_that_is_stopped_ends_as_by_a_signal(nodes: RayCluster, tmp_path: Path) -> None:
    """It gives the lease back, says so, and publishes nothing; the next one asks for the rest, as attempt two."""
    rows = [row(n) for n in range(40)]
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "job.log"
    with FakeServer("--latency", "1") as server:
        argv = arguments(source, output, server.url, "--set", f"endpoint.concurrency={IN_FLIGHT}")
        job = nodes.submit(log, ["python", "jobs/extract.py", *argv])
        wait_for(lambda: len(held(output)) >= 4, job, log)
        holder = json.loads((output / "work" / "lease.json").read_text())
        stopped = nodes.ray("job", "stop", "--address", nodes.url, holder["job"])
        assert stopped.returncode == 0, stopped.stderr
        job.wait(WAIT_S)  # with 0: Ray tells a stop by its status alone
        assert "interrupted: what was answered is in the ledger" in log.read_text()
        assert not (output / "work" / "lease.json").exists()
        assert not (output / "manifest.json").exists()
        assert nodes.submit(log, ["python", "jobs/extract.py", "--wait", *argv]).wait(WAIT_S) == 0, log.read_text()
        asked = requests_of(server.journal_path)
    assert manifest(output)["attempt"] == 2
    repeated = sum(count - 1 for count in asked.values()) - (max(asked.values()) - 1)
    assert repeated <= 2 * IN_FLIGHT


def answered_by(journal: Path) -> Counter[int]:
    """How much each fake server answered, by its pid."""
    return Counter(event["pid"] for event in events(journal) if event["event"] == "answer")


def gpu_node(nodes: RayCluster, label: int, vram_gib: float) -> Node:
    """Start a worker with a GPU of that memory and no cores."""
    path = f"{ROOT}/tests/fakes/nvml:{ROOT}"
    node = nodes.add(gpus=1, labels=f"extract/vram-gb={label}", FAKE_VRAM_GIB=str(vram_gib), PYTHONPATH=path)
    node.wait()
    return node


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
    job = nodes.submit(log, ["python", "jobs/extract.py", *argv])

    gpu_node(nodes, 16, 15.5)
    small = gpu_node(nodes, 24, 23.5)
    wait_for(lambda: answered_by(journal).total() > 10, job, log)
    (first,) = answered_by(journal)
    psutil.Process(first).suspend()  # so that there is work left for the next, however long it takes to come
    large = gpu_node(nodes, 80, 79.6)
    wait_for(lambda: answered_by(journal).total() - answered_by(journal)[first] > 10, job, log)
    large.terminate()
    wait_for(lambda: large.process.poll() is not None, job, log)

    answered = {event["sha"] for event in events(journal) if event["event"] == "answer"}
    asked = {event["sha"] for event in events(journal) if event["event"] == "request"}
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: exported(small) == {metric.exported for metric in METRICS}, job, log)
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


def test_a_node_tells_the_memory_of_its_gpu(nodes: RayCluster, tmp_path: Path) -> None:
    gpu_node(nodes, 24, 23.5)
    told = "import ray; ray.init(); from jobs.stages import ray_cluster as c; print(c.gpu_memory_gib())"
    log = tmp_path / "job.log"
    assert nodes.submit(log, ["python", "-c", told]).wait(WAIT_S) == 0, log.read_text()
    assert "23.5" in log.read_text().splitlines()


def submitting(nodes: RayCluster, name: str, *command: str) -> "subprocess.Popen[str]":
    """Start jobs/submit.py."""
    words = [sys.executable, "jobs/submit.py", "--address", nodes.url, "--name", name, "--", *command]
    return subprocess.Popen(
        words, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_exit_codes_come_through(nodes: RayCluster, tmp_path: Path) -> None:
    """submit.py ends as the job did; rayjob.py stops a job that no retry can cure; a name is one job."""
    mistake = ["jobs/extract.py", "--input", str(tmp_path / "nothing"), "--output", str(tmp_path / "out")]
    mistake += ["--engine", "endpoint", "--endpoint", "http://127.0.0.1:9/v1", "--model", "fake"]
    once = f"import pathlib, time; time.sleep(20); pathlib.Path({str(tmp_path)!r}, str(time.time())).touch()"
    begun = {
        "mistake": submitting(nodes, "mistake", "python", *mistake),
        "stopped": submitting(nodes, "stopped", "python", "jobs/rayjob.py", *mistake),
        "once": submitting(nodes, "once", "python", "-c", once),
    }
    first = begun["once"].stdout
    assert first
    assert "once-1" in first.readline()
    begun["twice"] = submitting(nodes, "once", "python", "-c", once)
    said = {name: process.communicate(timeout=WAIT_S)[0] for name, process in begun.items()}
    codes = {name: process.returncode for name, process in begun.items()}
    assert codes == {"mistake": 2, "stopped": 1, "once": 0, "twice": 0}, said
    assert "mistake-1 failed" in said["mistake"]
    assert "nothing" in said["mistake"]
    assert "stopped-1 stopped" in said["stopped"]
    assert "once-1 succeeded" in said["twice"]
    assert len(list(tmp_path.glob("1*"))) == 1


def test_a_token_is_asked_for(nodes: RayCluster) -> None:
    command = [sys.executable, "jobs/submit.py", "--address", nodes.url, "--name", "x", "--", "true"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "RAY_AUTH_TOKEN" in done.stderr) == (2, True)


def test_rayjob_passes_other_codes_on() -> None:
    for code in (1, 2):
        command = [sys.executable, "jobs/rayjob.py", "-c", f"raise SystemExit({code})"]
        assert subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=False).returncode == code
