"""The records of runs hold no credentials, and tell from when to when servers ran."""

from pathlib import Path

import pytest

from actors.servers.supervisor import ServerReady
from jobs.state.run_record import server_spans, without_credentials, write_end, write_server
from jobs.state.storage import Storage


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://someone:secret@host:8000/v1?key=secret#secret", "https://host:8000/v1"),
        ("https://secret@host/v1", "https://host/v1"),
        ("https://bucket.example/a.parquet?X-Amz-Signature=secret", "https://bucket.example/a.parquet"),
        ("s3://key:secret@bucket/part-?.parquet", "s3://bucket/part-?.parquet"),
        ("documents/part-?.parquet", "documents/part-?.parquet"),
        ("/data/a@b.parquet", "/data/a@b.parquet"),
        ("http://[broken", "(not a URL)"),
    ],
)
def test_what_is_left_of_a_url(url: str, told: str) -> None:
    assert without_credentials(url) == told


def test_servers_run_from_their_start_to_their_end_ready_or_not(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))

    def ready(server: str, started_at: float, actor: str) -> None:
        write_server(storage, "r", ServerReady(server, "s", 1, 1, 5.0, started_at + 5, {}, started_at), actor)

    ready("host:1", 100.0, "a")
    ready("host:2", 300.0, "a")  # the actor's next process: the first was killed
    ready("host:3", 100.0, "b")
    write_end(storage, "r", "host:3", 100.0, 900.0)
    write_end(storage, "r", "host:4", 50.0, 80.0)  # never ready
    spans = {"host:1": (100, 300), "host:2": (300, None), "host:3": (100, 900), "host:4": (50, 80)}
    assert server_spans(storage, "r") == spans
    assert server_spans(storage, "another") == {}
