"""Progress of the extract stage: a bar on a terminal, a line now and then in a log."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from jobs.manifest import Tokens

LINE_EVERY_S = 10.0
LINE_EVERY_MAX_S = 60.0


@dataclass
class Tally:
    """What came of the requests of this run. `servers` has the first and the last moment (seconds since 1970) that
    each server is known to have worked in."""

    answered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    busy: int = 0
    began: float | None = None
    servers: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, answers: pa.Table) -> None:
        """Count a table of ANSWERS. Time begins when the first of them was asked, not while servers start."""
        if self.began is None:
            self.began = time.monotonic() - (pc.max(answers["latency_s"]).as_py() or 0)
        failed = answers.num_rows - answers["fault"].null_count
        self.answered += answers.num_rows - failed
        self.failed += failed
        self.prompt_tokens += pc.sum(answers["prompt_tokens"]).as_py() or 0
        self.cached_tokens += pc.sum(answers["cached_tokens"]).as_py() or 0
        self.completion_tokens += pc.sum(answers["completion_tokens"]).as_py() or 0
        self.busy += pc.sum(answers["in_flight"]).as_py() or 0
        self._see(answers)

    def _see(self, answers: pa.Table) -> None:
        began = pc.subtract(answers["ended_at"], answers["latency_s"])
        spans = pa.table({"server": answers["server"], "began": began, "ended": answers["ended_at"]})
        spans = spans.group_by("server").aggregate([("began", "min"), ("ended", "max")])
        for row in spans.to_pylist():
            span = row["began_min"], row["ended_max"]
            first, last = self.servers.get(row["server"], span)
            self.servers[row["server"]] = min(first, span[0]), max(last, span[1])

    @property
    def server_hours(self) -> float:
        """Hours that servers worked, from the first request of each to its last answer."""
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
        return self.busy / self.done if self.done else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Prompt and output tokens a second."""
        return (self.prompt_tokens + self.completion_tokens) / self.seconds if self.done else 0.0

    @property
    def tokens(self) -> Tokens:
        """The tokens as the manifest has them."""
        return Tokens(prompt=self.prompt_tokens, cached=self.cached_tokens, completion=self.completion_tokens)

    def left_s(self, total: int) -> float | None:
        """Seconds to go at this pace, None before anything is done."""
        return self.seconds / self.done * (total - self.done) if self.done else None


class Progress:
    """Shows a tally while it grows."""

    def __init__(self, console: Console, total: int) -> None:
        self.tally = Tally()
        self._console, self._total = console, total
        self._bar: Bar | None = None
        self._next_line, self._pause = time.monotonic() + LINE_EVERY_S, LINE_EVERY_S

    def __enter__(self) -> Self:
        if self._console.is_terminal and self._total:
            self._bar = Bar(
                TextColumn("extract"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
                console=self._console,
            )  # fmt: skip
            self._bar.add_task("extract", total=self._total, told="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif self.tally.done:
            self._console.print(self._line())

    def add(self, answers: pa.Table) -> None:
        """Count answers and show where the stage stands."""
        self.tally.add(answers)
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self.tally.done, told=self._told())
        elif time.monotonic() >= self._next_line:
            self._console.print(self._line())
            self._pause = min(2 * self._pause, LINE_EVERY_MAX_S)
            self._next_line = time.monotonic() + self._pause

    def _line(self) -> str:
        return f"extract  {self.tally.done:,} of {self._total:,} chunks, {self._told()}"

    def _told(self) -> str:
        tally, left = self.tally, self.tally.left_s(self._total)
        ends = "" if not left else f", {clock(left)} left"
        return (
            f"{tally.answered:,} answered, {tally.failed:,} failed, {tally.tokens_per_s:,.0f} tokens/s, "
            f"{tally.in_flight:.1f} requests in flight{ends}"
        )


def clock(seconds: float) -> str:
    """Seconds as a person reads them: 42 s, 3:05, 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
