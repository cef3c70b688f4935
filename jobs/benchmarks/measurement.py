"""Measurements: samples, what they come to, how that is shown, and CPU time by who used it."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import psutil

ROLES = ("driver", "ray", "tasks", "actors", "server")
CpuSeconds = dict[str, float]


@dataclass
class CpuClock:
    """Seconds of CPU since it was made, by role. `servers` are process ids; a worker that has ended counts as a
    task, through the process that started it."""

    servers: tuple[int, ...] = ()
    _before: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = {pid: used for pid, used, _ in self._processes()}

    def seconds(self) -> CpuSeconds:
        """By role, those that used none too."""
        used_by_role = dict.fromkeys(ROLES, 0.0)
        for pid, used, role in self._processes():
            used_by_role[role] += used - self._before.get(pid, 0)
        return used_by_role

    def _processes(self) -> Iterator[tuple[int, float, str]]:
        """The process ids of this process and all below it, negative for what their ended children used."""
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            try:
                times, name = process.cpu_times(), " ".join(process.cmdline()[:1]) or process.name()
            except psutil.Error:
                continue
            yield process.pid, times.user + times.system, self._role(process.pid, name, me.pid)
            if name.endswith("raylet"):
                yield -process.pid, times.children_user + times.children_system, "tasks"

    def _role(self, pid: int, name: str, mine: int) -> str:
        if pid == mine:
            return "driver"
        if pid in self.servers:
            return "server"
        if not name.startswith("ray::"):
            return "ray"
        return "actors" if name.startswith("ray::MapWorker") else "tasks"


Wire = Literal["full", "bounded", "light"]
AskedBy = Literal["bare", "job", "raydata"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One chunk: when it was handed over and when it was done (seconds since the epoch), how long its answer
    took, and its tokens. `server` tells servers apart; `fault` is None for a profile."""

    began: float
    ended: float
    latency_s: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    fault: str | None
    first_token_s: float | None = None
    server: str = ""


def span_s(samples: Sequence[Sample]) -> float:
    """Seconds from the first of them that began to the last that ended."""
    return max(s.ended for s in samples) - min(s.began for s in samples)


@dataclass(frozen=True)
class Measurement:
    """A row on one path: `bare` is a client straight at the server, `job` the extract stage through Ray, `raydata`
    the SGLang stage of ray.data.llm.

    Times start with the first chunk that is handed over, not while servers start; the job's latencies hold
    the wait for a free slot. `engine_s` is from the first request to the last answer in the engine's own log, None
    where it keeps none. `processes` is what NVML saw on each GPU meanwhile.
    """

    row: str
    path: AskedBy
    wire: Wire
    servers: int
    limit: int
    startup_s: float
    flags: dict[str, Any]
    samples: tuple[Sample, ...]
    processes: tuple[dict[str, Any], ...] = field(default=())
    engine_s: float | None = None

    @property
    def seconds(self) -> float:
        """From the first chunk handed over to the last one done."""
        return span_s(self.samples)

    @property
    def chunks_per_s(self) -> float:
        """Chunks a second, whatever came of them."""
        return len(self.samples) / self.seconds

    @property
    def engine_chunks_per_s(self) -> float | None:
        """The same by the engine's log, in which all paths are timed alike."""
        return len(self.samples) / self.engine_s if self.engine_s else None

    def tokens_per_s(self, name: Literal["prompt_tokens", "cached_tokens", "completion_tokens"]) -> float:
        """Tokens of a kind a second; prompts count the part that the cache held, too."""
        return self._total(name) / self.seconds

    def percentile(self, share: float, name: Literal["latency_s", "first_token_s"] = "latency_s") -> float | None:
        """The latency that this share of the chunks did not exceed; None where it was not measured."""
        known = sorted(value for s in self.samples if (value := getattr(s, name)) is not None)
        return known[max(0, math.ceil(share * len(known)) - 1)] if known else None

    @property
    def cached(self) -> float:
        """The share of prompt tokens that the server's prefix cache held."""
        return self._total("cached_tokens") / max(1, self._total("prompt_tokens"))

    @property
    def faults(self) -> dict[str, int]:
        """How many chunks ended in which fault."""
        return dict(Counter(s.fault for s in self.samples if s.fault))

    def _total(self, name: str) -> int:
        return sum(getattr(s, name) for s in self.samples)

    def to_json(self) -> dict[str, Any]:
        """The figures, and the samples they come from, a list each, times from the first one's."""
        own = {key: value for key, value in asdict(self).items() if key != "samples"}
        began = min(s.began for s in self.samples)
        figures = {
            "chunks": len(self.samples),
            "seconds": self.seconds,
            "chunks_per_s": self.chunks_per_s,
            "engine_chunks_per_s": self.engine_chunks_per_s,
            "prompt_tokens_per_s": self.tokens_per_s("prompt_tokens"),
            "output_tokens_per_s": self.tokens_per_s("completion_tokens"),
            "output_tokens_per_chunk": self._total("completion_tokens") / len(self.samples),
            "latency_p50_s": self.percentile(0.5),
            "latency_p95_s": self.percentile(0.95),
            "first_token_p50_s": self.percentile(0.5, "first_token_s"),
            "cached_share": self.cached,
            "faults": self.faults,
        }
        rounded = {key: round(v, 4) if isinstance(v, float) else v for key, v in {**own, **figures}.items()}
        return {**rounded, "sample_columns": list(Sample.__slots__), "samples": self._rows(began)}

    def _rows(self, began: float) -> list[list[Any]]:
        rows = [list(asdict(s).values()) for s in self.samples]
        return [[round(row[0] - began, 3), round(row[1] - began, 3), round(row[2], 3), *row[3:]] for row in rows]


def rows_of(measured: Sequence[Measurement]) -> list[dict[str, Any]]:
    """A row each; `x` compares chunks a second with the first row, `engine` is chunks a second by its log."""
    return [
        {
            "row": one.row,
            "path": f"{one.path} x{one.servers}" if one.servers > 1 else one.path,
            "chunks/s": one.chunks_per_s,
            "x": one.chunks_per_s / measured[0].chunks_per_s,
            "engine": one.engine_chunks_per_s,
            "prompt/s": one.tokens_per_s("prompt_tokens"),
            "output/s": one.tokens_per_s("completion_tokens"),
            "p50 s": one.percentile(0.5),
            "p95 s": one.percentile(0.95),
            "first s": one.percentile(0.5, "first_token_s"),
            "cached": f"{one.cached:.0%}",
            "start s": one.startup_s,
            "faults": ", ".join(f"{count} {fault}" for fault, count in sorted(one.faults.items())) or "-",
        }
        for one in measured
    ]
