"""A dry run of a backfill: what is to do, how large it is, and what it would cost."""

from collections.abc import Iterator, Sequence

from jobs.backfills.batches import Backfill
from jobs.backfills.budget import spent_before
from jobs.backfills.partition_run import PartitionRun
from jobs.backfills.partition_state import PartitionStatus
from jobs.cli.exit_codes import DONE
from jobs.cli.terminal_output import add_row, columns, console
from jobs.stages import ray_cluster
from jobs.stages.cost_estimate import Rates, Spent

ESTIMATE_COLUMNS = ("documents", "chunks", "requests", "prompt tokens", "GPU-hours", "cost")


def show_estimate(backfill: Backfill, chunks_per_s: float | None) -> int:
    """Plan what is due, print it partition by partition, and delete the plans. Nothing is asked."""
    run, statuses = backfill.whole, backfill.statuses()
    due, rates = backfill.due(statuses), Rates.of(run, spent_before(run.storage), chunks_per_s)
    documents, chunks, total = 0, 0, Spent()
    table = columns(["partition", "state"], ESTIMATE_COLUMNS)
    for each in _planned(backfill, due):
        if each.error:
            add_row(table, each.path, each.status.state, f"can't be planned: {each.error}")
            continue
        # The tokens of its requests are its chunks' on average.
        prompt = round(each.planned.prompt_tokens * each.requests / max(1, each.work.planned))
        size = each.planned.documents, each.work.chunks, rates.cost_of(each.requests, prompt)
        add_row(table, each.path, each.status.state, *_cells(rates, *size))
        documents, chunks, total = documents + size[0], chunks + size[1], total + size[2]
    cells = _cells(rates, documents, chunks, total)
    add_row(table, f"{len(due):,} of {len(statuses):,} to do", "", *cells, style="bold")
    out = console()
    out.print(table)
    out.print(rates.text, style="dim")
    return DONE


def _cells(rates: Rates, documents: int, chunks: int, cost: Spent) -> list[str]:
    """A size as a table's row has it."""
    counts = [f"{n:,}" for n in (documents, chunks, cost.requests, cost.prompt_tokens)]
    return [*counts, *rates.hours_and_money(cost)]


def _planned(backfill: Backfill, due: Sequence[PartitionStatus]) -> Iterator[PartitionRun]:
    """What is due, planned; a chunk of two partitions of a batch is asked for in the first."""
    if not due:
        return
    with ray_cluster.connected():
        index = backfill.whole.ledger.index()
        while due:
            batch, due = backfill.plan(due, index, backfill.required)
            yield from batch.partitions
            for partition in batch.partitions:
                dead_letters = (file.path for file in partition.planned.dead_letter_files)
                partition.run.storage.delete([*partition.planned.chunk_files, *dead_letters])
