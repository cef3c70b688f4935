"""Documents in Parquet in, one profile per company in Parquet out.

Exit codes: 0 published; 1 failed, safe to run again; 2 the operator's mistake; 3 published, but more dead
letters than `max_dead_fraction` allows.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray.exceptions

from actors.endpoint import endpoint_url
from extraction.errors import OperatorError, ProfilesError, RunError
from extraction.settings import Engine, load, parse_override
from jobs import cluster, intake, manifest, plan, pool, reduce, report, summary
from jobs.command import CONFIGS, DONE, FAILED, LOG, OVER_BUDGET, Parser, complain
from jobs.engines import choose, fleet
from jobs.ledger import Index
from jobs.manifest import Counts, Manifest, Tokens
from jobs.profiles import profile_schema
from jobs.progress import LogFormat, Progress
from jobs.record import RunRecord, Stages, servers_in
from jobs.run import Run, new_run_id
from jobs.storage import storage_at
from jobs.tally import Tally

DEFAULTS: dict[Engine, str] = {"sglang": "extract.yaml", "endpoint": "extract.yaml", "llamacpp": "demo.yaml"}


def parser() -> Parser:
    """The command line."""
    flags = Parser("extract.py", __doc__)
    flags.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="Parquet file, folder, glob or URL; may be given again",
    )
    flags.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder or URL for the profiles, the manifest and the ledger",
    )
    flags.add_argument(
        "--ledger",
        metavar="DIR",
        help="folder or URL of a ledger that several outputs share (default: work/ledger in the output)",
    )
    flags.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings (default: configs/demo.yaml for llamacpp, else configs/extract.yaml)",
    )
    flags.add_argument(
        "--engine",
        choices=["auto", "sglang", "llamacpp", "endpoint"],
        default="auto",
        help="auto: sglang where there is a GPU, else llamacpp",
    )
    flags.add_argument("--endpoint", metavar="URL", help="an OpenAI-compatible server, for --engine endpoint")
    flags.add_argument("--model", metavar="NAME", help="the model's name, or the path of its files")
    flags.add_argument("--schema", metavar="MODULE:MODEL", help="the pydantic model of a profile")
    flags.add_argument("--scenario", metavar="NAME", help="row of configs/scenarios.yaml, or auto")
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
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the settings, such as limits.max_chunk_tokens=8000",
    )
    return flags  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and say in one line what went wrong."""
    try:
        return run(parser().parse_args(argv))
    except (ProfilesError, ray.exceptions.RayError) as error:
        return complain(error)
    except KeyboardInterrupt:
        LOG.print("interrupted: what was answered is in the ledger, the same command goes on from there")
        return FAILED


def run(flags: argparse.Namespace) -> int:
    """Plan, extract, reduce, publish."""
    stages = Stages()
    if flags.limit is not None and flags.limit < 0:
        raise OperatorError(f"--limit {flags.limit}: a number of documents is expected")
    engine = choose("endpoint" if flags.endpoint and flags.engine == "auto" else flags.engine)
    settings = load(flags.config or CONFIGS / DEFAULTS[engine], overrides(flags, engine))
    servers = fleet(engine, settings)
    found = intake.find(flags.input, settings.columns, flags.limit)
    run_id = new_run_id()
    logs = Path(tempfile.gettempdir(), "company-profiles", run_id)
    ledgers = storage_at(flags.ledger, "--ledger") if flags.ledger else None
    this = Run(run_id, settings, servers, storage_at(flags.output), logs, ledgers)
    profile_schema(this.model)
    told = RunRecord.of(this, flags.input, flags.limit)
    with cluster.connected():
        cluster.require_gpus(this.fleet.gpus)
        planned = plan.plan(this, found)
        index = this.ledger.index()
        work = pool.work_of(this, planned, index.answered if flags.retry_failed else index.settled)
        LOG.print(f"plan     {tell_plan(planned, work)}")
        stages.end("plan")
        told.write(this, stages)
        if flags.plan:
            print_plan(planned, work)
            return DONE
        tally = extract_all(this, work, flags.log_format)
        stages.end("extract")
        published = reduce_all(this, planned, index, work, tally.tokens)
        stages.end("reduce")
        with contextlib.suppress(OSError):  # what is published is published
            told.write(this, stages)
        return tell(this, published, tally, stages)


def overrides(flags: argparse.Namespace, engine: Engine) -> dict[str, Any]:
    """What the flags and the environment say about settings."""
    said = {
        "model.name": flags.model or (os.environ.get("VLLM_MODEL") if engine == "endpoint" else None),
        "profile": flags.schema,
        "endpoint.url": endpoint_url(flags.endpoint) if engine == "endpoint" else None,
        "sglang.scenario": flags.scenario,
    }
    return {key: value for key, value in said.items() if value} | dict(map(parse_override, flags.set))


def extract_all(run: Run, work: pool.Work, log_format: LogFormat) -> Tally:
    """Ask for what is missing; nothing is started when nothing is."""
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
            for answers in pool.extract(run, work):
                progress.add(answers)
    return progress.tally


def reduce_all(run: Run, planned: plan.Plan, before: Index, work: pool.Work, tokens: Tokens) -> Manifest:
    """Merge, check that every document is accounted for, and publish."""
    index = run.ledger.index() if work.missing else before
    for path in index.skipped:
        LOG.print(f"skipped  {run.ledger.storage.full(path)} is no segment of the ledger")
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
    dead_fraction = counts.dead_letters / max(1, counts.documents)
    if dead_fraction > run.settings.max_dead_fraction:
        LOG.print(
            f"[bold]budget:[/] {counts.dead_letters:,} dead letters for {counts.documents:,} documents are more "
            f"than max_dead_fraction = {run.settings.max_dead_fraction:g}: exit {OVER_BUDGET}"
        )
        return OVER_BUDGET
    return DONE


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
