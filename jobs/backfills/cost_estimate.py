"""A dry run of a backfill: what is to do, how large it is, and what it would cost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from extraction.config.settings import Price
from jobs.backfills.batches import Backfill
from jobs.backfills.budget import Spent, spent_before
from jobs.backfills.partition_run import PartitionRun
from jobs.backfills.partition_state import PartitionStatus
from jobs.cli import terminal_output
from jobs.cli.exit_codes import DONE
from jobs.stages import ray_cluster
from jobs.stages.run import Run

ESTIMATE_COLUMNS = ("documents", "chunks", "requests", "prompt tokens", "GPU-hours", "cost")


@dataclass(frozen=True)
class Rates:
    """What a request takes: `chunks_per_s` of one GPU, None where unknown, `output_tokens` an answer; `text` has
    where each figure comes from."""

    chunks_per_s: float | None
    output_tokens: float
    price: Price
    text: str

    @classmethod
    def of(cls, run: Run, before: Spent, given: float | None) -> "Rates":
        """As given, or as in runs so far; of answers otherwise the longest that they may be."""
        output, of_output = float(run.settings.limits.max_output_tokens), "at most, no run has shown it yet"
        if before.requests:
            output, of_output = before.output_tokens / before.requests, "as runs so far showed"
        rate, of_rate = given, "as given"
        if rate is None and before.gpu_hours:
            rate, of_rate = before.requests / before.gpu_hours / 3600, "as runs so far showed"
        text = f"{output:,.0f} output tokens an answer ({of_output})"
        if run.fleet.gpus:
            speed = f"{rate:.2f} chunks/s of a GPU ({of_rate})" if rate else "GPU-hours need --chunks-per-s"
            text = f"{speed}, {text}"
        return cls(rate if run.fleet.gpus else None, output, run.settings.price, text)

    def cost_of(self, partition: PartitionRun) -> Spent:
        """What a planned partition would cost. The tokens of its requests are its chunks' on average."""
        requests, planned = partition.requests, partition.planned
        prompt = round(planned.prompt_tokens * requests / max(1, partition.work.chunks))
        output = round(requests * self.output_tokens)
        hours = requests / self.chunks_per_s / 3600 if self.chunks_per_s else 0
        return Spent(
            requests=requests,
            prompt_tokens=prompt,
            output_tokens=output,
            gpu_hours=hours,
            money=self.price.of(gpu_hours=hours, prompt_tokens=prompt, output_tokens=output),
        )

    def cells(self, documents: int, chunks: int, cost: Spent) -> list[str]:
        """A size as a table's row has it; a dash for what is not known."""
        counts = [f"{n:,}" for n in (documents, chunks, cost.requests, cost.prompt_tokens)]
        hours = f"{cost.gpu_hours:,.2f}" if self.chunks_per_s else "-"
        known = self.price.known and (self.chunks_per_s or not self.price.gpu_hour)
        return [*counts, hours, f"{cost.money:,.2f} {self.price.currency}" if known else "-"]


def show_estimate(backfill: Backfill, chunks_per_s: float | None) -> int:
    """Plan what is due, print it partition by partition, and delete the plans. Nothing is asked."""
    run, statuses = backfill.whole, backfill.statuses()
    due, rates = backfill.due(statuses), Rates.of(run, spent_before(run.storage), chunks_per_s)
    documents, chunks, total = 0, 0, Spent()
    table = Table(box=None, pad_edge=False)
    for name in ("partition", "state"):
        table.add_column(name, no_wrap=True)
    for name in ESTIMATE_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for each in _planned(backfill, due):
        if each.error:
            table.add_row(each.path, each.status.state, f"can't be planned: {each.error}")
            continue
        size = each.planned.documents, each.work.chunks, rates.cost_of(each)
        table.add_row(each.path, each.status.state, *rates.cells(*size))
        documents, chunks, total = documents + size[0], chunks + size[1], total + size[2]
    cells = rates.cells(documents, chunks, total)
    table.add_row(f"{len(due):,} of {len(statuses):,} to do", "", *cells, style="bold")
    out = terminal_output.console()
    out.print(table)
    out.print(rates.text, style="dim")
    return DONE


def _planned(backfill: Backfill, due: Sequence[PartitionStatus]) -> Iterator[PartitionRun]:
    """What is due, planned; a chunk of two partitions of a batch is asked for in the first."""
    if not due:
        return
    with ray_cluster.connected():
        index = backfill.whole.ledger.index()
        while due:
            batch, due = backfill.plan(due, index, backfill.least)
            yield from batch.partitions
            for partition in batch.partitions:
                dead_letters = (file.path for file in partition.planned.dead_letter_files)
                partition.run.storage.delete([*partition.planned.chunk_files, *dead_letters])
