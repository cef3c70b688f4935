"""Jobs on Ray's own autoscaler, both versions of it, over a cloud that is this machine: nodes come because servers
wait for them, are taken away in the midst, and go when they are idle."""

from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from ray.core.generated.autoscaler_pb2 import AutoscalingState

from jobs.stages import ray_cluster
from tests.fakes.process import events, requests_of
from tests.jobs.helpers import census, owned, row, write
from tests.jobs.interrupting import PATIENCE_S as WAIT_S
from tests.jobs.interrupting import wait_for
from tests.jobs.nodes import AutoscalingCluster, running
from tests.jobs.test_nodes import answered_by

pytestmark = pytest.mark.autoscaling

DOCUMENTS = 100


def node_type(vram_gib: int, most: int, **more: Any) -> dict[str, Any]:
    """A type of nodes with a GPU and no cores."""
    return {
        "resources": {"CPU": 0, "GPU": 1},
        "labels": {"extract/vram-gb": str(vram_gib)},
        "min_workers": 0,
        "max_workers": most,
        "node_config": {"environment": {"FAKE_VRAM_GIB": str(vram_gib - 0.5)}, **more},
    }


def under_way(journal: Path) -> dict[str, int]:
    """The server of each chunk that is asked and not answered."""
    asked = {event["sha"]: event["pid"] for event in events(journal) if event["event"] == "request"}
    return {sha: asked[sha] for sha in asked.keys() - {e["sha"] for e in events(journal) if e["event"] == "answer"}}


LARGE = "79.5"
TYPES = {"small": node_type(24, 2), "large": node_type(80, 1), "never": node_type(141, 2, sold_out=True)}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nodes_come_are_taken_away_and_go(version: Literal["v1", "v2"], tmp_path: Path, model: Path) -> None:
    """Servers start with the rows of their nodes' memory. A node that is reclaimed costs no request. A type that
    never comes is told of and holds nothing up. Nodes go while the last chunks are worked on."""
    rows = [row(n, company=n // 2) for n in range(DOCUMENTS)]
    rows.append(row(DOCUMENTS, text="Tail Ltd. [[fault:delay=6]]"))  # short chunks are asked last
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "job.log"
    journal = tmp_path / "journal.jsonl"
    fake, own = ["--latency", "1", "--journal", str(journal)], {"sglang__vram_gib": None, "ledger__flush_s": 0.2}
    argv = owned(source, output, model, fake, **own)
    with running(AutoscalingCluster(tmp_path, version, TYPES)) as nodes:
        job = nodes.join(log, ["jobs/extract.py", *argv])
        # Whoever has answered is stopped, so that there is work left for the next, however long it takes to come.
        stopped: list[psutil.Process] = []

        def all_answered() -> bool:
            for pid in answered_by(journal).keys() - {process.pid for process in stopped}:
                stopped.append(psutil.Process(pid))
                stopped[-1].suspend()
            return len(answered_by(journal)) == 3

        wait_for(all_answered, job, log)
        stopped.sort(key=lambda process: process.environ()["FAKE_VRAM_GIB"] == LARGE)
        stopped.pop().resume()
        (large,) = [event["node"] for event in nodes.events() if event["type"] == "large"]
        nodes.drain(large)
        wait_for(lambda: "preempted" in log.read_text(), job, log)
        for process in stopped:
            process.resume()
        # One server is stopped with what it works on, whichever gets the last chunk: the others run out of work.
        wait_for(lambda: answered_by(journal).total() > DOCUMENTS - 40 and under_way(journal), job, log)
        last = psutil.Process(next(iter(under_way(journal).values())))
        last.suspend()
        idle = ("end", "small")  # one at least has nothing to do while the last chunks are worked on
        wait_for(lambda: idle in [(event["event"], event["type"]) for event in nodes.events()], job, log)
        last.resume()
        assert job.wait(WAIT_S) == 0, log.read_text()
        complaints = nodes.complaints() if version == "v2" else []
        started = {event["type"] for event in nodes.events()}

    census(output, {each["document_id"] for each in rows})
    said = log.read_text()
    assert started == {"small", "large"}
    assert "auto_24gb: Fake with 23.5 GiB seen" in said
    assert "auto_80gb: Fake with 79.5 GiB seen" in said
    assert "waiting for nodes" in said and "never" in said
    times = requests_of(journal)
    assert sorted(times.values())[-2:-1] == [1]  # all but the canary
    assert len(set(complaints)) <= 1  # of the question how many can come


def test_what_the_autoscalers_wait_for() -> None:
    state = AutoscalingState()
    state.pending_instances.add(ray_node_type_name="small")
    state.pending_instance_requests.add(ray_node_type_name="small", count=2)
    state.pending_instance_requests.add(ray_node_type_name="large", count=1)
    assert ray_cluster.pending_by_second(state) == {"small": 3, "large": 1}
    report = {"pending_launches": {"small": 2}, "pending_nodes": [["10.0.0.7", "large", "uninitialized"]]}
    assert ray_cluster.pending_by_first({"autoscaler_report": report}) == {"small": 2, "large": 1}
    assert not ray_cluster.pending_by_first({})


def test_without_an_autoscaler_all_are_possible_and_none_awaited(cluster: None) -> None:
    assert ray_cluster.schedulable_servers(7, 1, {}) == 7
    assert not ray_cluster.pending_nodes()
