"""A preempted actor finishes its requests in flight and writes their results; none of them is sent again."""

import signal
import threading
from pathlib import Path

import psutil

from jobs import extract
from tests.fakes.process import events, eventually, gone, requests_of
from tests.jobs.helpers import census, owned, row, write

DOCUMENTS = 40
WAIT_S = 120


def test_a_sigterm_midway_costs_no_request_and_loses_nothing(tmp_path: Path, model: Path, cluster: None) -> None:
    rows, journal = [row(n, company=n // 2) for n in range(DOCUMENTS)], tmp_path / "journal.jsonl"
    source, pids = write(tmp_path / "in.parquet", rows), list[int]()

    def terminate_actor() -> None:
        """SIGTERM the actor once its server has answered some of them."""
        if eventually(lambda: sum(e["event"] == "answer" for e in events(journal)) > 10, WAIT_S):
            server = psutil.Process(events(journal)[-1]["pid"])
            actor = next(process for process in server.parents() if process.name().startswith("ray::"))
            pids.extend([actor.pid, server.pid])
            actor.send_signal(signal.SIGTERM)

    thread = threading.Thread(target=terminate_actor)
    thread.start()
    fake, own = ["--latency", "0.4", "--journal", str(journal)], {"ledger__flush_s": 8, "servers__max_servers": 1}
    assert extract.main(owned(source, tmp_path / "out", model, fake, **own)) == 0
    thread.join()
    census(tmp_path / "out", {r["document_id"] for r in rows})
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    requests = requests_of(journal)
    assert len({event["pid"] for event in events(journal)}) == 2
    assert sorted(requests.values()) == [1] * DOCUMENTS + [2]  # the canary, of each of the two servers
