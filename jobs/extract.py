"""Documents in Parquet in, one profile per company in Parquet out.

    python jobs/extract.py --input documents/ --output out/                    on this machine
    python jobs/extract.py --input s3://... --output s3://... --engine sglang  on a cluster: through RAY_ADDRESS

Exit codes: 0 published; 1 failed, safe to run again; 2 the operator's mistake; 3 published, but more of
the documents are dead than `max_dead_fraction`.
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from jobs.cli import flags, terminal_output
from jobs.cli.command import LOG, Options, command, enter
from jobs.cli.exit_codes import DONE, OVER_BUDGET
from jobs.cli.flags import flag
from jobs.cli.progress import progress_of
from jobs.inputs import document_reader
from jobs.inputs.file_discovery import refuse_own_output
from jobs.reports import html_page
from jobs.reports.lineage import Lineage, LineageRun
from jobs.stages import extract, plan, publish, ray_cluster
from jobs.stages.cost_estimate import Rates, spent_by_published
from jobs.stages.run import Run, Stages, logs_of, new_run_id
from jobs.stages.run_stats import RunStats
from jobs.state.lease import lease
from jobs.state.ledger import ChunkState
from jobs.state.ledger_compaction import compact
from jobs.state.manifest import Manifest, read_manifest
from jobs.state.output_table import check_table
from jobs.state.parquet_schemas import profile_schema
from jobs.state.storage import storage_at, suppress_outage

app = command("extract.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    *,
    input: flags.Inputs,
    output: flags.OutputFolder,
    ledger: flags.LedgerFolder = None,
    output_table: flags.OutputTables = (),
    limit: Annotated[flags.Positive | None, flag("take the first N documents only", group=flags.DOCUMENTS)] = None,
    engine: flags.EngineFlags = flags.AUTOMATIC,
    plan_only: Annotated[bool, flag("stop after the plan and print its size and cost", name="--plan")] = False,
    chunks_per_s: Annotated[
        flags.Rate | None, flag("of one GPU, for --plan (default: as the last run here showed)")
    ] = None,
    retry_failed: Annotated[bool, flag("ask again for chunks that failed in earlier runs")] = False,
    wait: Annotated[bool, flag("wait for the end of another run that writes to the output")] = False,
    log_format: Annotated[
        Literal["text", "json"],
        flag("format of progress: json is a line of JSON every 10 seconds on stderr, also on a terminal"),
    ] = "text",
) -> int:
    """Plan, extract, reduce, publish."""
    stages = Stages()
    if engine.engine == "sglang" and not plan_only:
        ray_cluster.require_gpus(1)  # before the model's files are fetched for none
    this, documents = prepare(input, output, ledger, limit, Options.of(engine), output_table)
    record, events = this.record(input, limit), Lineage(this.settings.lineage)
    with ray_cluster.connected():
        required = ChunkState.required(retry_failed=retry_failed)
        if plan_only:
            planned = plan.plan(this, documents)
            show_notes(planned)
            work = extract.work_of(this, planned, this.ledger.index(), required)
            print_plan(planned, work, Rates.of(this, spent_by_published(this), chunks_per_s))
            return DONE
        ray_cluster.require_gpus(this.fleet.gpus)
        event_run = LineageRun(this.storage.url, this, input, record.began_at)
        with (
            lease(this.storage, this.run_id, wait=LOG.print if wait else None),
            events.reported(event_run) as complete,
        ):
            planned = plan.plan(this, documents)
            before = compact(this.ledger, this.ledger.index())
            for path in before.skipped:
                LOG.print(f"skipped  {this.ledger.storage.full(path)} is no segment of the ledger")
            work = extract.work_of(this, planned, before, required)
            LOG.print(f"plan     {plan_summary(planned, work)}")
            if this.misfit:
                LOG.print(f"note     confidence is {this.calibrated_for}")
            show_notes(planned)
            stages.end("plan")
            record.write(this.storage, stages.seconds)
            with progress_of(this, work, log_format) as progress:
                stats = extract.extract(this, work, [progress.watch])
            stages.end("extract")
            index = this.ledger.index(before) if work.missing else before
            published = publish.publish(this, planned, work, before, index, stats.tokens)
            complete(published.counts)
            stages.end("reduce")
            with suppress_outage():  # what is published is published
                record.write(this.storage, stages.seconds, stats.server_hours if work.missing else None)
            return show_result(this, published, stats, stages)


def prepare(
    inputs: list[str],
    output: str,
    ledger: str | None,
    limit: int | None,
    options: Options,
    tables: Sequence[str] = (),
) -> tuple[Run, document_reader.Input]:
    """The run that is asked for, and its input. What is the operator's mistake shows here."""
    refuse_own_output(inputs, output, "--output")
    refuse_own_output(inputs, ledger, "--ledger")
    settings, servers = options.resolve()
    documents = document_reader.find_input(inputs, settings.columns, limit)
    storage, ledgers = storage_at(output), storage_at(ledger, "--ledger") if ledger is not None else None
    last = read_manifest(storage)
    run_id = new_run_id(last.run_id if last else None)
    this = Run(run_id, settings, servers, storage, logs_of(run_id), ledgers, tuple(tables))
    schema = profile_schema(this.model)
    for table in tables:
        check_table(table, this.storage, schema)
    return this, documents


def show_result(run: Run, published: Manifest, stats: RunStats, stages: Stages) -> int:
    """Show what is published, leave the report beside it, and return the exit code."""
    out, counts = terminal_output.console(), published.counts
    where = html_page.leave_report(run.storage, published)
    terminal_output.show_profiles(out, run.storage, published, profile_schema(run.model))
    limit = None if run.fleet.gpus else run.fleet.limit  # GPU servers differ, each has its own
    terminal_output.show_counts(out, run, published, stats, limit, stages.total, where)
    code = OVER_BUDGET if publish.too_many_dead_letters(run, counts) else DONE
    if code == OVER_BUDGET:
        LOG.print(
            f"exit {OVER_BUDGET}   {counts.dead_documents:,} dead of {counts.documents:,} documents are more than "
            f"max_dead_fraction = {run.settings.max_dead_fraction:g}: the dead letters say why"
        )
    return code


def plan_summary(planned: plan.Plan, work: extract.Work) -> str:
    """The size of a run in one line."""
    about = "" if planned.exact else "about "
    return (
        f"{planned.documents:,} documents, {work.chunks:,} chunks, {about}{planned.prompt_tokens:,} prompt tokens, "
        f"{work.missing:,} requests to make ({work.chunks - work.missing:,} in the ledger)"
    )


def show_notes(planned: plan.Plan) -> None:
    """What is odd in the input, a line each."""
    for note in planned.notes:
        LOG.print(f"note     {note}")


def print_plan(planned: plan.Plan, work: extract.Work, rates: Rates) -> None:
    """The size of a run and what it would cost, a number a line."""
    cost = rates.cost_of(work.missing, round(planned.prompt_tokens * work.missing / max(1, work.planned)))
    sizes = {
        "documents": planned.documents,
        "dead": planned.dead_documents,
        "chunks": work.chunks,
        "prompt tokens": planned.prompt_tokens,
        "requests": work.missing,
        "output tokens": cost.output_tokens,
    }
    for name, size in sizes.items():
        print(f"{name:<14} {size:>14,}" + (" (estimated)" if name == "prompt tokens" and not planned.exact else ""))
    for name, amount in zip(("GPU-hours", "cost"), rates.hours_and_money(cost), strict=True):
        print(f"{name:<14} {amount:>14}")
    LOG.print(f"note     {rates.text}")


if __name__ == "__main__":
    sys.exit(main())
