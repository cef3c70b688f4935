"""The metrics that an actor reports; tests/jobs/test_nodes.py tests on a running cluster that Ray exports them."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from actors import metrics
from actors.metrics import (
    CHUNKS_METRIC,
    KV_USAGE,
    METRICS,
    QUEUED_METRIC,
    RESTARTS,
    RUNNING,
    TOKENS,
    MetricsReporter,
    MetricsState,
    read_server_metrics,
)
from actors.results import Result
from extraction.errors import Fault
from tests.fakes.process import FakeServer, eventually

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


class RecordedMetrics(MetricsReporter):
    """A reporter that keeps its metrics here instead of at Ray."""

    def __init__(self, state: MetricsState) -> None:
        super().__init__("fake", lambda: state)
        self.counters: Counter[tuple[str, str]] = Counter()
        self.gauges: dict[str, float] = {}

    def _ray(self, metric: metrics.Metric) -> Any:
        return _Metric(self, metric.name)


class _Metric:
    def __init__(self, reporter: RecordedMetrics, name: str) -> None:
        self.reporter, self.name = reporter, name

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self.reporter.counters[self.name, ",".join(tags.values())] += int(value)

    def set(self, value: float) -> None:
        self.reporter.gauges[self.name] = value


@pytest.fixture
def metrics_url() -> Iterator[str]:
    """The URL of a page with PAGE."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def make_result(fault: Fault | None = None) -> Result:
    return Result("c", fault=fault, attempts=2, prompt_tokens=100, cached_tokens=40, completion_tokens=7)


def test_results_are_summed_by_fault_and_kind_and_reported_once() -> None:
    reporter = RecordedMetrics(MetricsState(in_flight=3, waiting=5, restarts=1))
    for fault in (None, None, Fault.TRUNCATED):
        reporter.add(make_result(fault))
    reporter.report()
    reporter.report()
    assert reporter.counters == {
        (CHUNKS_METRIC.name, "none"): 2,
        (CHUNKS_METRIC.name, "truncated"): 1,
        (metrics.ATTEMPTS.name, ""): 6,
        (TOKENS.name, "prompt"): 300,
        (TOKENS.name, "cached"): 120,
        (TOKENS.name, "output"): 21,
        (RESTARTS.name, ""): 1,
    }
    reporter.add(make_result())
    reporter.report()
    assert reporter.counters[CHUNKS_METRIC.name, "none"] == 3
    assert reporter.gauges == {"extract_in_flight": 3, "extract_waiting": 5}


def test_the_largest_values_of_a_servers_metrics_are_read(metrics_url: str) -> None:
    assert dict(read_server_metrics(metrics_url)) == {RUNNING: 128, KV_USAGE: 0.93, QUEUED_METRIC: 17}
    reporter = RecordedMetrics(MetricsState(server_url=metrics_url))
    reporter.report()
    assert reporter.gauges["extract_server_kv_usage"] == 0.93


def test_the_fakes_metrics_need_no_key() -> None:
    with FakeServer(api_key="k") as fake:
        assert dict(read_server_metrics(f"{fake.root}/metrics")) == {RUNNING: 0, QUEUED_METRIC: 0, KV_USAGE: 0}


def test_failing_metrics_cost_one_log_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: FakeServer
) -> None:
    monkeypatch.setattr(metrics, "REPORT_S", 0.01)
    reporter = RecordedMetrics(MetricsState(server_url=f"{fake.root}/nowhere"))
    reporter.start()
    reporter.add(make_result())
    assert eventually(lambda: reporter.counters[CHUNKS_METRIC.name, "none"] == 1)
    time.sleep(0.2)
    assert capfd.readouterr().err.count("metrics are not reported") == 1
    reporter._state = _deleted  # ends the thread


def _deleted() -> MetricsState:
    raise ReferenceError


def test_names_are_prometheus_s_and_unique() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.name.startswith("extract_") for metric in METRICS)
    assert CHUNKS_METRIC.exported == "ray_extract_chunks_total"
    assert KV_USAGE.exported == "ray_extract_server_kv_usage"
