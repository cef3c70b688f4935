"""The report of a run: one page with its flow, speed, fields, failures and settings, and a viewer of its companies.

python jobs/report.py OUT [--labels FILE]

writes OUT/report.html anew from what the run left behind, and prints where it is. Exit codes: 0 written; 1 failed;
2 the operator's mistake.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from extraction.errors import RunError
from extraction.evaluation.labels import load_labels
from extraction.merging.confidence import Bin
from jobs.cli.command import DONE, Parser, enter
from jobs.reports.page import REPORT, write_report
from jobs.reports.scores import score
from jobs.state.published_run import PublishedRun


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
    published = PublishedRun.at(flags.output, "OUT")
    try:
        write_report(published, reliability=_reliability(published, flags.labels) if flags.labels else ())
    except OSError as error:
        raise RunError(f"{published.storage.full(REPORT)} can't be written: {error}") from None
    print(published.storage.full(REPORT))
    return DONE


def _reliability(published: PublishedRun, labels: Path) -> Sequence[Bin]:
    return score(published, published.model(), load_labels(labels)).reliability


if __name__ == "__main__":
    sys.exit(main())
