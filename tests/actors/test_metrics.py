"""What an actor tells Prometheus. That Ray exports it is seen on a running cluster (tests/jobs/test_nodes.py)."""

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
    Meter,
    MetricsState,
    read_page,
)
from actors.retrying_client import Result
from extraction.errors import Fault
from tests.actors.processes import eventually
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


class Recorded(Meter):
    """A meter whose metrics are kept here instead of at Ray."""

    def __init__(self, state: MetricsState) -> None:
        super().__init__("fake", lambda: state)
        self.told: Counter[tuple[str, str]] = Counter()
        self.gauges: dict[str, float] = {}

    def _ray(self, metric: metrics.Metric) -> Any:
        return _Metric(self, metric.name)


class _Metric:
    def __init__(self, meter: Recorded, name: str) -> None:
        self.meter, self.name = meter, name

    def inc(self, value: float, tags: dict[str, str]) -> None:
        assert value > 0
        self.meter.told[self.name, ",".join(tags.values())] += int(value)

    def set(self, value: float) -> None:
        self.meter.gauges[self.name] = value


@pytest.fixture
def page() -> Iterator[str]:
    """The URL of a page with PAGE."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def answer(fault: Fault | None = None) -> Result:
    return Result("c", fault=fault, attempts=2, prompt_tokens=100, cached_tokens=40, completion_tokens=7)


def test_answers_are_summed_by_fault_and_kind_and_told_once() -> None:
    meter = Recorded(MetricsState(in_flight=3, waiting=5, restarts=1))
    for fault in (None, None, Fault.TRUNCATED):
        meter.add(answer(fault))
    meter.report()
    meter.report()
    assert meter.told == {
        (CHUNKS_METRIC.name, "none"): 2,
        (CHUNKS_METRIC.name, "truncated"): 1,
        (metrics.ATTEMPTS.name, ""): 6,
        (TOKENS.name, "prompt"): 300,
        (TOKENS.name, "cached"): 120,
        (TOKENS.name, "output"): 21,
        (RESTARTS.name, ""): 1,
    }
    meter.add(answer())
    meter.report()
    assert meter.told[CHUNKS_METRIC.name, "none"] == 3
    assert meter.gauges == {"extract_in_flight": 3, "extract_waiting": 5}


def test_a_server_s_page_is_read_its_largest_values(page: str) -> None:
    assert dict(read_page(page)) == {RUNNING: 128, KV_USAGE: 0.93, QUEUED_METRIC: 17}
    meter = Recorded(MetricsState(page=page))
    meter.report()
    assert meter.gauges["extract_server_kv_usage"] == 0.93


def test_the_fake_has_such_a_page_for_everybody() -> None:
    with FakeServer(api_key="k") as closed:
        assert dict(read_page(f"{closed.root}/metrics")) == {RUNNING: 0, QUEUED_METRIC: 0, KV_USAGE: 0}


def test_a_page_that_fails_costs_a_line_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fake: FakeServer
) -> None:
    monkeypatch.setattr(metrics, "REPORT_S", 0.01)
    meter = Recorded(MetricsState(page=f"{fake.root}/nowhere"))
    meter.start()
    meter.add(answer())
    assert eventually(lambda: meter.told[CHUNKS_METRIC.name, "none"] == 1)
    time.sleep(0.2)
    assert capfd.readouterr().err.count("metrics are not reported") == 1
    meter._state = _gone  # ends the thread


def _gone() -> MetricsState:
    raise ReferenceError


def test_names_are_prometheus_s_and_each_is_said_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.name.startswith("extract_") for metric in METRICS)
    assert CHUNKS_METRIC.exported == "ray_extract_chunks_total"
    assert KV_USAGE.exported == "ray_extract_server_kv_usage"
