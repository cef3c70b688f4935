"""The benchmarks of scale, at sizes that are none: the numbers are not judged."""

import json
import socket
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from extraction.prompting.reply_parsing import parse
from extraction.prompting.response_schema import wire_schema
from extraction.schema.company import CompanyProfile, ShortProfile
from jobs import benchmark
from jobs.benchmarks import peers
from jobs.benchmarks.dispatching import Dispatched, dispatching_table, sampled
from jobs.benchmarks.instant_server import InstantServer
from jobs.benchmarks.measurement import ROLES, CpuClock, per


def numbers(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def test_every_path_asks_all_and_its_cpu_is_told(tmp_path: Path, cluster: None) -> None:
    names = ("job", "ray", "bare", "raydata")
    paths = [word for name in names for word in ("--path", name)]
    more = ["--chunks", "6", "--characters", "300", "--batch", "2", "--processors", "1"]
    assert benchmark.main(["dispatching", *paths, *more, "--json", str(tmp_path / "it.json")]) == 0
    told = numbers(tmp_path / "it.json")
    assert [(one["path"], one["chunks"]) for one in told] == [(name, 6) for name in names]
    assert all(set(one["cpu"]) == set(ROLES) and one["cpu"]["driver"] > 0 for one in told)
    assert all(one["seconds"] > 0 for one in told)


def test_what_a_chunk_more_costs() -> None:
    sizes = ((100, 1.0), (300, 1.5))
    told = [Dispatched("job", n, 9, 0, 10, dict.fromkeys(ROLES, seconds)) for n, seconds in sizes]
    out = Console(width=160, record=True)
    out.print(dispatching_table(told))
    first, second = (line.split() for line in out.export_text().splitlines()[1:])
    assert first == ["job", "100", "10", "25", *["10.00"] * 5, "40.00", "-"]
    assert second == ["job", "300", "30", "50", *["5.00"] * 5, "20.00", "10.00"]


def test_plans_of_several_sizes(tmp_path: Path, cluster: None) -> None:
    argv = ["planning", "--tokens", "1000", "90000", "--json", str(tmp_path / "it.json")]
    assert benchmark.main(argv) == 0
    small, large = numbers(tmp_path / "it.json")
    assert (small["documents"], large["tokens"]) == (30, large["documents"] // 30 * small["tokens"])
    assert 0 < small["chunks"] < large["chunks"]
    assert large["cpu"]["tasks"] + large["cpu"]["driver"] > 0


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
    told: Any = json.loads((tmp_path / "it.json").read_text())
    assert (told["speeds"], sum(told["chunks"])) == ([3, 1], 30)
    assert 0 < told["efficiency"] < 1 and 0 <= told["tail"] < 1


def test_what_many_servers_leave_is_taken_in(tmp_path: Path) -> None:
    sizes = ["--servers", "2", "--segments", "3", "--rows", "4"]
    assert benchmark.main(["many-servers", *sizes, "--json", str(tmp_path / "it.json")]) == 0
    (told,) = numbers(tmp_path / "it.json")
    assert (told["servers"], told["segments"]) == (2, 6)
    assert min(told[name] for name in ("write_ms", "index_s", "table_ms", "records_s")) > 0


def test_outcomes_beside_a_peer_are_counted_from_what_servers_and_runs_left(tmp_path: Path) -> None:
    """An answer that came twice, a request that was refused at once, and a row with an error."""
    (case,) = [each for each in peers.CASES if each.name == "throttled"]
    trial = peers.Trial(case, "ray.data.llm", tmp_path, documents=4, patience_s=1, environment={})
    asked = [("request", "a", 1, 0), ("request", "b", 2, 0), ("answer", "b", 2, 429), ("request", "b", 3, 0)]
    asked += [("answer", "a", 1, 200), ("request", "a", 4, 0)]
    names = ("event", "sha", "id", "status")
    lines = [{**dict(zip(names, each, strict=True)), "pid": 7} for each in asked]
    (tmp_path / peers.JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    trial.output.mkdir(parents=True)
    rows = [{"document_id": "d0", "reply": "{}"}, {"document_id": "d1", "reply": None}]
    pq.write_table(pa.Table.from_pylist(rows), trial.output / "part.parquet")
    assert trial.found() == (1, 1)
    assert trial.twice() == 1


def test_how_a_peer_ended_is_told_by_its_last_error() -> None:
    log = [
        "Traceback",
        "  File x",
        "ray.exceptions.RayTaskError(KeyError): ray::Map()",
        "KeyError: 'choices'",
        "Tip",
    ]
    assert peers.last_error("\n".join(log)) == "KeyError: 'choices'"
    assert peers.last_error("error: nothing | serves") == "error: nothing / serves"
    page = peers.page([(peers.CASES[0], "company-profiles", peers.Outcome(3, 1, 0, 2, 1, "exit 0", 12.3))], 4, 9)
    (line,) = [line for line in page.splitlines() if peers.CASES[0].issue in line]
    assert line.endswith("| company-profiles | 3 | 1 | 0 | 2 | 1 | exit 0 | 12 |")


def test_cpu_is_counted_by_role() -> None:
    clock = CpuClock()
    while clock.seconds()["driver"] < 0.05:
        sum(range(10_000))
    assert clock.seconds()["server"] == 0
    assert per({"driver": 2.0}, 1000) == {"driver": 2.0}


def test_sizes_that_measure_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["dispatching", "--chunks", "1"]) == 2
    assert "--chunks: numbers above one" in capsys.readouterr().err
