"""The benchmarks of scale, at sizes that are none: the numbers are not judged."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from extraction.prompting.reply_parsing import parse
from extraction.prompting.response_schema import wire_schema
from extraction.schema.company import CompanyProfile, ShortProfile
from jobs import benchmark
from jobs.benchmarks.instant_server import InstantServer, sampled
from jobs.benchmarks.measurement import ROLES, CpuClock


def numbers(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_every_path_asks_all_and_its_cpu_is_told(tmp_path: Path, cluster: None) -> None:
    names = ("job", "bare", "raydata")
    paths = [word for name in names for word in ("--path", name)]
    more = ["--chunks", "6", "--characters", "300", "--batch", "2", "--processors", "1"]
    assert benchmark.main(["dispatching", *paths, *more, "--json", str(tmp_path / "it.json")]) == 0
    told = numbers(tmp_path / "it.json")
    assert [(one["path"], one["chunks"]) for one in told] == [(name, 6) for name in names]
    assert all(set(one["cpu_ms"]) == set(ROLES) for one in told)
    assert any(one["cpu_ms"]["driver"] > 0 for one in told)  # the kernel counts hundredths of seconds
    assert all(one["seconds"] > 0 for one in told)


def test_plans_of_several_sizes(tmp_path: Path, cluster: None) -> None:
    argv = ["planning", "--tokens", "1000", "90000", "--json", str(tmp_path / "it.json")]
    assert benchmark.main(argv) == 0
    small, large = numbers(tmp_path / "it.json")
    assert (small["documents"], large["tokens"]) == (30, large["documents"] // 30 * small["tokens"])
    assert 0 < small["chunks"] < large["chunks"]
    assert large["cpu_s"] > 0 < large["tokens_per_cpu_s"]


@pytest.mark.parametrize("model", [ShortProfile, CompanyProfile])
@pytest.mark.parametrize("bounded", [True, False])
def test_the_instant_answer_is_a_profile(model: Any, bounded: bool) -> None:
    assert parse(json.dumps(sampled(wire_schema(model, bounded=bounded))), "stop", model)


def test_an_instant_server_takes_requests_whole_in_parts_and_together() -> None:
    with InstantServer('{"a": 1}', 0) as server:
        port = int(server.root.rsplit(":", 1)[1])
        request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 5\r\n\r\n{...}"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
            one.sendall(request[:30])
            one.sendall(request[30:] + request + request[:-1])
            replies = b""
            while replies.count(b"HTTP/1.1 200 OK") < 2:
                replies += one.recv(65536)
            one.sendall(b"}")
            while replies.count(b"HTTP/1.1 200 OK") < 3:
                replies += one.recv(65536)
        stats = server.stats()
    assert stats["requests"] == 3 and stats["last"] >= stats["first"] > 0


def test_unequal_servers_share_all_chunks(tmp_path: Path, cluster: None) -> None:
    argv = ["sharing", "--speed", "1", "--speed", "3", "--chunks", "30", "--requests", "2", "--latency", "0.1"]
    assert benchmark.main([*argv, "--json", str(tmp_path / "it.json")]) == 0
    (told,) = numbers(tmp_path / "it.json")
    assert (told["speeds"], sum(told["chunks"])) == ([3, 1], 30)
    assert 0 < told["efficiency"] < 1 and 0 <= told["tail"] < 1


def test_made_up_companies_are_merged_and_a_made_up_ledger_is_looked_up(tmp_path: Path, cluster: None) -> None:
    sizes = ["--companies", "2", "--extractions", "3"]
    assert benchmark.main(["merging", *sizes, "--json", str(tmp_path / "merged.json")]) == 0
    (merged,) = numbers(tmp_path / "merged.json")
    assert (merged["companies"], merged["extractions"]) == (2, 6)
    assert benchmark.main(["resume", "--chunks", "300", "--rows", "100", "--json", str(tmp_path / "it.json")]) == 0
    (resumed,) = numbers(tmp_path / "it.json")
    assert (resumed["chunks"], resumed["segments"], resumed["missing"]) == (297, 3, 3)


def test_cpu_is_counted_by_role() -> None:
    clock = CpuClock()
    while clock.seconds()["driver"] < 0.05:
        sum(range(10_000))
    assert clock.seconds()["server"] == 0


def test_sizes_that_measure_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["dispatching", "--chunks", "1"]) == 2
    assert "--chunks: numbers above one" in capsys.readouterr().err
