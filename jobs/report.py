"""The report of a run: one page with its flow, speed, fields, failures and settings, and a viewer of its companies.

    python jobs/report.py OUT
    python jobs/report.py OUT --labels FILE

It writes OUT/report.html anew from what the run left behind, and prints where it is.

Exit codes: 0 written; 1 failed; 2 the operator's mistake.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from extraction.errors import RunError
from extraction.evaluation.labels import load_labels
from extraction.merging.confidence import Bin
from jobs.cli.command import command, enter
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FilePath, Published, flag
from jobs.reports.html_page import REPORT, write_report
from jobs.reports.scores import score
from jobs.state.published_run import PublishedRun

app = command("report.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    out: Published,
    /,
    *,
    labels: Annotated[
        FilePath | None, flag("as evaluate.py takes them: show how well confidence holds by them")
    ] = None,
) -> int:
    """Write the report of what is published."""
    published = PublishedRun.at(out, "OUT")
    try:
        write_report(published, reliability=_reliability(published, labels) if labels else ())
    except OSError as error:
        raise RunError(f"{published.storage.full(REPORT)} can't be written: {error}") from None
    print(published.storage.full(REPORT))
    return DONE


def _reliability(published: PublishedRun, labels: Path) -> Sequence[Bin]:
    return score(published, published.model(), load_labels(labels)).reliability


if __name__ == "__main__":
    sys.exit(main())
