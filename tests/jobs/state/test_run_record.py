"""The records of runs hold no credentials."""

import pytest

from jobs.state.run_record import without_credentials


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
