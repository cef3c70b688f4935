"""The demo documents as the Parquet file that the job reads.

    python jobs/demo.py --output out/demo/documents.parquet

Exit codes: 0 written; 2 the operator's mistake.
"""

import sys
from functools import partial
from typing import Annotated

from jobs.cli.command import command, enter
from jobs.cli.demo_documents import write_demo
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FilePath, flag

app = command("demo.py", __doc__)
main = partial(enter, app)


@app.default
def run(*, output: Annotated[FilePath, flag("a Parquet file to write")]) -> int:
    """Write them where --output says."""
    write_demo(output)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
