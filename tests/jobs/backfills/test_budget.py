"""What is spent is counted, and the first limit that is reached ends the run."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actors.results import RESULTS
from extraction.config.settings import Price
from extraction.errors import OperatorError
from jobs.backfills.budget import SPENDING_FOLDER, Budget, Spending, Stop, spent_before
from jobs.backfills.config import Budgets
from jobs.stages.cost_estimate import Spent
from jobs.stages.run_stats import RunStats
from jobs.state.storage import Storage


def answers(count: int, attempts: int = 1, seconds: float = 360.0, server: str = "a") -> pa.Table:
    """Answers that began together and ended one after the other."""
    blank: dict[str, Any] = {field.name: [] if pa.types.is_list(field.type) else None for field in RESULTS}
    told = {"attempts": attempts, "prompt_tokens": 100, "cached_tokens": 40, "completion_tokens": 10}
    took = [(n + 1) * seconds for n in range(count)]
    rows = [
        {**blank, **told, "server": server, "in_flight": 1, "latency_s": each, "ended_at": 1e9 + each}
        for each in took
    ]
    return pa.Table.from_pylist(rows, RESULTS)


def budget(before: Spent | None = None, deadline_s: float | None = None, **allowed: Any) -> Budget:
    price = Price(gpu_hour=2, million_prompt_tokens=1000)
    return Budget(Budgets.model_validate(allowed), price, 1, before or Spent(), deadline_s)


def count(one: Budget, *tables: pa.Table) -> list[float]:
    stats, hours = RunStats(), list[float]()
    one.begin()
    for table in tables:
        stats.add(table)
        hours.append(one.count(stats, table))
        one.check()
    return hours


def test_requests_tokens_hours_and_money_are_counted() -> None:
    one = budget()
    hours = count(one, answers(2, attempts=3), answers(1, seconds=1080), answers(1, server="b"))
    assert one.spent == Spent(
        requests=8, prompt_tokens=400, cached_tokens=160, output_tokens=40, gpu_hours=0.4, money=0.8 + 0.4
    )
    assert hours == pytest.approx([0.2, 0.1, 0.1])
    count(one, answers(1))  # another stage, with statistics of its own
    assert one.spent.gpu_hours == pytest.approx(0.5)
    assert one.spent.tokens == 550


def test_servers_cost_from_their_start_to_their_end_also_without_an_answer() -> None:
    one, stats = budget(), RunStats()
    one.begin()
    table = answers(1)
    stats.add(table)
    one.count(stats, table)
    stats.settle({"a": (1e9 - 720, 1e9 + 1080), "silent": (1e9, 1e9 + 1800)})
    one.settle(stats)
    one.settle(stats)
    assert one.spent.gpu_hours == pytest.approx(0.5 + 0.5)
    assert one.spent.money == pytest.approx(2 * 1.0 + 0.1)


@pytest.mark.parametrize(
    ("allowed", "before", "said"),
    [
        ({"run": {"requests": 4}}, {}, "budgets.run.requests = 4 is reached (4 spent)"),
        ({"run": {"tokens": 400}}, {}, "budgets.run.tokens = 400 is reached (440 spent)"),
        ({"run": {"gpu_hours": 0.3}}, {}, "budgets.run.gpu_hours = 0.3 is reached (0.4 spent)"),
        ({"run": {"money": 1}}, {}, "budgets.run.money = 1 is reached (1.2 spent)"),
        ({"total": {"requests": 10}}, {"requests": 6}, "budgets.total.requests = 10 is reached (10 spent)"),
        ({"total": {"money": 99.5}}, {"money": 98.8}, "budgets.total.money = 99.5 is reached (100 spent)"),
    ],
)
def test_the_limit_that_is_reached_is_named(
    allowed: dict[str, dict[str, float]], before: dict[str, float], said: str
) -> None:
    one = budget(Spent.model_validate(before), None, **allowed)
    with pytest.raises(Stop) as stop:
        count(one, answers(2), answers(2, seconds=720), answers(9))
    assert str(stop.value).startswith(said)
    assert one.spent.requests == 4
    with pytest.raises(Stop):
        one.begin()


def test_requests_that_are_left() -> None:
    assert budget().requests_left > 1_000_000_000
    one = budget(Spent(requests=6), run={"requests": 7}, total={"requests": 10})
    assert one.requests_left == 4
    count(one, answers(3))
    assert one.requests_left == 1


def test_a_deadline_ends_a_run_when_it_is_looked_at_and_no_sooner() -> None:
    one, late = budget(deadline_s=900), budget(deadline_s=1e-9)
    one.check()
    for look in (late.check, late.check_deadline, late.begin):
        with pytest.raises(Stop, match="deadline_s = 1e-09 is near"):
            look()
    budget().check_deadline()


@pytest.mark.parametrize(
    ("limits", "price", "gpus", "said"),
    [
        ({"money": 5}, Price(), 1, "budgets.run.money = 5: set a price"),
        (
            {"money": 5},
            Price(gpu_hour=2),
            0,
            "budgets.run.money = 5: set a price, such as price.million_prompt_tokens",
        ),
        ({"gpu_hours": 5}, Price(), 0, "budgets.run.gpu_hours = 5: this engine's servers own none"),
    ],
)
def test_a_limit_on_what_cannot_be_counted_is_refused(
    limits: dict[str, float], price: Price, gpus: int, said: str
) -> None:
    with pytest.raises(OperatorError, match=said):
        Budget(Budgets.model_validate({"run": limits}), price, gpus, Spent(), None)


def test_runs_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path))
    assert spent_before(storage) == Spent()
    first, second = Spending(storage, "one"), Spending(storage, "two")
    first.save(Spent(requests=1))  # too early
    assert spent_before(storage) == Spent()
    monkeypatch.setattr("jobs.backfills.budget.SAVE_EVERY_S", 0)
    first.save(Spent(requests=2, money=0.5))
    first.save(Spent(requests=3, money=1))
    second.save(Spent(requests=4, gpu_hours=2), "done")
    Spending(storage, "idle").save(Spent(), "done")
    storage.write(f"{SPENDING_FOLDER}/torn.json", b"{")
    assert spent_before(storage) == Spent(requests=7, money=1, gpu_hours=2)
    assert len(storage.list(SPENDING_FOLDER, ".json")) == 3
