"""What ticks have spent is kept and added up, whatever else lies there."""

from pathlib import Path

import pytest

from jobs.backfills.budget import FOLDER, Spending, Spent, spent_before
from jobs.state.storage import Storage


def test_ticks_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    storage.write(f"{FOLDER}/torn.json", b"{")
    assert spent_before(storage) == Spent(requests=7, money=1, gpu_hours=2)
    assert len(storage.list(FOLDER, ".json")) == 3
