"""Progress of the extract stage: a live display on a terminal, a line now and then in a log, as text or as JSON.

A line of JSON has these keys, always all of them: `time` (ISO 8601, UTC), `event` ("extract"), `run`, `chunks` (of
the plan), `from_ledger` (of them in the ledger), `done`, `answered` and `failed` (in this run), `chunks_per_s`,
`tokens_per_s`, `prompt_tokens`, `cached_tokens`, `output_tokens`, `in_flight` (requests that a server works on, on
average), `servers_ready`, `servers_starting`, `nodes_awaited` (by type, of an autoscaler), `left_s` (null before
anything is done) and `last_fault` (null or a text).
"""

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from extraction.errors import one_line
from jobs.cli.command import LOG
from jobs.cli.number_format import clock, plural
from jobs.stages import ray_cluster
from jobs.stages.extract import Work
from jobs.stages.run import Run
from jobs.stages.run_stats import RunStats
from jobs.state.run_record import servers_in

LogFormat = Literal["text", "json"]
LINE_EVERY_S = 10.0
LINE_EVERY_MAX_S = 60.0
LOOK_EVERY_S = 2.0  # at the servers that are ready; each look is twice as long after the last one
REFRESHES_PER_S = 4
WIDTH_OF_BAR, INDENT_OF_NUMBERS = 40, 8
LENGTH_OF_FAULT = 160  # characters of it in a line of a log


def progress_of(run: Run, work: Work, log_format: LogFormat = "text") -> "Progress":
    """The progress of a run's extract stage, on standard error."""
    return Progress(
        LOG,
        work.missing,
        run_id=run.run_id,
        from_ledger=work.chunks - work.missing,
        servers=run.settings.servers.min_servers,
        ready=lambda: len(run.storage.list(servers_in(run.run_id), ".json")),
        awaited=ray_cluster.pending_nodes if run.fleet.gpus else dict,
        log_format=log_format,
    )


