"""The demo documents as the Parquet file that the job reads.

python jobs/demo.py --output out/demo/documents.parquet
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.command import DONE, Parser
from jobs.cli.demo_documents import write_demo


def parser() -> Parser:
    """The command line."""
    flags = Parser("demo.py", __doc__)
    flags.add_argument("--output", type=Path, required=True, metavar="FILE", help="a Parquet file to write")
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Write them where --output says."""
    write_demo(parser().parse_args(argv).output)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
