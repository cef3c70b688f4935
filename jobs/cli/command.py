"""What every entry point shares: its flags' parser, its exit codes, and where it says what went wrong."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from extraction.errors import OperatorError, ProfilesError
from jobs.stages import cluster

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DONE, FAILED, MISTAKE, OVER_BUDGET = 0, 1, 2, 3
LOG = Console(stderr=True, highlight=False, soft_wrap=True)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line."""

    def __init__(self, prog: str, description: str | None = None, **more: Any) -> None:
        kept = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, formatter_class=kept, **more)

    def error(self, message: str) -> NoReturn:
        """Raise OperatorError instead of printing the usage."""
        raise OperatorError(f"{message} (--help lists the flags)")


def enter(run: Callable[[argparse.Namespace], int], flags: Parser, argv: Sequence[str] | None) -> int:
    """Run what the command line asks for, and say in one line what went wrong; the exit code."""
    try:
        return run(flags.parse_args(argv))
    except ProfilesError as error:
        return complain(error)


def complain(error: BaseException) -> int:
    """Say what went wrong, and return the exit code. Raises again what is no error of this project's."""
    ours = cluster.reason(error)
    if ours is None:
        raise error
    LOG.print(Text.assemble(("error: ", "bold red"), str(ours).replace("\n", "\n  ")))
    return MISTAKE if isinstance(ours, OperatorError) else FAILED
