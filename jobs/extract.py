"""Documents in Parquet in, one profile per company in Parquet out.

Exit codes: 0 published; 1 failed, safe to run again; 2 the operator's mistake; 3 published, but more dead
letters than `max_dead_fraction` allows.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import ray.exceptions

from extraction.errors import OperatorError, ProfilesError, RunError
from jobs import report
from jobs.cli import summary
from jobs.cli.command import DONE, FAILED, LOG, OVER_BUDGET, Parser, complain
from jobs.cli.options import Options, add_options, add_places
from jobs.cli.progress import LogFormat, Progress
from jobs.cli.tally import Tally
from jobs.stages import cluster, intake, plan, pool, reduce
from jobs.stages.breaker import Breaker
from jobs.stages.profiles import profile_schema
from jobs.state import manifest
from jobs.state.compaction import compact
from jobs.state.index import Index, State
from jobs.state.lease import lease
from jobs.state.manifest import Counts, Manifest, Tokens
from jobs.state.record import RunRecord, Stages, servers_in
from jobs.state.run import Run, new_run_id
from jobs.state.storage import storage_at

Watch = Callable[[Tally, pa.Table], None]  # what came of all requests so far, and the answers that are new


def parser() -> Parser:
    """The command line."""
    flags = Parser("extract.py", __doc__)
    add_places(flags, required=True)
    add_options(flags)
    flags.add_argument("--limit", type=int, metavar="N", help="take the first N documents only")
    flags.add_argument("--plan", action="store_true", help="stop after the plan and print its size")
    flags.add_argument(
        "--retry-failed", action="store_true", help="ask again for chunks that failed in earlier runs"
    )
    flags.add_argument(
        "--log-format",
        choices=["text", "json"],
        default="text",
        help="how progress is told: json is a line of JSON every 10 seconds on stderr, also on a terminal",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and say in one line what went wrong."""
    try:
        return run(parser().parse_args(argv))
    except (ProfilesError, ray.exceptions.RayError, OSError) as error:
        return complain(error)
    except KeyboardInterrupt:
        LOG.print("interrupted: what was answered is in the ledger, the same command goes on from there")
        return FAILED


def run(flags: argparse.Namespace) -> int:
    """Plan, extract, reduce, publish."""
    stages = Stages()
    this, found = prepare(flags)
    told = RunRecord.of(this, flags.input, flags.limit)
    with cluster.connected():
        cluster.require_gpus(this.fleet.gpus)
        least = State.ANSWERED if flags.retry_failed else State.SETTLED
        if flags.plan:
            planned = plan.plan(this, found)
            print_plan(planned, pool.work_of(this, planned, this.ledger.index(), least))
            return DONE
        with lease(this.storage, this.run_id):
            planned = plan.plan(this, found)
            before = compact(this.ledger, this.ledger.index())
            for path in before.skipped:
                LOG.print(f"skipped  {this.ledger.storage.full(path)} is no segment of the ledger")
            work = pool.work_of(this, planned, before, least)
            LOG.print(f"plan     {tell_plan(planned, work)}")
            stages.end("plan")
            told.write(this, stages)
            tally = extract_all(this, work, log_format=flags.log_format)
            stages.end("extract")
            index = this.ledger.index(before) if work.missing else before
            published = publish(this, planned, work, before, index, tally.tokens)
            stages.end("reduce")
            with contextlib.suppress(OSError):  # what is published is published
                told.write(this, stages)
            return tell(this, published, tally, stages)


def prepare(flags: argparse.Namespace) -> tuple[Run, intake.Input]:
    """The run that the flags ask for, and its input. What is the operator's mistake shows here."""
    if flags.limit is not None and flags.limit < 0:
        raise OperatorError(f"--limit {flags.limit}: a number of documents is expected")
    settings, servers = Options.of(flags).resolve()
    found = intake.find(flags.input, settings.columns, flags.limit)
    run_id = new_run_id()
    logs = Path(tempfile.gettempdir(), "company-profiles", run_id)
    ledgers = storage_at(flags.ledger, "--ledger") if flags.ledger else None
    this = Run(run_id, settings, servers, storage_at(flags.output), logs, ledgers)
    profile_schema(this.model)
    return this, found


