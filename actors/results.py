"""What is asked of a server, what comes back, and the table that results are kept in.

This module imports no HTTP client: most processes of a run read results and send no request.
"""

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from extraction.errors import Fault

SERVER_GONE = "; nor does the server answer a test request"


@dataclass(frozen=True, slots=True)
class Request:
    """A chunk as the client needs it. Lengths in tokens."""

    chunk_id: str
    content: str
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a request: profiles as JSON texts, or a fault. Tokens are summed over its attempts.

    `replies` is one profile as the model wrote it, or one for each part of a chunk that had to be sent in parts;
    `scores` holds for each the log-probabilities of its leaves (see `extraction.prompting.logprobs`), none where
    the server gave none. `truncated` and `looped` count the attempts that were cut off or repeated themselves.
    `latency_s` is the time that the server had its requests, without waits. `in_flight` is the number of requests
    that the server worked on when this one ended, itself included; `ended_at` is when that was (seconds since
    1970), `server` the host and process id of the actor that sent it.
    """

    chunk_id: str
    replies: tuple[str, ...] = ()
    fault: Fault | None = None
    message: str = ""
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    in_flight: int = 0
    truncated: int = 0
    looped: int = 0
    ended_at: float = 0.0
    server: str = ""
    scores: tuple[tuple[float, ...], ...] = ()


RESULTS = pa.schema(
    [
        ("chunk_id", pa.string()),
        ("replies", pa.list_(pa.string())),
        ("scores", pa.list_(pa.list_(pa.float32()))),
        ("fault", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("latency_s", pa.float64()),
        ("in_flight", pa.int32()),
        ("truncated", pa.int32()),
        ("looped", pa.int32()),
        ("ended_at", pa.float64()),
        ("server", pa.string()),
    ]
)
RESULT_TEXTS = ("replies", "scores")  # these columns go to the ledger alone


class ResultStore(Protocol):
    """Durable storage for results."""

    def completed(self) -> dict[str, Result]:
        """The results by chunk id that this actor wrote before it was restarted."""
        ...

    def append(self, results: list[Result]) -> None:
        """Make results durable; blocks."""
        ...
