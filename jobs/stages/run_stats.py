"""Statistics of the extract stage: what came of its requests, and how fast."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from extraction.errors import one_line
from jobs.state.manifest import Tokens


@dataclass
class RunStats:
    """What came of the requests of a run. `servers` has the first and the last moment (seconds since 1970) from the
    start of each server's process that it is known to have run."""

    answered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    in_flight_total: int = 0
    began: float | None = None
    servers: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_fault: str | None = None

    def add(self, answers: pa.Table) -> None:
        """Count results, as extractors return them. Time begins when the first of them was asked, not while servers
        start."""
        if self.began is None:
            self.began = time.monotonic() - (pc.max(answers["latency_s"]).as_py() or 0)
        failed = answers.num_rows - answers["fault"].null_count
        self.answered += answers.num_rows - failed
        self.failed += failed
        self.prompt_tokens += pc.sum(answers["prompt_tokens"]).as_py() or 0
        self.cached_tokens += pc.sum(answers["cached_tokens"]).as_py() or 0
        self.completion_tokens += pc.sum(answers["completion_tokens"]).as_py() or 0
        self.in_flight_total += pc.sum(answers["in_flight"]).as_py() or 0
        self._see(answers)
        if failed:
            self._note_fault(answers)

    def _see(self, answers: pa.Table) -> None:
        began = pc.subtract(answers["ended_at"], answers["latency_s"])
        spans = pa.table({"server": answers["server"], "began": began, "ended": answers["ended_at"]})
        spans = spans.group_by("server").aggregate([("began", "min"), ("ended", "max")])
        for row in spans.to_pylist():
            self._ran(row["server"], row["began_min"], row["ended_max"])

    def _ran(self, server: str, first: float, last: float) -> None:
        known = self.servers.get(server, (first, last))
        self.servers[server] = min(first, known[0]), max(last, known[1])

    def started(self, server: str, at: float) -> None:
        """Take in when a server's process was started."""
        self._ran(server, at, at)

    def settle(self, spans: Mapping[str, tuple[float, float | None]]) -> None:
        """Take in from when to when servers ran, those included that gave no answer; one whose end nobody knows ran
        until now."""
        for server, (began, ended) in spans.items():
            self._ran(server, began, time.time() if ended is None else ended)

    def _note_fault(self, answers: pa.Table) -> None:
        last = answers.filter(pc.is_valid(answers["fault"])).select(["fault", "message"])
        last = last.slice(last.num_rows - 1).to_pylist()[0]
        self.last_fault = one_line(f"{last['fault']}: {last['message'] or ''}")

    @property
    def server_hours(self) -> float:
        """Hours of servers, from the start of each one's process to its last answer, or to its end once `settle` is
        told of it."""
        return sum(last - first for first, last in self.servers.values()) / 3600

    @property
    def done(self) -> int:
        """Requests that came to an end."""
        return self.answered + self.failed

    @property
    def seconds(self) -> float:
        """Time since the first request."""
        return max(1e-9, time.monotonic() - self.began) if self.began is not None else 0.0

    @property
    def in_flight(self) -> float:
        """Requests that a server worked on at a time, seen whenever one ended."""
        return self.in_flight_total / self.done if self.done else 0.0

    @property
    def chunks_per_s(self) -> float:
        """Requests that came to an end a second."""
        return self.done / self.seconds if self.done else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Prompt and output tokens a second."""
        return (self.prompt_tokens + self.completion_tokens) / self.seconds if self.done else 0.0

    @property
    def tokens(self) -> Tokens:
        """The tokens as the manifest has them."""
        return Tokens(prompt=self.prompt_tokens, cached=self.cached_tokens, completion=self.completion_tokens)

    def left_s(self, total: int) -> float | None:
        """Seconds to go at this pace, None before anything is done. What is in flight counts as half done."""
        if not self.done:
            return None
        under_way = min(self.in_flight * len(self.servers), total - self.done) / 2
        return self.seconds / (self.done + under_way) * (total - self.done - under_way)
