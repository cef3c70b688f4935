"""A backfill as it is declared: YAML, parsed once into frozen models that refuse unknown keys."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from extraction.config.settings import override, read_yaml, refused
from extraction.settings_base import Count, Frozen, Seconds
from jobs.cli.command import Options

MaximumAmount = Annotated[float, Field(gt=0)]


class Window(Frozen):
    """Which days: from `first` to `last`, or the last `days` before today (UTC), without the latest `lag_days`.

    Every day of it that is not done is due, however long ago it was missed.
    """

    first: datetime.date | None = Field(default=None, description="First day")
    last: datetime.date | None = Field(default=None, description="Last day; `null` goes on to today (UTC)")
    days: Count | None = Field(default=None, description="Days back from today, in place of a first day")
    lag_days: int = Field(default=0, ge=0, description="Latest days that are left out")

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
    """What may be spent."""

    requests: Count | None = Field(default=None, description="Requests")
    tokens: Count | None = Field(default=None, description="Prompt and output tokens")
    gpu_hours: MaximumAmount | None = Field(
        default=None, description="GPU-hours, from the start of each server to its end"
    )
    money: MaximumAmount | None = Field(default=None, description="Cost, by the `price` of the settings")


class Budgets(Frozen):
    """Limits of one run of the backfill, and of all runs together."""

    run: SpendingLimits = SpendingLimits()
    total: SpendingLimits = SpendingLimits()


class Declaration(Frozen):
    """A backfill."""

    name: str = Field(description="Name of the backfill in messages")
    input: str = Field(
        description="Path or URL of the partitions, with placeholders such as `{date}`, `{date:%Y}` or `{region}`; "
        "a date has to be among them where there is a window"
    )
    output: str = Field(
        description="Folder or URL; each partition gets a folder in it, all of them share its ledger"
    )
    window: Window = Window()
    order: Literal["newest", "oldest"] = Field(default="newest", description="Which partitions come first")
    concurrency: Count = Field(default=100, description="Partitions that are planned and asked about together")
    attempts: Count = Field(
        default=2,
        description="Tries at a partition that fails within one call, and calls that ask again for chunks that no "
        "server answered",
    )
    deadline_s: Seconds | None = Field(default=None, description="Seconds that one call may take")
    publish: Literal["partition", "window", "both"] = Field(
        default="partition",
        description="What is published: each partition for itself, the window (`window/` in the output) with one "
        "profile a company over all its partitions, or both",
    )
    output_table: tuple[str, ...] = Field(
        default=(),
        description="Tables that hold the window, too, as `--output-table` of `jobs/extract.py` gives them",
    )
    budgets: Budgets = Budgets()
    extract: Options = Field(
        default=Options(),
        description="Flags of `jobs/extract.py` as keys: `engine`, `config`, `endpoint`, `model`, `schema`, "
        "`scenario`, and `set` with a mapping of dotted keys to values. A relative path in `config` is looked up "
        "beside the declaration",
    )

    @model_validator(mode="after")
    def _tables_of_a_window(self) -> Self:
        if self.output_table and self.publish == "partition":
            raise ValueError("output_table holds the window: give publish: window or both")
        return self


def load_backfill(path: Path, overrides: Mapping[str, Any] | None = None) -> Declaration:
    """Read a declaration, with overrides by dotted keys; `extract.config` is found beside it.

    Raises OperatorError with the file, the key and what is wrong.
    """
    raw = read_yaml(path)
    for key, value in (overrides or {}).items():
        override(raw, key, value, Declaration)
    try:
        declared = Declaration.model_validate(raw)
    except ValidationError as error:
        raise refused(error, path, overrides or {}, Declaration) from None
    config = declared.extract.config
    if config is None or config.is_absolute():
        return declared
    return declared.model_copy(
        update={"extract": declared.extract.model_copy(update={"config": path.parent / config})}
    )
