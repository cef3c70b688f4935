"""A dry run of a backfill: what is to do, how large it is, and what it would cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich.table import Table

from extraction.config.settings import Price
from jobs.backfills.budget import Budget, Spent, spent_before
from jobs.backfills.config import Budgets
from jobs.backfills.partition_state import Standing
from jobs.backfills.runner import PartitionBatch, PartitionRun
from jobs.cli import tables
from jobs.cli.command import DONE
from jobs.stages import ray_cluster
from jobs.stages.run import Run

ESTIMATE_COLUMNS = ("documents", "chunks", "requests", "prompt tokens", "GPU-hours", "cost")


@dataclass(frozen=True)
class Rates:
    """What a request takes: `chunks_per_s` of one GPU, None where unknown, `output_tokens` an answer; and where
    each figure comes from."""

    chunks_per_s: float | None
    output_tokens: float
    told: str

    @classmethod
    def of(cls, run: Run, before: Spent, given: float | None) -> "Rates":
        """As given, or as ticks so far showed; of answers otherwise the longest that they may be."""
        output, of_output = float(run.settings.limits.max_output_tokens), "at most, no tick has shown it yet"
        if before.requests:
            output, of_output = before.output_tokens / before.requests, "as ticks so far showed"
        rate, of_rate = given, "as given"
        if rate is None and before.gpu_hours:
            rate, of_rate = before.requests / before.gpu_hours / 3600, "as ticks so far showed"
        told = f"{output:,.0f} output tokens an answer ({of_output})"
        if run.fleet.gpus:
            speed = f"{rate:.2f} chunks/s of a GPU ({of_rate})" if rate else "GPU-hours need --chunks-per-s"
            told = f"{speed}, {told}"
        return cls(rate if run.fleet.gpus else None, output, told)


@dataclass(frozen=True)
class Size:
    """The size of what is to do for a partition, or for all; None where it is not known."""

    documents: int = 0
    chunks: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    gpu_hours: float | None = 0
    money: float | None = 0

    @classmethod
    def of(cls, share: PartitionRun, rates: Rates, price: Price) -> "Size":
        """Of a planned partition. The tokens of its requests are its chunks' on average."""
        chunks = share.work.chunks
        prompt = round(share.planned.prompt_tokens * share.left / max(1, chunks))
        hours = share.left / rates.chunks_per_s / 3600 if rates.chunks_per_s else None
        tokens = {"prompt_tokens": prompt, "output_tokens": round(share.left * rates.output_tokens)}
        known = price.known and not (price.gpu_hour and hours is None)
        money = price.of(gpu_hours=hours or 0, **tokens) if known else None
        return cls(share.planned.documents, chunks, share.left, prompt, hours, money)

    def __add__(self, other: "Size") -> "Size":
        def total(name: str) -> Any:
            one, two = getattr(self, name), getattr(other, name)
            return None if None in (one, two) else one + two

        return Size(**{each.name: total(each.name) for each in fields(Size)})

    def cells(self, currency: str) -> list[str]:
        """As a table's row has it."""
        counts = [f"{n:,}" for n in (self.documents, self.chunks, self.requests, self.prompt_tokens)]
        hours = "-" if self.gpu_hours is None else f"{self.gpu_hours:,.2f}"
        return [*counts, hours, "-" if self.money is None else f"{self.money:,.2f} {currency}"]


def show_estimate(
    run: Run, recipe: str, found: Sequence[Standing], chunks_per_s: float | None, *, again: bool
) -> int:
    """Plan what is due, print it partition by partition, and delete the plans. Nothing is asked."""
    before, price = spent_before(run.storage), run.settings.price
    rates, total = Rates.of(run, before, chunks_per_s), Size()
    table = Table(box=None, pad_edge=False)
    for name in ("partition", "state"):
        table.add_column(name, no_wrap=True)
    for name in ESTIMATE_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    due = [standing for standing in found if standing.due or again]
    for share in _planned(run, recipe, due):
        state = share.standing.name
        if share.error:
            table.add_row(share.path, state, f"can't be planned: {share.error}")
            continue
        size = Size.of(share, rates, price)
        total += size
        table.add_row(share.path, state, *size.cells(price.currency))
    table.add_row(f"{len(due):,} of {len(found):,} to do", "", *total.cells(price.currency), style="bold")
    out = tables.console()
    out.print(table)
    out.print(rates.told, style="dim")
    return DONE


def _planned(run: Run, recipe: str, due: Sequence[Standing]) -> Iterator[PartitionRun]:
    """The shares of what is due, sweep by sweep; a chunk of two partitions is asked for in the first."""
    budget = Budget(Budgets(), run.settings.price, run.fleet.gpus, Spent(), None)
    if due:
        with ray_cluster.connected():
            while due:
                sweep = PartitionBatch(run, recipe, budget, run.ledger.index())
                due = sweep.plan(due)
                yield from sweep.shares
                sweep.discard()
