"""What an actor tells Prometheus, through the Ray node that it runs on.

A request costs some additions; a thread hands the sums to Ray every few seconds, together with what the server
says of itself on its own page of metrics, which listens on loopback only.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import ray.util.metrics
from prometheus_client.parser import text_string_to_metric_families

from actors.retrying_client import Result
from actors.servers.supervisor import DIRECT, say

REPORT_S = 5.0
PAGE_TIMEOUT_S = 5
ANSWERED = "none"


@dataclass(frozen=True)
class Metric:
    """A metric as Ray knows it; Prometheus sees it as `exported`. Each has the tag `server` too."""

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    tags: tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        """The name that Ray's nodes export it by."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


CHUNKS_METRIC = Metric(
    "extract_chunks", "counter", "Chunks that came to an end, by fault; none: answered", ("fault",)
)
ATTEMPTS = Metric("extract_attempts", "counter", "Requests sent")
TOKENS = Metric("extract_tokens", "counter", "Tokens: prompt, those of them that were cached, output", ("kind",))
RESTARTS = Metric("extract_server_restarts", "counter", "Servers started again after they died or hung")
IN_FLIGHT = Metric("extract_in_flight", "gauge", "Requests under way")
WAITING_METRIC = Metric("extract_waiting", "gauge", "Requests that wait for one of them to end")
RUNNING = Metric("extract_server_running", "gauge", "Requests that the server runs, as it says")
QUEUED_METRIC = Metric("extract_server_queued", "gauge", "Requests in the server's own queue")
KV_USAGE = Metric("extract_server_kv_usage", "gauge", "Share of the server's KV cache that is in use, 0 to 1")
METRICS = (CHUNKS_METRIC, ATTEMPTS, TOKENS, RESTARTS, IN_FLIGHT, WAITING_METRIC, RUNNING, QUEUED_METRIC, KV_USAGE)

# SGLang 0.5.17 and 0.5.23: srt/observability/metrics_collector.py
SAID_BY_SERVER = {
    "sglang:num_running_reqs": RUNNING,
    "sglang:num_queue_reqs": QUEUED_METRIC,
    "sglang:token_usage": KV_USAGE,
}


@dataclass(frozen=True)
class MetricsState:
    """An actor as it is now: its requests, its server's restarts so far, and the URL of its server's metrics."""

    in_flight: int = 0
    waiting: int = 0
    restarts: int = 0
    page: str | None = None


class Meter:
    """Counts an actor's answers and reports them. No failure of it is anybody else's."""

    def __init__(self, server: str, state: Callable[[], MetricsState]) -> None:
        self._server, self._state = server, state
        self._sums: Counter[tuple[Metric, str]] = Counter()
        self._reported: Counter[tuple[Metric, str]] = Counter()
        self._made: dict[Metric, ray.util.metrics.Metric] = {}
        self._failed = False

    def add(self, answer: Result) -> None:
        """Count an answer."""
        self._sums[CHUNKS_METRIC, answer.fault or ANSWERED] += 1
        self._sums[ATTEMPTS, ""] += answer.attempts
        self._sums[TOKENS, "prompt"] += answer.prompt_tokens
        self._sums[TOKENS, "cached"] += answer.cached_tokens
        self._sums[TOKENS, "output"] += answer.completion_tokens

    def start(self) -> None:
        """Report from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(REPORT_S):
            try:
                self.report()
            except ReferenceError:  # the actor has come to its end
                return
            except Exception as error:
                if not self._failed:
                    say(f"{self._server}: metrics are not reported ({type(error).__name__}: {error})")
                self._failed = True

    def report(self) -> None:
        """Hand what is new to Ray."""
        state = self._state()
        self._sums[RESTARTS, ""] = state.restarts
        for key, total in list(self._sums.items()):
            if new := total - self._reported[key]:
                metric, tag = key
                self._ray(metric).inc(new, dict.fromkeys(metric.tags, tag))
                self._reported[key] = total
        self._ray(IN_FLIGHT).set(state.in_flight)
        self._ray(WAITING_METRIC).set(state.waiting)
        if state.page:
            for metric, value in read_page(state.page):
                self._ray(metric).set(value)

    def _ray(self, metric: Metric) -> ray.util.metrics.Metric:
        if metric not in self._made:
            kinds = {"counter": ray.util.metrics.Counter, "gauge": ray.util.metrics.Gauge}
            made = kinds[metric.kind](metric.name, metric.description, ("server", *metric.tags))
            made.set_default_tags({"server": self._server})
            self._made[metric] = made
        return self._made[metric]


def read_page(url: str) -> Iterable[tuple[Metric, float]]:
    """What a server says of itself: the largest value where its processes say several."""
    with DIRECT.open(url, timeout=PAGE_TIMEOUT_S) as response:
        lines = response.read().decode("utf-8").splitlines(keepends=True)
    wanted = "".join(line for line in lines if line.startswith(tuple(SAID_BY_SERVER)))
    found: dict[Metric, float] = {}
    for family in text_string_to_metric_families(wanted):
        for sample in family.samples:
            if metric := SAID_BY_SERVER.get(sample.name):
                found[metric] = max(sample.value, found.get(metric, sample.value))
    return found.items()
