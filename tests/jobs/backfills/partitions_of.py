"""Backfills that tests declare and run."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.jobs.helpers import row, write

FIRST = datetime.date(2026, 1, 1)


def day(number: int) -> str:
    """The path of a day's partition."""
    return f"date={FIRST + datetime.timedelta(days=number)}"


def documents(number: int, count: int = 3) -> list[dict[str, Any]]:
    """The documents of a day, each about a company of its own."""
    return [row(100 * number + n) for n in range(count)]


def write_days(folder: Path, count: int, per_day: int = 3) -> dict[str, list[dict[str, Any]]]:
    """Documents of some days, by partition."""
    days = {day(number): documents(number, per_day) for number in range(count)}
    for path, rows in days.items():
        write(folder / "documents" / path / "part.parquet", rows)
    return days


def declare(folder: Path, url: str, settings: dict[str, Any] | None = None, **more: Any) -> Path:
    """A declaration of a backfill of all days that are there, against an endpoint. JSON is YAML."""
    quick = {"ledger.flush_s": 0.05, "requests.backoff_s": 0.01, "requests.deadline_s": 20}
    told = {
        "name": "days",
        "input": f"{folder}/documents/date={{date}}/",
        "output": f"{folder}/out",
        "order": "oldest",
        "extract": {
            "engine": "endpoint",
            "endpoint": url,
            "model": "fake",
            "config": str(Path("configs/demo.yaml").absolute()),
            "set": quick | (settings or {}),
        },
    }
    path = folder / "backfill.yaml"
    path.write_text(json.dumps(told | more))
    return path


def record(folder: Path, path: str) -> dict[str, Any]:
    """A partition's record."""
    found: dict[str, Any] = json.loads((folder / "out" / path / "backfill.json").read_text())
    return found


def ids(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Ids of documents."""
    return {r["document_id"] for r in rows}
