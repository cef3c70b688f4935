"""The metrics that an actor reports; tests/jobs/test_nodes.py tests on a running cluster that Ray exports them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from actors import metrics
from actors.metrics import (
    CHUNKS_METRIC,
    KV_USAGE,
    LOGGED_AFTER,
    METRICS,
    QUEUED_METRIC,
    RESTARTS,
    RUNNING,
    TOKENS,
    Metric,
    MetricsReporter,
    read_server_metrics,
)
from actors.results import Result
from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault
from tests.actors.scripted_server import Reply, ScriptedServer
from tests.fakes.process import FakeServer

# The beginning of a page as SGLang prints it, and what stands between.
PAGE = """# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="house",pp_rank="0",tp_rank="0"} 128.0
sglang:num_running_reqs{engine_type="unified",model_name="house",pp_rank="0",tp_rank="1"} 127.0
# HELP sglang:token_usage The token usage.
# TYPE sglang:token_usage gauge
sglang:token_usage{engine_type="unified",model_name="house",pp_rank="0",tp_rank="0"} 0.93
# TYPE sglang:e2e_request_latency_seconds histogram
sglang:e2e_request_latency_seconds_bucket{le="0.1",model_name="house"} 3.0
sglang:num_queue_reqs{engine_type="unified",model_name="house",pp_rank="0",tp_rank="0"} 17.0
"""


@dataclass
class FakeClient:
    """What a reporter asks a client."""

    metrics_url: str | None = None
    restarts: int = 0
    in_flight: int = 3
    waiting: int = 5

    @property
    def address(self) -> ServerAddress:
        return ServerAddress("", "", "", 1, self.metrics_url)


class RecordedMetrics(MetricsReporter):
    """A reporter that keeps its metrics here instead of at Ray."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.counters: Counter[tuple[Metric, str]] = Counter()
        self.gauges: dict[Metric, float] = {}
        self._at_ray = {metric: MadeMetric(self, metric) for metric in METRICS}


@dataclass
class MadeMetric:
    reporter: RecordedMetrics
    metric: Metric

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self.reporter.counters[self.metric, ",".join(tags.values())] += int(value)

    def set(self, value: float) -> None:
        self.reporter.gauges[self.metric] = value


def make_result(fault: Fault | None = None) -> Result:
    return Result("c", fault=fault, attempts=2, prompt_tokens=100, cached_tokens=40, completion_tokens=7)


def test_results_are_summed_by_fault_and_kind_and_reported_once() -> None:
    reporter = RecordedMetrics()
    client: Any = FakeClient(restarts=1)
    for fault in (None, None, Fault.TRUNCATED):
        reporter.add(make_result(fault))
    reporter.report(client)
    reporter.report(client)
    assert reporter.counters == {
        (CHUNKS_METRIC, "none"): 2,
        (CHUNKS_METRIC, "truncated"): 1,
        (metrics.ATTEMPTS, ""): 6,
        (TOKENS, "prompt"): 300,
        (TOKENS, "cached"): 120,
        (TOKENS, "output"): 21,
        (RESTARTS, ""): 1,
    }
    reporter.add(make_result())
    reporter.report(client)
    assert reporter.counters[CHUNKS_METRIC, "none"] == 3
    assert reporter.gauges == {metrics.IN_FLIGHT: 3, metrics.WAITING_METRIC: 5}


def test_the_largest_values_of_a_servers_metrics_are_read() -> None:
    with ScriptedServer(Reply(PAGE.encode())) as server:
        assert dict(read_server_metrics(server.address.url)) == {RUNNING: 128, KV_USAGE: 0.93, QUEUED_METRIC: 17}
        reporter = RecordedMetrics()
        client: Any = FakeClient(server.address.url)
        reporter.report(client)
    assert reporter.gauges[KV_USAGE] == 0.93


def test_the_fakes_metrics_need_no_key() -> None:
    with FakeServer(api_key="k") as fake:
        assert dict(read_server_metrics(f"{fake.root}/metrics")) == {RUNNING: 0, QUEUED_METRIC: 0, KV_USAGE: 0}


def test_failing_metrics_cost_one_log_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: FakeServer
) -> None:
    monkeypatch.setattr(metrics, "REPORT_S", 0.01)
    reporter, reports = RecordedMetrics(), [FakeClient(f"{fake.root}/nowhere")] * (2 * LOGGED_AFTER)
    reporter.add(make_result())

    def client() -> Any:
        if not reports:
            raise ReferenceError  # ends the thread
        return reports.pop()

    reporter._run(client)
    assert reporter.counters[CHUNKS_METRIC, "none"] == 1
    assert capfd.readouterr().err.count("metrics are not reported") == 1


def test_names_are_prometheus_s_and_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.name.startswith("extract_") for metric in METRICS)
    assert CHUNKS_METRIC.exported == "ray_extract_chunks_total"
    assert KV_USAGE.exported == "ray_extract_server_kv_usage"
