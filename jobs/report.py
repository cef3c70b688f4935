"""The report of a run: one page with its flow, speed, fields, failures and settings, and a viewer of its companies.

python jobs/report.py OUT [--labels FILE]

writes OUT/report.html anew from what the run left behind, and prints where it is. Exit codes: 0 written; 1 failed;
2 the operator's mistake.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from extraction.errors import RunError
from extraction.evaluation.labels import load
from extraction.merging.confidence import Bin
from jobs.cli.command import DONE, LOG, Parser, enter
from jobs.reports.facts import facts
from jobs.reports.page import render
from jobs.reports.score import score
from jobs.state.manifest import Manifest
from jobs.state.published import Published
from jobs.state.storage import Storage

NAME = "report.html"
ROOM = 7_500_000  # bytes of companies in a page


def parser() -> Parser:
    """The command line."""
    flags = Parser("report.py", __doc__)
    flags.add_argument("output", metavar="OUT", help="an output folder or URL of extract.py")
    flags.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="as evaluate.py takes them: show how well confidence holds by them",
    )
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Write it, and say in one line what went wrong."""
    return enter(run, parser(), argv)


def run(flags: argparse.Namespace) -> int:
    """Write the report of what is published."""
    published = Published.at(flags.output, "OUT")
    try:
        write(published, reliability=_reliability(published, flags.labels) if flags.labels else ())
    except OSError as error:
        raise RunError(f"{published.storage.full(NAME)} can't be written: {error}") from None
    print(published.storage.full(NAME))
    return DONE


def _reliability(published: Published, labels: Path) -> Sequence[Bin]:
    return score(published, published.model(), load(labels)).reliability


def write(published: Published, room: int = ROOM, reliability: Sequence[Bin] = ()) -> None:
    """Put the report in place; `room` bytes of it may be companies."""
    found, data = facts(published, room, reliability)
    published.storage.write(NAME, render(found, data))


def leave(storage: Storage, manifest: Manifest) -> str | None:
    """The path of a run's report; None where it could not be written, which no run fails of."""
    try:
        write(Published(storage, manifest))
    except Exception as error:
        LOG.print(f"report   could not be written: {escape(f'{type(error).__name__}: {error}'.splitlines()[0])}")
        return None
    return storage.full(NAME)


if __name__ == "__main__":
    sys.exit(main())
