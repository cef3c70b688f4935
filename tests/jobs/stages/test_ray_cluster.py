"""Ray as the runs set it up."""

import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import ray
from ray.data import DataContext

from extraction.errors import RunError
from jobs.stages import ray_cluster
from tests.conftest import ROOT
from tests.fakes.process import FakeServer
from tests.jobs.helpers import OUR_LINES, arguments, row, write
from tests.jobs.interrupting import PATIENCE_S, joining, started, wait_for


def test_what_is_set_is_what_ray_data_has() -> None:
    """A setting that a new release renames would be set in vain, without a word."""
    context = DataContext.get_current()
    known = {field.name for field in fields(DataContext)}
    assert {"execution_no_progress_timeout_s", "max_consecutive_actor_init_deaths", "autoscaling_config"} <= known
    scaling = {field.name for field in fields(context.autoscaling_config)}
    assert "actor_pool_util_upscaling_threshold" in scaling
    ray_cluster._configure_data()
    assert context.execution_no_progress_timeout_s >= 12 * 3600
    ray_cluster.allow_failed_starts(1)
    assert context.max_consecutive_actor_init_deaths == 0
    ray_cluster.allow_failed_starts(2)
    assert context.max_consecutive_actor_init_deaths > 0


def test_a_ray_that_is_slow_to_start_is_started_again_without_what_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[subprocess.Popen[bytes]] = []

    def init(**_: object) -> None:
        if not left:
            left.append(subprocess.Popen(["sleep", "600"]))
            raise Exception("The current node timed out during startup. This could happen")

    monkeypatch.setattr(ray, "init", init)
    ray_cluster._init(address="local")
    assert left[0].wait(30) == -signal.SIGKILL


def test_a_ray_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def init(**more: object) -> None:
        starts.append(more["address"])
        raise Exception("The current node timed out during startup." if len(starts) < 3 else "no\nspace")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match="a Ray could not be started here: no space"):
        ray_cluster._init(address="local")
    assert starts == ["local"] * 3


def test_a_machines_gpus_are_seen_before_there_is_a_server() -> None:
    ask = "import os; from jobs.stages import ray_cluster as c; print(c.gpu_memory_gib())"
    told = [sys.executable, "-c", f"{ask}; os.environ['CUDA_VISIBLE_DEVICES'] = ''; print(c.gpu_memory_gib())"]
    seen = {**os.environ, "PYTHONPATH": f"{ROOT}/tests/fakes/nvml:{ROOT}", "FAKE_VRAM_GIB": "23.5"}
    seen.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(told, cwd=ROOT, env=seen, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["23.5", "None"]


def test_a_run_that_fails_in_an_actor_prints_our_lines_alone(tmp_path: Path, cluster: None) -> None:
    source = write(tmp_path / "in.parquet", [row(1)])
    with FakeServer(api_key="another") as server:
        command = [sys.executable, "jobs/extract.py", *arguments(source, tmp_path / "out", server.url)]
        environment = joining() | {"OPENAI_API_KEY": "none"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    first, *between, last = done.stderr.splitlines()
    assert first.startswith("plan ")
    assert all(line.startswith(OUR_LINES) for line in between)  # a machine may be slow
    assert last.startswith("error: ") and "refused the key" in last
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_run_that_is_asked_to_end_says_so_and_nothing_else(tmp_path: Path, cluster: None) -> None:
    source, log = write(tmp_path / "in.parquet", [row(1)]), tmp_path / "log"
    with (
        FakeServer("--latency", "900") as server,
        started(["jobs/extract.py", *arguments(source, tmp_path / "out", server.url)], log) as run,
    ):
        wait_for(lambda: server.stats()["requests"] > 0, run, log)
        run.terminate()
        assert run.wait(PATIENCE_S) == 1
    first, *between, last = log.read_text().splitlines()
    assert first.startswith("plan ") and last.startswith("interrupted: ")
    assert all(line.startswith(OUR_LINES) for line in between)