class Progress:
    """Shows the statistics of the extract stage while they grow, also while nothing comes: servers may take minutes
    to start.

    `total` requests are to be made, `from_ledger` chunks need none. `ready` counts the servers that are ready, of
    at least `servers`; it is asked in a thread of its own, since it may have to look into an object store.
    """

    def __init__(
        self,
        console: Console,
        total: int,
        *,
        run_id: str = "",
        from_ledger: int = 0,
        servers: int = 1,
        ready: Callable[[], int] = lambda: 0,
        awaited: Callable[[], Mapping[str, int]] = dict,
        log_format: LogFormat = "text",
        every_s: float = LINE_EVERY_S,
    ) -> None:
        self.stats = RunStats()
        self._console, self._total, self._run_id, self._from_ledger = console, total, run_id, from_ledger
        self._servers, self._count_ready, self._ready = servers, ready, 0
        self._ask_awaited, self._awaited = awaited, dict[str, int]()
        self._json = log_format == "json"
        self._live: Live | None = None
        self._pause, self._over = every_s, threading.Event()
        self._watch = threading.Thread(target=self._watch_on, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if not self._total:
            return self
        if self._console.is_terminal and not self._json:
            self._live = Live(
                console=self._console, get_renderable=self._display, refresh_per_second=REFRESHES_PER_S
            )
            self._live.start()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if not self._total:
            return
        self._watch.join()
        if self._live:
            self._live.stop()
        elif self.stats.done:
            self._print_line()

    def watch(self, stats: RunStats, _: pa.Table) -> None:
        """A watch of the extract stage: show these statistics from now on."""
        self.stats = stats

    def _watch_on(self) -> None:
        """Look at the servers until all are ready, and at the nodes that Ray waits for, ever more rarely: each look
        may list an object store. Print a line whenever one is due."""
        due, pause, look = time.monotonic() + self._pause, LOOK_EVERY_S, 0.0
        while not self._over.wait(min(LOOK_EVERY_S, max(0.0, due - time.monotonic()))):
            if time.monotonic() >= look:
                self._awaited = dict(sorted(self._ask_awaited().items()))
                if self.ready < self._servers:
                    with contextlib.suppress(Exception):  # a store that can't be read for a moment
                        self._ready = self._count_ready()
                look, pause = time.monotonic() + pause, min(2 * pause, LINE_EVERY_MAX_S)
            if time.monotonic() >= due:
                if not self._live:
                    self._print_line()
                self._pause = self._pause if self._json else min(2 * self._pause, LINE_EVERY_MAX_S)
                due = time.monotonic() + self._pause

    def _print_line(self) -> None:
        line = json.dumps(self._facts(), ensure_ascii=False) if self._json else self._line()
        self._console.print(Text(line), soft_wrap=True)

    @property
    def ready(self) -> int:
        """Servers that are known to be ready."""
        return max(self._ready, len(self.stats.servers))

    def _facts(self) -> dict[str, Any]:
        stats, left = self.stats, self.stats.left_s(self._total)
        return {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "event": "extract",
            "run": self._run_id,
            "chunks": self._total + self._from_ledger,
            "from_ledger": self._from_ledger,
            "done": stats.done,
            "answered": stats.answered,
            "failed": stats.failed,
            "chunks_per_s": round(stats.chunks_per_s, 3),
            "tokens_per_s": round(stats.tokens_per_s, 1),
            "prompt_tokens": stats.prompt_tokens,
            "cached_tokens": stats.cached_tokens,
            "output_tokens": stats.completion_tokens,
            "in_flight": round(stats.in_flight, 2),
            "servers_ready": self.ready,
            "servers_starting": max(0, self._servers - self.ready),
            "nodes_awaited": self._awaited,
            "left_s": None if left is None else round(left, 1),
            "last_fault": stats.last_fault,
        }

    def _line(self) -> str:
        stats, left = self.stats, self.stats.left_s(self._total)
        if not stats.done:
            return f"extract  0 of {self._total:,} chunks, {self._servers_in_words()}"
        ends = "" if not left else f", {clock(left)} left"
        held = f" ({self._from_ledger:,} more are in the ledger)" if self._from_ledger else ""
        cause = one_line(stats.last_fault or "", LENGTH_OF_FAULT)
        fault = f"; last fault {cause}" if cause else ""
        return (
            f"extract  {stats.done:,} of {self._total:,} chunks{held}, {stats.answered:,} answered, "
            f"{stats.failed:,} failed, {stats.tokens_per_s:,.0f} tokens/s, "
            f"{stats.in_flight:.1f} requests in flight{ends}{self._nodes_in_words()}{fault}"
        )

    def _servers_in_words(self) -> str:
        ready, wanted = self.ready, max(self.ready, self._servers)
        of = f"{ready:,} of " if 0 < ready < wanted else ""
        return f"{of}{plural(wanted, 'server')} {'ready' if ready else 'starting'}{self._nodes_in_words()}"

    def _nodes_in_words(self) -> str:
        nodes = (f"{count} {kind}" for kind, count in self._awaited.items())
        return f", waiting for nodes: {', '.join(nodes)}" if self._awaited else ""

    def _display(self) -> RenderableType:
        """The live display: a bar with pace and time, and under it what stands behind them."""
        stats, left = self.stats, self.stats.left_s(self._total)
        share = stats.done / self._total
        head = Table.grid(padding=(0, 1))
        bar: RenderableType = ProgressBar(self._total, stats.done, width=WIDTH_OF_BAR)
        if not stats.done:
            bar = Spinner("dots", Text("waiting for the first answer", style="dim"))
        pace = f"{stats.done:,} of {self._total:,}"
        speed = f"{stats.chunks_per_s:,.1f} chunks/s" if stats.done else ""
        head.add_row(
            Text("extract", style="bold"),
            bar,
            Text(f"{share:4.0%}", style="bold"),
            Text(pace),
            Text(speed, style="cyan"),
            Text(f"{clock(left)} left" if left else "", style="cyan"),
        )
        rows: list[RenderableType] = [head, self._numbers(stats)]
        if stats.last_fault:
            fault = Text.assemble(("        last fault  ", "dim"), (stats.last_fault, "yellow"))
            fault.truncate(max(20, self._console.width - 1), overflow="ellipsis")
            rows.append(fault)
        return Group(*rows)

    def _numbers(self, stats: RunStats) -> RenderableType:
        parts = [
            (f"{stats.answered:,} answered", "green"),
            (f"{stats.failed:,} failed", "red" if stats.failed else "dim"),
            *([(f"{self._from_ledger:,} from the ledger", "")] if self._from_ledger else []),
            (f"{stats.in_flight:.1f} in flight", ""),
            (f"{stats.tokens_per_s:,.0f} tokens/s", ""),
            (self._servers_in_words(), ""),
        ]
        line = Text(no_wrap=False, overflow="fold")  # a log's lines are not wrapped, these are
        for n, (words, style) in enumerate(parts):
            line.append(" · " if n else "", "dim").append(words, style)
        return Padding(line, (0, 0, 0, INDENT_OF_NUMBERS))
