"""What is asked of a server, what comes back, and the table that results are kept in.

This module imports no HTTP client: most processes of a run read results and send no request.
"""

from dataclasses import dataclass, field
from typing import Annotated, Protocol

import pyarrow as pa

from extraction.documents import Int32
from extraction.errors import Fault
from extraction.schema.arrow_types import schema_of

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
    """The result of a request, as the ledger keeps it: replies, or a fault."""

    chunk_id: Annotated[str, "The chunk"]
    replies: Annotated[
        tuple[str, ...],
        "The replies as JSON text: one, or one for each part of a chunk that was asked in parts; none after "
        "a fault",
    ] = ()
    scores: Annotated[
        tuple[tuple[Annotated[float, pa.float32()], ...], ...],
        "For each reply the log-probability of each of its values, in the order of the JSON",
    ] = field(default=(), kw_only=True)
    fault: Annotated[Fault | None, "Why there is no reply; null where there is one"] = None
    message: Annotated[str, "The fault in words"] = ""
    attempts: Annotated[Int32, "Requests that were made"] = 0
    prompt_tokens: Annotated[int, "Prompt tokens of all attempts"] = 0
    cached_tokens: Annotated[int, "Those of them that came from the prefix cache"] = 0
    completion_tokens: Annotated[int, "Output tokens of all attempts"] = 0
    latency_s: Annotated[
        float, "Seconds that the server had its requests, in all attempts; waits between them are not counted"
    ] = 0.0
    in_flight: Annotated[Int32, "Requests that the server worked on when the last one ended, this one included"] = 0
    truncated: Annotated[Int32, "Attempts whose reply was cut off"] = 0
    looped: Annotated[Int32, "Attempts whose reply repeated itself"] = 0
    ended_at: Annotated[float, "When the result was there, in seconds since 1970"] = 0.0
    server: Annotated[str, "Host and process of the actor that asked"] = ""


RESULTS = pa.schema(schema_of(Result))
RESULT_TEXTS = ("replies", "scores")  # these columns go to the ledger alone


class ResultStore(Protocol):
    """Durable storage for results."""

    def completed(self) -> dict[str, Result]:
        """The results by chunk id that this actor wrote before it was restarted."""
        ...

    def append(self, results: list[Result]) -> None:
        """Make results durable; blocks."""
        ...