def extract_all(run: Run, work: pool.Work, watches: Sequence[Watch] = (), log_format: LogFormat = "text") -> Tally:
    """Ask for what is missing; nothing is started when nothing is.

    Each watch sees the answers as they come in, and ends the stage by raising: what is under way is dropped then,
    what was answered is in the ledger.
    """
    breaker = Breaker(run.settings.breaker)
    with Progress(
        LOG,
        work.missing,
        run_id=run.run_id,
        from_ledger=work.chunks - work.missing,
        servers=run.settings.servers.min_servers,
        ready=lambda: len(run.storage.list(servers_in(run.run_id), ".json")),
        log_format=log_format,
    ) as progress:
        if work.missing:
            with contextlib.closing(pool.extract(run, work)) as answered:
                for answers in answered:
                    progress.add(answers)
                    for watch in watches:
                        watch(progress.tally, answers)
                    breaker.add(answers)
    return progress.tally


def publish(run: Run, planned: plan.Plan, work: pool.Work, before: Index, index: Index, tokens: Tokens) -> Manifest:
    """Merge, check that every document is accounted for, and publish. `before` and `index` are the ledger's, before
    anything was asked and now."""
    if not work.known_to(index):
        raise RunError("the ledger lacks answers that were written to it: nothing is published, run again")
    reduced = reduce.reduce(run, planned, index)
    dead_letters = (*planned.dead_letter_files, *reduced.dead_letters)
    accounted = reduced.in_profiles + reduced.dead_documents + planned.dead_documents
    if accounted != planned.documents:
        raise RunError(
            f"{planned.documents:,} documents went in and {accounted:,} came out: nothing is published, "
            "the ledger is kept. Please report this"
        )
    counts = Counts(
        documents=planned.documents,
        chunks=work.chunks,
        chunks_answered=work.answered_of(index),
        chunks_from_ledger=work.answered_of(before),
        companies=sum(file.rows for file in reduced.profiles),
        dead_letters=sum(file.rows for file in dead_letters),
    )
    return manifest.publish(run, counts, tokens, reduced.profiles, dead_letters)


def tell(run: Run, published: Manifest, tally: Tally, stages: Stages) -> int:
    """Show what is published, leave the report beside it, and return the exit code."""
    out, counts = summary.console(), published.counts
    where = report.leave(run.storage, published)
    summary.show_profiles(out, run.storage, published, run.model)
    limit = None if run.fleet.gpus else run.fleet.limit  # GPU servers differ, each has its own
    summary.show_counts(out, run.storage, published, tally, limit, stages.total, where)
    code = judge(run, counts)
    if code == OVER_BUDGET:
        LOG.print(
            f"[bold]budget:[/] {counts.dead_letters:,} dead letters for {counts.documents:,} documents are more "
            f"than max_dead_fraction = {run.settings.max_dead_fraction:g}: exit {OVER_BUDGET}"
        )
    return code


def judge(run: Run, counts: Counts) -> int:
    """The exit code of a run that is published."""
    dead_fraction = counts.dead_letters / max(1, counts.documents)
    return OVER_BUDGET if dead_fraction > run.settings.max_dead_fraction else DONE


def tell_plan(planned: plan.Plan, work: pool.Work) -> str:
    """The size of a run in one line."""
    about = "" if planned.exact else "about "
    return (
        f"{planned.documents:,} documents, {work.chunks:,} chunks, {about}{planned.prompt_tokens:,} prompt tokens, "
        f"{work.missing:,} requests to make ({work.chunks - work.missing:,} in the ledger)"
    )


def print_plan(planned: plan.Plan, work: pool.Work) -> None:
    """The size of a run, a number a line."""
    sizes = {
        "documents": planned.documents,
        "dead letters": sum(file.rows for file in planned.dead_letter_files),
        "chunks": work.chunks,
        "prompt tokens": planned.prompt_tokens,
        "requests": work.missing,
    }
    for name, size in sizes.items():
        print(f"{name:<14} {size:>14,}" + (" (estimated)" if name == "prompt tokens" and not planned.exact else ""))


if __name__ == "__main__":
    sys.exit(main())
