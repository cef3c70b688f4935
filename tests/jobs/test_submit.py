"""`ray job submit` against a Ray that `ray start --head` started."""

import subprocess
from pathlib import Path

from tests.conftest import ROOT
from tests.fakes.head import RayHead
from tests.fakes.process import FakeServer
from tests.jobs.helpers import arguments, census, row, write


def test_a_submitted_job_publishes(tmp_path: Path) -> None:
    rows = [row(n, company=n // 2) for n in range(6)]
    source = write(tmp_path / "in.parquet", rows)
    with FakeServer() as server, RayHead() as head:
        submit = ["ray", "job", "submit", "--address", head.jobs, "--working-dir", ".", "--"]
        job = ["python", "jobs/extract.py", *arguments(source, tmp_path / "out", server.url)]
        done = subprocess.run(
            [*submit, *job], cwd=ROOT, env=head.env, capture_output=True, text=True, timeout=240, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 chunks" in done.stdout
    census(tmp_path / "out", {r["document_id"] for r in rows})
