"""A preempted actor finishes its requests in flight and writes their results; none of them is sent again."""

import json
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from jobs import extract
from tests.fakes.process import eventually, gone
from tests.jobs.helpers import census, row, write
from tests.jobs.test_sglang_job import model

__all__ = ["model"]  # a fixture

DOCUMENTS = 40
WAIT_S = 120


def events(journal: Path) -> list[dict[str, Any]]:
    """The journal of the fake servers so far."""
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


def test_a_sigterm_midway_costs_no_request_and_loses_nothing(tmp_path: Path, model: Path, cluster: None) -> None:
    rows, journal = [row(n, company=n // 2) for n in range(DOCUMENTS)], tmp_path / "journal.jsonl"
    source, pids = write(tmp_path / "in.parquet", rows), list[int]()
    fake = ["python", "-m", "tests.fakes.server", "--latency", "0.4", "--journal", str(journal)]
    settings = {"sglang.command": json.dumps(fake), "sglang.vram_gib": "79.6", "ledger.flush_s": "8"}
    settings |= {"sglang.flags.max_running_requests": "4", "servers.max_servers": "1"}

    def terminate_actor() -> None:
        """SIGTERM the actor once its server has answered some of them."""
        if eventually(lambda: sum(e["event"] == "answer" for e in events(journal)) > 10, WAIT_S):
            server = psutil.Process(events(journal)[-1]["pid"])
            actor = next(process for process in server.parents() if process.name().startswith("ray::"))
            pids.extend([actor.pid, server.pid])
            actor.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=terminate_actor)
    thread.start()
    argv = ["--engine", "sglang", "--model", str(model), "--config", "configs/demo.yaml"]
    argv += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    assert extract.main(["--input", str(source), "--output", str(tmp_path / "out"), *argv]) == 0
    thread.join()
    census(tmp_path / "out", {r["document_id"] for r in rows})
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    requests = Counter(event["sha"] for event in events(journal) if event["event"] == "request")
    assert len({event["pid"] for event in events(journal)}) == 2
    assert sorted(requests.values()) == [1] * DOCUMENTS + [2]  # the canary, of each of the two servers
