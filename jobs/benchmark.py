"""Measure what this project claims: benchmark.py BENCHMARK --help lists what each one takes.

Exit codes: 0 measured; 1 something could not be measured; 2 the operator's mistake.
"""

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import ray.exceptions

from extraction.errors import ProfilesError
from jobs.benchmarks import dispatching, merging, planning, resume, serving
from jobs.cli.command import Parser, complain

# Each has add_arguments(parser) and run(flags), which returns an exit code.
BENCHMARKS: dict[str, ModuleType] = {
    "serving": serving,
    "planning": planning,
    "dispatching": dispatching,
    "merging": merging,
    "resume": resume,
}


def parser() -> argparse.ArgumentParser:
    """The command line, a subcommand for each benchmark."""
    flags = Parser("benchmark.py", __doc__)
    commands = flags.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, module in BENCHMARKS.items():
        told = (module.__doc__ or "").strip()
        module.add_arguments(commands.add_parser(name, help=told.splitlines()[0], description=told))
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and say in one line what went wrong."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        flags = parser().parse_args(given)
        flags.command = given
        return int(BENCHMARKS[flags.benchmark].run(flags))
    except (ProfilesError, ray.exceptions.RayError) as error:
        return complain(error)


if __name__ == "__main__":
    sys.exit(main())
