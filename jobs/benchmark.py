"""Measure what this project claims: benchmark.py BENCHMARK --help lists what each one takes.

Exit codes: 0 measured; 1 something could not be measured; 2 the operator's mistake.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import ray.exceptions
from rich.text import Text

from extraction.errors import OperatorError, ProfilesError
from jobs import cluster
from jobs.benchmarks import merging, serving
from jobs.extract import FAILED, LOG, MISTAKE, Parser

# Each has add_arguments(parser) and run(flags), which returns an exit code.
BENCHMARKS: dict[str, ModuleType] = {"serving": serving, "merging": merging}


def parser() -> argparse.ArgumentParser:
    """The command line, a subcommand for each benchmark."""
    flags = Parser(prog="benchmark.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = flags.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        told = (module.__doc__ or "").strip()
        own = commands.add_parser(
            name,
            help=told.splitlines()[0],
            description=told,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(own)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and say in one line what went wrong."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        flags = parser().parse_args(given)
        flags.command = given
        return int(BENCHMARKS[flags.benchmark].run(flags))
    except (ProfilesError, ray.exceptions.RayError) as error:
        ours = cluster.reason(error)
        if ours is None:
            raise
        LOG.print(Text.assemble(("error: ", "bold red"), str(ours).replace("\n", "\n  ")))
        return MISTAKE if isinstance(ours, OperatorError) else FAILED


if __name__ == "__main__":
    sys.exit(main())
