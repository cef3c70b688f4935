"""The exit codes of all commands. A scheduler runs a job again after 1 alone: 2 and 3 would end the same way."""

from extraction.errors import OperatorError

DONE = 0  # done, or published
FAILED = 1  # the system broke: the same command goes on where it stopped
MISTAKE = 2  # the operator's mistake: configuration, input or credentials
OVER_BUDGET = 3  # published, but more documents are dead than `max_dead_fraction`


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that ends with an error of this project."""
    return MISTAKE if isinstance(error, OperatorError) else FAILED
