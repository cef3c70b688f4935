"""A declared backfill: every partition of an input published, and kept so, tick by tick of a scheduler.

    backfill.py configs/backfill.yaml --dry-run     what is to do, how large it is, what it costs
    backfill.py configs/backfill.yaml               do it; again, to go on where it stopped

A tick runs the partitions of the window that are new, changed (input or settings), failed or incomplete, and leaves
those that are done alone: their documents are not read. All partitions share the ledger, so only changed documents
cost anything, and a chunk that stands in two partitions is paid once. Partitions are planned together, asked about
in one extract stage (its servers start once, however many partitions there are), and published each for itself as
soon as it is complete. All of that happens in this process on one Ray: what could crash runs in Ray's workers, and
what this process knows stands in the output, so that the next tick goes on after a kill at any time.

    OUTPUT/<key>=<value>/      a partition's profiles, dead letters and manifest.json, as extract.py leaves them
    OUTPUT/<key>=<value>/backfill.json   what it was made of, and what that took
    OUTPUT/work/               the shared ledger, what each tick spent, and the lease of the one at work

A tick that finds another at work leaves. At a budget or the deadline it stops between answers, publishes what is
complete, and the next one goes on; a partition that fails does not stop the others.

    cron:       0 * * * *  cd /srv/profiles && .venv/bin/python jobs/backfill.py configs/backfill.yaml
    Ray:        ray job submit --working-dir . -- python jobs/backfill.py configs/backfill.yaml
    Kubernetes: a CronJob with concurrencyPolicy Forbid that runs either of them

Exit codes: 0 done, stopped at a budget or deadline, or another tick is at work; 1 a partition failed, safe to run
again; 2 the operator's mistake; 3 published, but partitions with more dead letters than `max_dead_fraction` allows.
"""

import argparse
import datetime
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import ray.exceptions

from extraction.config.settings import parse_override
from extraction.errors import OperatorError, ProfilesError
from jobs.backfills import config, estimate
from jobs.backfills.config import Declaration
from jobs.backfills.partition_state import standings
from jobs.backfills.partitions import Partition, Pattern
from jobs.backfills.runner import BackfillRun
from jobs.cli.command import DONE, FAILED, LOG, Parser, complain
from jobs.stages.run import Run, new_run_id
from jobs.state.lease import Taken, lease
from jobs.state.ledger import LEDGERS
from jobs.state.storage import storage_at
from jobs.state.tables import profile_schema


def parser() -> Parser:
    """The command line."""
    flags = Parser("backfill.py", __doc__)
    flags.add_argument("declaration", type=Path, metavar="FILE", help="the backfill, such as configs/backfill.yaml")
    flags.add_argument("--dry-run", action="store_true", help="print what is to do and what it costs")
    flags.add_argument("--again", action="store_true", help="publish anew what is done, too; asks nothing again")
    flags.add_argument(
        "--retry-failed",
        action="store_true",
        help="ask again for chunks that failed by their document's fault, in partitions with dead letters",
    )
    flags.add_argument(
        "--chunks-per-s", type=float, metavar="X", help="of one GPU, for --dry-run (default: as ticks showed)"
    )
    flags.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="lay a value over the declaration, such as budgets.tick.requests=1000",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tick, and say in one line what went wrong."""
    try:
        return run(parser().parse_args(argv))
    except (ProfilesError, ray.exceptions.RayError, OSError) as error:
        return complain(error)
    except KeyboardInterrupt:
        LOG.print("interrupted: what was answered is in the ledger, the next tick goes on from there")
        return FAILED


def run(flags: argparse.Namespace) -> int:
    """One tick, or what it would be."""
    declared = config.load_backfill(flags.declaration, dict(map(parse_override, flags.set)))
    partitions = in_window(declared, datetime.datetime.now(datetime.UTC).date())
    settings, servers = declared.extract.resolve()
    output, run_id = storage_at(declared.output, "output"), new_run_id()
    logs = Path(tempfile.gettempdir(), "company-profiles", run_id)
    whole = Run(run_id, settings, servers, output, logs, output.under(LEDGERS))
    profile_schema(whole.model)
    if flags.dry_run:
        found = standings(output, partitions, recipe(whole), declared.attempts)
        return estimate.show_estimate(whole, recipe(whole), found, flags.chunks_per_s, again=flags.again)
    with ExitStack() as held:
        try:
            held.enter_context(lease(output, run_id))
        except Taken as taken:
            LOG.print(f"backfill {declared.name}: another tick is at work: {taken}", markup=False)
            return DONE
        found = standings(output, partitions, recipe(whole), declared.attempts)
        tick = BackfillRun(declared, whole, recipe(whole), retry_failed=flags.retry_failed)
        return tick.run(found, again=flags.again)


def in_window(declared: Declaration, today: datetime.date) -> list[Partition]:
    """The partitions of the window, in the order in which they are run."""
    pattern = Pattern(declared.input)
    if not pattern.dated and declared.window != config.Window():
        raise OperatorError(f"window: {declared.input} has no {{date}} to which it could apply")
    within = [p for p in pattern.partitions() if p.day is None or declared.window.holds(p.day, today)]
    if declared.order == "newest":
        within.sort(key=lambda p: (p.day or today).toordinal(), reverse=True)
    else:
        within.sort(key=lambda p: (p.day or today).toordinal())
    return within


def recipe(run: Run) -> str:
    """A digest of all settings that decide what is published of an input."""
    told = run.settings.model_dump(mode="json", include={"profile", "columns", "limits", "trust"})
    return hashlib.sha256(json.dumps([run.fingerprint, told], sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
