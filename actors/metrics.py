"""Reports an actor's metrics, and those of its server, to Prometheus through the Ray node that it runs on.

A request costs some additions; a thread passes the sums to Ray every few seconds, together with the server's own
metrics, which only loopback can read.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import ray.util.metrics
from prometheus_client.parser import text_string_to_metric_families

from actors.results import Result
from actors.retrying_client import Client
from actors.servers.supervisor import DIRECT, log_line

REPORT_S = 5.0
LOGGED_AFTER = 3  # reports that failed in a row
PAGE_TIMEOUT_S = 5
NO_FAULT = "none"


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
SERVER_METRICS = {
    "sglang:num_running_reqs": RUNNING,
    "sglang:num_queue_reqs": QUEUED_METRIC,
    "sglang:token_usage": KV_USAGE,
}


class MetricsReporter:
    """Counts an actor's results and reports them. A failure to report is logged once and never raised."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._sums: Counter[tuple[Metric, str]] = Counter()
        self._reported: Counter[tuple[Metric, str]] = Counter()
        self._at_ray: dict[Metric, Any] = {}

    def add(self, result: Result) -> None:
        """Count a result."""
        self._sums[CHUNKS_METRIC, result.fault or NO_FAULT] += 1
        self._sums[ATTEMPTS, ""] += result.attempts
        self._sums[TOKENS, "prompt"] += result.prompt_tokens
        self._sums[TOKENS, "cached"] += result.cached_tokens
        self._sums[TOKENS, "output"] += result.completion_tokens

    def start(self, client: Callable[[], Client | None]) -> None:
        """Report from now on what becomes of the client's requests, in a thread that ends with the process."""
        kinds = {"counter": ray.util.metrics.Counter, "gauge": ray.util.metrics.Gauge}
        self._at_ray = {m: kinds[m.kind](m.name, m.description, ("server", *m.tags)) for m in METRICS}
        for made in self._at_ray.values():
            made.set_default_tags({"server": self._server})
        threading.Thread(target=self._run, args=(client,), name="metrics", daemon=True).start()

    def _run(self, client: Callable[[], Client | None]) -> None:
        pause, failed = threading.Event(), 0  # of the last reports, in a row
        while not pause.wait(REPORT_S):
            try:
                if made := client():
                    self.report(made)
                failed = 0
            except ReferenceError:  # the actor is deleted
                return
            except Exception as error:
                failed += 1  # a server that reads a burst of long prompts answers the next time
                if failed == LOGGED_AFTER:
                    log_line(f"{self._server}: metrics are not reported ({type(error).__name__}: {error})")

    def report(self, client: Client) -> None:
        """Pass to Ray what is new since the last report."""
        self._sums[RESTARTS, ""] = client.restarts
        for key, total in list(self._sums.items()):
            if new := total - self._reported[key]:
                metric, tag = key
                self._at_ray[metric].inc(new, dict.fromkeys(metric.tags, tag))
                self._reported[key] = total
        self._at_ray[IN_FLIGHT].set(client.in_flight)
        self._at_ray[WAITING_METRIC].set(client.waiting)
        if client.address.metrics:
            for metric, value in read_server_metrics(client.address.metrics):
                self._at_ray[metric].set(value)


def read_server_metrics(url: str) -> Iterable[tuple[Metric, float]]:
    """A server's own metrics: the largest value where its processes report several. Raises OSError."""
    with DIRECT.open(url, timeout=PAGE_TIMEOUT_S) as response:
        lines = response.read().decode("utf-8").splitlines(keepends=True)
    wanted = "".join(line for line in lines if line.startswith(tuple(SERVER_METRICS)))
    values: dict[Metric, float] = {}
    for family in text_string_to_metric_families(wanted):
        for sample in family.samples:
            if metric := SERVER_METRICS.get(sample.name):
                values[metric] = max(sample.value, values.get(metric, sample.value))
    return values.items()
