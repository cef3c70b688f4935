"""Budgets of a backfill: what it may spend, what it has spent, and the end of a stage that reaches a limit.

<output>/work/backfill/<run>.json   what each run of the backfill has spent, at most seconds old after a kill
"""

import math
import sys
import time

import pyarrow as pa

from extraction.config.settings import Price
from extraction.errors import OperatorError
from jobs.backfills.config import Budgets, SpendingLimits
from jobs.stages.cost_estimate import Spent
from jobs.stages.run_stats import RunStats
from jobs.state.storage import Storage, StoredRecord

RESERVED = 0.05  # of a deadline, for what is complete to be published
MOST_RESERVED_S = 600


class Stop(Exception):
    """The run has spent what it may: not a failure, the next run goes on."""


class Budget:
    """What this run of the backfill has spent, what those before it have, and what they may."""

    def __init__(self, allowed: Budgets, price: Price, gpus: int, before: Spent, deadline_s: float | None) -> None:
        _check(allowed, price, gpus)
        self.allowed, self.price, self.gpus = allowed, price, gpus
        self.before, self.spent = before, Spent()
        self._began, self._deadline_s = time.monotonic(), deadline_s
        self._hours = 0.0

    def begin(self) -> None:
        """Begin a new stage, which has statistics of its own. Raises Stop where nothing may be spent any more."""
        self._hours = 0.0
        self.check()

    def count(self, stats: RunStats, results: pa.Table) -> float:
        """Count results of the extract stage; the GPU-hours that they took."""
        before, self._hours = self._hours, self.gpus * stats.server_hours
        self.spent += Spent.on(results, self._hours - before, self.price)
        return self._hours - before

    def settle(self, stats: RunStats) -> None:
        """Count the hours of a stage's servers that its results don't tell, to the end of each of them."""
        hours, self._hours = self.gpus * stats.server_hours - self._hours, self.gpus * stats.server_hours
        if hours > 0:
            money = self.price.of(gpu_hours=hours, prompt_tokens=0, output_tokens=0)
            self.spent += Spent(gpu_hours=hours, money=money)

    def check(self) -> None:
        """Raise Stop where a limit is reached."""
        for name, spent in (("run", self.spent), ("total", self.before + self.spent)):
            reached = _reached(getattr(self.allowed, name), spent)
            if reached:
                raise Stop(f"budgets.{name}.{reached}")
        self.check_deadline()

    def check_deadline(self) -> None:
        """Raise Stop where the deadline is near."""
        if self.seconds_left <= 0:
            raise Stop(f"deadline_s = {self._deadline_s:,g} is near")

    @property
    def requests_left(self) -> int:
        """How many requests may still be made."""
        run, total = self.allowed.run.requests, self.allowed.total.requests
        left = [] if run is None else [run - self.spent.requests]
        left += [] if total is None else [total - self.before.requests - self.spent.requests]
        return max(0, min(left, default=sys.maxsize))

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline's reserve begins; infinite where there is no deadline."""
        if self._deadline_s is None:
            return math.inf
        reserve = min(MOST_RESERVED_S, RESERVED * self._deadline_s)
        return self._began + self._deadline_s - reserve - time.monotonic()


def _reached(limits: SpendingLimits, spent: Spent) -> str | None:
    """The limit that is reached, in words; None where there is room."""
    for name in SpendingLimits.model_fields:
        limit, amount = getattr(limits, name), getattr(spent, name)
        if limit is not None and amount >= limit:
            return f"{name} = {limit:,g} is reached ({amount:,.6g} spent)"
    return None


def _check(allowed: Budgets, price: Price, gpus: int) -> None:
    """Raise OperatorError for a limit on what can't be counted, which would never be reached."""
    for name in Budgets.model_fields:
        limits: SpendingLimits = getattr(allowed, name)
        priced = price.million_prompt_tokens or price.million_output_tokens or (price.gpu_hour and gpus)
        if limits.money is not None and not priced:
            such = "price.gpu_hour" if gpus else "price.million_prompt_tokens, as this engine's servers own no GPU"
            raise OperatorError(f"budgets.{name}.money = {limits.money:g}: set a price, such as {such}")
        if limits.gpu_hours is not None and not gpus:
            raise OperatorError(f"budgets.{name}.gpu_hours = {limits.gpu_hours:g}: this engine's servers own none")


SPENDING_FOLDER = "work/backfill"
SAVE_EVERY_S = 5.0


class SpendingRecord(StoredRecord):
    """One run of a backfill: when this was written, what it has spent, and why it ended, if it did."""

    run_id: str
    at: str
    spent: Spent
    ended: str | None = None


class Spending:
    """The account of one run of a backfill; nothing is written while nothing is spent."""

    def __init__(self, storage: Storage, run_id: str) -> None:
        self._storage, self._run_id = storage, run_id
        self._saved, self._saved_at = Spent(), time.monotonic()

    def save(self, spent: Spent, ended: str | None = None) -> None:
        """Write what is spent so far, now and then; at the end always."""
        late = time.monotonic() - self._saved_at >= SAVE_EVERY_S
        if spent == Spent() or not (ended or (late and spent != self._saved)):
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record = SpendingRecord(run_id=self._run_id, at=at, spent=spent, ended=ended)
        self._storage.write_record(f"{SPENDING_FOLDER}/{self._run_id}.json", record)
        self._saved, self._saved_at = spent, time.monotonic()


def spent_before(storage: Storage) -> Spent:
    """What all runs so far have spent."""
    records = storage.read_records(storage.list(SPENDING_FOLDER, ".json"), SpendingRecord)
    return sum((record.spent for record in records), Spent())
