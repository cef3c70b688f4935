"""A declared backfill: every partition of an input is published, and kept so, by one run after another.

    python jobs/backfill.py configs/backfill.yaml --dry-run     what is to do, how large it is, what it costs
    python jobs/backfill.py configs/backfill.yaml               do it; again, to go on where it stopped

A run publishes the partitions of the window that are new, changed (input or settings), failed or incomplete, and
leaves those that are done alone: their documents are not read. All partitions share the ledger, so only changed
documents cost anything, and a chunk that two partitions have is paid once. Partitions are planned together, asked
about in one extract stage (its servers start once, however many partitions there are), and published each for
itself as soon as it is complete. What this process knows is in the output, so that the next run goes on after a
kill at any time.

    OUTPUT/<key>=<value>/      a partition's profiles, dead letters and manifest.json, as extract.py leaves them
    OUTPUT/<key>=<value>/backfill.json   what it was made of, and what that cost
    OUTPUT/window/             one profile a company over all partitions, where `publish` asks for it
    OUTPUT/work/               the shared ledger, what each run spent, and the lease of the one at work

A run that finds another at work leaves. At a budget or the deadline it stops between answers, publishes what is
complete, and the next one goes on; a partition that fails does not stop the others.

    cron:       0 * * * *  cd /srv/profiles && .venv/bin/python jobs/backfill.py configs/backfill.yaml
    Ray:        ray job submit --working-dir . -- python jobs/backfill.py configs/backfill.yaml
    Kubernetes: a CronJob with concurrencyPolicy Forbid that runs either of them

Exit codes: 0 done, stopped at a budget or deadline, or another run is at work; 1 a partition failed, safe to run
again; 2 the operator's mistake; 3 published, but more dead documents in a partition than `max_dead_fraction`.
"""

import sys
from functools import partial
from typing import Annotated

from jobs.backfills.batches import Backfill
from jobs.backfills.config import load_backfill
from jobs.backfills.dry_run import show_estimate
from jobs.backfills.runner import run_backfill
from jobs.cli.command import command, enter
from jobs.cli.flags import NOTHING, FilePath, Overrides, Rate, flag

RETRY_FAILED = "ask again for chunks that failed by their document's fault, in partitions with dead letters"
app = command("backfill.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    declaration: Annotated[FilePath, flag("the backfill, such as configs/backfill.yaml", name="FILE")],
    /,
    *,
    dry_run: Annotated[bool, flag("print what is to do and what it costs")] = False,
    again: Annotated[bool, flag("publish anew what is done, too; asks nothing again")] = False,
    retry_failed: Annotated[bool, flag(RETRY_FAILED)] = False,
    chunks_per_s: Annotated[Rate | None, flag("of one GPU, for --dry-run (default: as runs so far showed)")] = None,
    overrides: Annotated[
        Overrides, flag("lay a value over the declaration, such as budgets.run.requests=1000", name="--set")
    ] = NOTHING,
) -> int:
    """Run the backfill, or print what a run would do."""
    backfill = Backfill(load_backfill(declaration, overrides), again=again, retry_failed=retry_failed)
    return show_estimate(backfill, chunks_per_s) if dry_run else run_backfill(backfill)


if __name__ == "__main__":
    sys.exit(main())
