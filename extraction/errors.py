"""What can go wrong: who is at fault, and whether asking again can help.

    ProfilesError
    ├── OperatorError   configuration, input or credentials are wrong: one line, exit 2, do not retry
    └── RunError        the system broke: exit 1, the same command goes on where it stopped

A `Fault` is what became of a document or a chunk. It is a value in a row, never an exception that
leaves an actor.
"""

from enum import StrEnum

LONGEST_DESCRIPTION = 300  # characters


def one_line(text: str, longest: int | None = None) -> str:
    """A text in one line, of printable characters, at most so many of them."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"


def described_error(error: BaseException) -> str:
    """An error of any library in one line: its type, and what it says."""
    return one_line(f"{type(error).__name__}: {error}", LONGEST_DESCRIPTION)


class ProfilesError(Exception):
    """Root of every error that this project raises on purpose."""


class OperatorError(ProfilesError):
    """The operator's mistake: the message says what, the value, and the remedy."""


class RunError(ProfilesError):
    """The system broke: nothing is published, the ledger is kept, the same command goes on."""


class Fault(StrEnum):
    """Why a document or a chunk gave nothing."""

    # of the document, found while planning
    MISSING_ID = "missing_id"
    EMPTY = "empty"
    NOT_TEXT = "not_text"
    TOO_LARGE = "too_large"
    DUPLICATE_ID = "duplicate_id"
    UNREADABLE = "unreadable"
    # of the answer
    TOO_LONG = "too_long"
    TRUNCATED = "truncated"
    REPETITION = "repetition"
    INVALID = "invalid"
    REJECTED = "rejected"
    NO_COMPANY = "no_company"
    POISON = "poison"  # it kills the server that works on it
    # of the server
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    ABORTED = "aborted"

    @property
    def retryable(self) -> bool:
        """Whether a later run asks again by itself: the server was at fault, not the document."""
        return self in (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.ABORTED)
