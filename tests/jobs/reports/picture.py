"""A picture of a report, for the README: what one sees of it at first.

python -m tests.jobs.reports.picture out/demo/report.html configs/report.png
"""

import sys
from pathlib import Path

from tests.jobs.reports.browser import launched

WIDTH, HEIGHT = 1280, 960


def main() -> None:
    """Draw the page of the first argument into the file of the second."""
    page_path, picture = map(Path, sys.argv[1:])
    with launched() as browser, browser.opened(page_path.resolve(), width=WIDTH, height=HEIGHT) as page:
        page.screenshot(path=picture)


if __name__ == "__main__":
    main()
