"""A run's cost is known before it: from figures that are given, or from what the last run spent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extraction.config.settings import Limits, Price
from jobs.stages.cost_estimate import Rates, Spent, spent_by_published
from jobs.state.manifest import MANIFEST, Counts, Manifest, Tokens
from jobs.state.run_record import RunRecord
from jobs.state.storage import Storage


def rates(before: Spent | None = None, given: float | None = None, gpus: int = 1, **price: Any) -> Rates:
    settings = SimpleNamespace(limits=Limits(max_output_tokens=400), price=Price(**price))
    run: Any = SimpleNamespace(settings=settings, fleet=SimpleNamespace(gpus=gpus))
    return Rates.of(run, before or Spent(), given)


def test_hours_and_money_of_requests() -> None:
    given = rates(given=4.0, gpu_hour=2.5, million_output_tokens=1)
    cost = given.cost_of(144_000, 1_000_000_000)
    assert (cost.gpu_hours, cost.output_tokens) == (10.0, 57_600_000)
    assert given.hours_and_money(cost) == ("10.00", "82.60 USD")
    assert "4.00 chunks/s of a GPU (as given), 400 output tokens an answer (at most" in given.text


def test_the_last_run_says_what_is_not_given() -> None:
    shown = rates(Spent(requests=7200, output_tokens=720_000, gpu_hours=1), gpu_hour=2)
    assert shown.hours_and_money(shown.cost_of(3600, 0)) == ("0.50", "1.00 USD")
    assert "2.00 chunks/s of a GPU (as runs so far showed), 100 output tokens an answer" in shown.text


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (rates(), ("-", "-")),
        (rates(gpu_hour=2), ("-", "-")),  # hours are unknown, so the money is
        (rates(gpus=0, given=4.0), ("-", "-")),
        (rates(gpus=0, million_prompt_tokens=2), ("-", "2.00 USD")),
    ],
)
def test_what_is_not_known_is_a_dash(told: Rates, known: tuple[str, str]) -> None:
    assert told.hours_and_money(told.cost_of(10, 1_000_000)) == known


def test_what_the_published_run_spent_counts_for_the_same_model_and_prompt(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    run: Any = SimpleNamespace(storage=storage, fingerprint="f")
    assert spent_by_published(run) == Spent()
    counts = Counts(documents=9, chunks=8, chunks_answered=7, chunks_from_ledger=2, companies=3, dead_letters=0)
    published = Manifest(
        run_id="r",
        fingerprint="f",
        profile="m:M",
        created_at="",
        counts=counts,
        tokens=Tokens(prompt=50, cached=10, completion=20),
        profiles=(),
        dead_letters=(),
        versions={},
    )
    storage.write_record(MANIFEST, published)
    record = RunRecord(run_id="r", began_at="", inputs=(), engine="sglang", model="m", limit=1, gpus=2, settings={})
    record.write(storage, {}, server_hours=1.5)
    spent = Spent(requests=5, prompt_tokens=50, cached_tokens=10, output_tokens=20, gpu_hours=3)
    assert spent_by_published(run) == spent
    run.fingerprint = "another"
    assert spent_by_published(run) == Spent()
