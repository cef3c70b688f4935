"""The job on SGLang servers that Ray actors own, with the fake server spawned in SGLang's place."""

import sys
from pathlib import Path

import psutil
import pytest

from jobs import extract
from jobs.state.run_record import read_run, read_servers, server_spans
from jobs.state.storage import Storage
from tests.fakes.process import eventually
from tests.jobs.helpers import census, manifest, owned, row, write


def fakes_running(model: Path) -> list[psutil.Process]:
    """The fake servers of a model, which no other test has."""
    running = psutil.process_iter(["cmdline"])
    return [p for p in running if {"tests.fakes.server", str(model)} <= set(p.info["cmdline"] or [])]


def test_two_servers_on_two_gpus_and_one_that_fails_to_start(tmp_path: Path, model: Path, cluster: None) -> None:
    """The one that fails is tried elsewhere."""
    rows = [row(n, company=n // 2) for n in range(60)]
    source = write(tmp_path / "in.parquet", rows)
    fake = f'{sys.executable} -m tests.fakes.server --latency 0.05 "$@"'
    once = f"mkdir {tmp_path}/failed 2>/dev/null && exit 1; exec {fake}"
    command = ["bash", "-c", once, "bash"]
    argv = owned(source, tmp_path / "out", model, [], sglang__command=command, servers__min_servers=2)
    assert extract.main(argv) == 0
    census(tmp_path / "out", {r["document_id"] for r in rows})
    assert (tmp_path / "failed").is_dir()
    assert manifest(tmp_path / "out")["versions"]["model"] == "house-model"
    storage, run_id = Storage(str(tmp_path / "out")), manifest(tmp_path / "out")["run_id"]
    assert len(list((Path("/tmp/company-profiles") / run_id).glob("sglang-*.log"))) >= 2
    _, alive = psutil.wait_procs(fakes_running(model), timeout=120)
    assert not alive
    servers, run = read_servers(storage, run_id), read_run(storage, run_id)
    # The one that failed and one that answered have written their ends; one that came too late is killed starting.
    assert eventually(lambda: sum(bool(end) for _, end in server_spans(storage, run_id).values()) >= 2, 120)
    assert run and run.server_hours and run.server_hours > sum(server.start_s for server in servers) / 3600


def test_a_scenario_that_does_not_exist(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.parquet", [row(0)])
    argv = ["--engine", "sglang", "--model", str(model), "--scenario", "fastest"]
    assert extract.main(["--input", str(source), "--output", str(tmp_path / "out"), *argv]) == 2
    assert "--scenario fastest: there are dev_16gb" in capsys.readouterr().err


def test_a_folder_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.parquet", [row(0)])
    argv = ["--engine", "sglang", "--model", str(tmp_path)]
    assert extract.main(["--input", str(source), "--output", str(tmp_path / "out"), *argv]) == 2
    assert "there is no tokenizer.json in that folder" in capsys.readouterr().err
