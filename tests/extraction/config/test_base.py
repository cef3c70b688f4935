"""No credential of a URL is written down."""

import pytest
from pydantic import ValidationError

from extraction.config.base import Price, without_credentials


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


def test_gpus_by_the_hour_and_tokens_by_the_million() -> None:
    price = Price(gpu_hour=2.5, million_prompt_tokens=0.1, million_output_tokens=0.4)
    assert price.known
    assert price.of(gpu_hours=2, prompt_tokens=3_000_000, output_tokens=500_000) == pytest.approx(5.5)


def test_what_is_not_priced_costs_nothing() -> None:
    assert not Price().known
    assert Price().of(gpu_hours=9, prompt_tokens=9, output_tokens=9) == 0


def test_a_price_is_not_negative() -> None:
    with pytest.raises(ValidationError):
        Price(gpu_hour=-1)
