"""Killed at any time and run again: complete, nothing twice, and nothing asked that the ledger held."""

from pathlib import Path

from jobs import extract
from tests.fakes.process import FakeServer, requests_of
from tests.jobs.helpers import arguments, census, held, manifest, row, write
from tests.jobs.interrupting import started, wait_for

DOCUMENTS = 60
IN_FLIGHT = 4


def test_sigkill_midway_then_the_same_command(tmp_path: Path, cluster: None) -> None:
    rows = [row(n, company=n // 2) for n in range(DOCUMENTS)]
    source, output, log = write(tmp_path / "in.parquet", rows), tmp_path / "out", tmp_path / "log"
    with FakeServer("--latency", "0.4", "--max-running-requests", str(IN_FLIGHT)) as server:
        more = ("--set", f"endpoint.concurrency={IN_FLIGHT}", "--set", "requests.deadline_s=600")
        argv = arguments(source, output, server.url, *more)
        server.order([{"fault": "hang", "count": None, "after": DOCUMENTS - 20}])  # it can't end by itself
        with started(["jobs/extract.py", *argv], log) as first:
            wait_for(lambda: len(held(output)) >= 12, first, log)
        server.order([])
        before, asked = held(output), requests_of(server.journal_path)
        assert 12 <= len(before) < DOCUMENTS
        assert not (output / "manifest.json").exists()
        assert extract.main(argv) == 0
        census(output, {r["document_id"] for r in rows})
        counts = manifest(output)["counts"]
        assert counts["chunks_from_ledger"] == len(before)
        assert counts["chunks_answered"] == DOCUMENTS
        repeated = sum(count - 1 for sha, count in requests_of(server.journal_path).items() if sha in asked)
        # Asked twice, beside the canary: what was in flight at the kill, or answered and not yet written down.
        assert repeated - 1 <= sum(asked.values()) - 1 - len(before) <= 2 * IN_FLIGHT
