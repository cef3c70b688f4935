"""A backfill of 30 days, killed three times, with two days changed meanwhile: each chunk is sent once.

What was on its way at a kill, sent and not yet in the ledger, may be sent once more by the tick after it.
"""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

from extraction.config.settings import load
from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.process import FakeServer
from tests.jobs.backfills.partitions_of import day, declare, ids, record, write_days
from tests.jobs.helpers import census, write
from tests.jobs.interrupting import kill_all, wait_for

DAYS = 30
IN_FLIGHT = 4
KILLS = (15, 40, 65)  # requests that have come in when the first, second and third kill follow
COMMAND = [sys.executable, str(ROOT / "jobs" / "backfill.py")]


def messages(output: Path) -> dict[str, str]:
    """The digest that the server's journal has of each planned chunk's message, by chunk id."""
    settings = load(ROOT / "configs" / "demo.yaml")
    model, found = settings.profile_model(), {}
    for file in output.glob("*/work/runs/*/chunks/*.parquet"):
        for chunk in Storage(str(file.parent)).read_table(file.name, ["chunk_id", "content"]).to_pylist():
            text = settings.prompt.messages(model, chunk["content"])[-1]["content"]
            found[chunk["chunk_id"]] = hashlib.sha256(text.encode()).hexdigest()
    return found


def held(output: Path) -> set[str]:
    """Chunk ids that stand in the ledger."""
    ledger, found = Storage(str(output / "work" / "ledger")), set[str]()
    for folder in (output / "work" / "ledger").glob("*"):
        for path in ledger.list(folder.name, ".parquet"):
            found |= set(ledger.read_table(path, ["chunk_id"])["chunk_id"].to_pylist())
    return found


def sent(server: FakeServer) -> Counter[str]:
    """How often each message came to the server."""
    return Counter(entry["sha"] for entry in server.journal() if entry["event"] == "request")


def published(output: Path) -> int:
    return len(list(output.glob("date=*/manifest.json")))


def test_thirty_days_killed_three_times(tmp_path: Path) -> None:
    days, output = write_days(tmp_path, DAYS), tmp_path / "out"
    lost: Counter[str] = Counter()  # by message: the kills at which it was on its way
    with FakeServer("--latency", "0.25", "--max-running-requests", str(IN_FLIGHT)) as server:
        argv = [*COMMAND, str(declare(tmp_path, server.url, {"endpoint.concurrency": IN_FLIGHT}))]
        for number, requests in enumerate(KILLS):
            log = tmp_path / f"{number}.log"
            with log.open("wb") as out:
                tick = subprocess.Popen(argv, cwd=ROOT, start_new_session=True, stdout=out, stderr=out)
            wait_for(lambda least=requests: server.stats()["requests"] >= least, tick, log)  # type: ignore[misc]
            kill_all(tick)
            known = messages(output)
            on_the_way = set(sent(server)) & set(known.values()) - {known[chunk_id] for chunk_id in held(output)}
            assert len(on_the_way) <= 2 * IN_FLIGHT
            lost.update(on_the_way)
            assert published(output) < DAYS
            if number == 1:  # two days change: one that is published, one that is not
                assert published(output) > 0
                for changed in (0, DAYS - 1):
                    days[day(changed)][1]["text"] += " It has 40 employees."
                    write(tmp_path / "documents" / day(changed) / "part.parquet", days[day(changed)])
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        for path, rows in days.items():
            census(output / path, ids(rows))
            assert record(tmp_path, path)["exit_code"] == 0
        known, counts = messages(output), sent(server)
        assert len(known) == 3 * DAYS + 2
        assert len(held(output)) in (3 * DAYS + 1, 3 * DAYS + 2)  # the last day's old text may not have been sent
        for chunk_id, message in known.items():
            assert (chunk_id in held(output)) <= counts[message] <= 1 + lost[message]
        again = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert again.returncode == 0, again.stderr
        assert f"{DAYS} partitions ({DAYS} done)" in again.stderr
        assert sent(server) == counts
