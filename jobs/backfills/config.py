"""A backfill as it is declared: YAML, parsed once into frozen models that refuse unknown keys."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from extraction.base import Count, Frozen, Seconds
from extraction.config.settings import override, read_yaml
from extraction.errors import OperatorError
from jobs.cli.command import Options

MaximumAmount = Annotated[float, Field(gt=0)]


class Window(Frozen):
    """Which days: from `first` to `last`, or the last `days` before today (UTC), without the latest `lag_days`.

    Every day of it that is not done is due, however long ago it was missed.
    """

    first: datetime.date | None = None
    last: datetime.date | None = None
    days: Count | None = None
    lag_days: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.days and self.first:
            raise ValueError("give first, or days back from today, not both")
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"first ({self.first}) is after last ({self.last})")
        return self

    def holds(self, day: datetime.date, today: datetime.date) -> bool:
        """Whether a day is within, seen from today."""
        latest = today - datetime.timedelta(days=self.lag_days)
        first = latest - datetime.timedelta(days=self.days - 1) if self.days else self.first
        return (first is None or first <= day) and day <= min(self.last or latest, latest)


class SpendingLimits(Frozen):
    """What may be spent. `tokens` are those of prompts and answers, `gpu_hours` those in which servers worked,
    `money` by the settings' `price`."""

    requests: Count | None = None
    tokens: Count | None = None
    gpu_hours: MaximumAmount | None = None
    money: MaximumAmount | None = None


class Budgets(Frozen):
    """Limits of one tick of the scheduler, and of all ticks together."""

    tick: SpendingLimits = SpendingLimits()
    total: SpendingLimits = SpendingLimits()


class Declaration(Frozen):
    """A backfill. `input` is a path or URL with placeholders, `{date}` among them where there is a window;
    `concurrency` is how many partitions are planned and asked about together; `attempts` how often a partition that
    fails is tried in a tick, and in how many ticks chunks are asked again that no server answered; `deadline_s` the
    seconds that a tick may take.
    """

    name: str
    input: str
    output: str
    window: Window = Window()
    order: Literal["newest", "oldest"] = "newest"
    concurrency: Count = 100
    attempts: Count = 2
    deadline_s: Seconds | None = None
    budgets: Budgets = Budgets()
    extract: Options = Options()


def load_backfill(path: Path, overrides: Mapping[str, Any] | None = None) -> Declaration:
    """Read a declaration, with overrides by dotted keys laid over it; `extract.config` is found beside it.

    Raises OperatorError with the file, the key and what is wrong.
    """
    raw = read_yaml(path)
    for key, value in (overrides or {}).items():
        override(raw, key, value)
    try:
        declared = Declaration.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OperatorError(f"{path}: {where}: {first['msg']}") from None
    config = declared.extract.config
    if config is None or config.is_absolute():
        return declared
    return declared.model_copy(
        update={"extract": declared.extract.model_copy(update={"config": path.parent / config})}
    )
