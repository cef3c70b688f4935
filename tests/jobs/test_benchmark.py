"""The benchmark of servers, with the fake server spawned in SGLang's place: the numbers are not judged."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from actors.results import Request
from extraction.errors import OperatorError
from extraction.schema.company import ShortProfile
from jobs import benchmark, main
from jobs.benchmarks import paths, windows
from jobs.benchmarks.ray_data_llm import logged_requests
from jobs.benchmarks.serving import parse_row, requests_of
from tests.jobs.helpers import row, write

FAKE = ["python", "-m", "tests.fakes.server"]


def arguments(folder: Path, model: Path, *more: str, latency: str = "0.05") -> list[str]:
    command = [*FAKE, "--latency", latency, "--journal", str(folder / "journal")]
    source = write(folder / "in.parquet", [row(n) for n in range(5)])
    settings = {"sglang.command": json.dumps(command), "sglang.vram_gib": "79.6", "ledger.flush_s": "0.05"}
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    fixed = ["--model", str(model), "--config", "configs/demo.yaml", "--json", str(folder / "out" / "it.json")]
    return ["serving", "--input", str(source), *fixed, *given, *more]


def measured(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "out" / "it.json").read_text())
    return told


def test_rows_are_measured_on_both_paths(
    tmp_path: Path, model: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["balanced+wire=full+chunks=8+path=bare", "auto+grammar_backend=xgrammar+sampling.frequency_penalty=0.2"]
    asked = [word for text in rows for word in ("--scenario", text)]
    argv = arguments(tmp_path, model, "--chunks", "12", "--first-token", *asked)
    assert main.main(["benchmark", *argv]) == 0
    told = measured(tmp_path)
    assert told["model"] == "house-model" and told["command"].startswith("jobs/benchmark.py serving --input ")
    shown = [(m["row"], m["path"], m["wire"], m["chunks"], m["faults"]) for m in told["measurements"]]
    assert shown == [
        (rows[0], "bare", "full", 8, {}),
        (rows[1], "bare", "light", 12, {}),
        (rows[1], "job", "light", 12, {}),
    ]
    assert [m["flags"]["max_running_requests"] for m in told["measurements"]] == [16, 128, 128]
    for one in told["measurements"]:
        samples = [dict(zip(one["sample_columns"], s, strict=True)) for s in one["samples"]]
        assert len(samples) == one["chunks"] and one["chunks_per_s"] > 0 and one["startup_s"] > 0
        assert all(s["prompt_tokens"] > s["cached_tokens"] > 0 < s["completion_tokens"] for s in samples[1:])
        assert [s["first_token_s"] is not None for s in samples] == [one["path"] == "bare"] * len(samples)
    journal = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert len({r["sha"] for r in journal if r["event"] == "request"}) == 8 + 12 + 12 + 1  # the canary
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["row", "path", "chunks/s", "x"]
    assert [line.split()[1] for line in table[1:]] == ["bare", "bare", "job"]


def test_the_job_on_servers_of_its_own(tmp_path: Path, model: Path, cluster: None) -> None:
    more = ["--chunks", "10", "--servers", "1", "2", "--output-tokens", "100"]
    argv = arguments(tmp_path, model, *more, latency="3")  # longer than Ray takes to see that both are there
    assert benchmark.main([*argv, "--set", "model.load_format=dummy"]) == 0
    alone, both = measured(tmp_path)["measurements"]
    assert [(m["path"], m["servers"], m["chunks"]) for m in (alone, both)] == [("job", 1, 10), ("job", 2, 20)]
    server = both["sample_columns"].index("server")
    assert [len({s[server] for s in m["samples"]}) for m in (alone, both)] == [1, 2]
    assert {m["flags"]["max_running_requests"] for m in (alone, both)} == {128}
    assert both["processes"] == paths.on_gpus()  # none, or what has nothing to do with the fake servers


def test_a_row_whose_server_does_not_start_is_told_and_the_others_go_on(
    tmp_path: Path, model: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "auto+path=bare+sglang.command=[/bin/false]"
    argv = arguments(tmp_path, model, "--scenario", broken, "--scenario", "auto+path=bare", "--chunks", "3")
    assert benchmark.main(argv) == 1
    assert f"{broken}  not measured: SGLang with row auto_80gb: the server ended" in capsys.readouterr().err
    assert [m["row"] for m in measured(tmp_path)["measurements"]] == ["auto+path=bare"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scenario", "auto+wire=tiny"], "wire is one of full, bounded, light, not 'tiny'"),
        (["--scenario", "auto+chunks=0"], "chunks is a number above zero, not 0"),
        (["--scenario", "auto+path=both"], "path is one of bare, job, raydata, not 'both'"),
        (["--scenario", "auto+lengths=no/such.txt"], "lengths is a file with a number a line"),
        (["--scenario", "auto+api_key=x"], "api_key: there is no such key"),
        (["--scenario", "fastest"], "--scenario fastest: there are dev_16gb"),
        (["--servers", "0"], "--servers: numbers above zero are expected"),
        (["--set", "sglang.flags.grammar_backend=regex"], "sglang.flags.grammar_backend"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert benchmark.main(arguments(tmp_path, model, *more)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "journal").exists()


def test_a_benchmark_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["speed"]) == 2
    assert 'Unknown command "speed"' in capsys.readouterr().err


def test_what_is_laid_over_a_row() -> None:
    asked = parse_row("balanced+quantization=fp8+limits.max_output_tokens=7+chunks=3", {"model.name": "m"}, "light")
    assert asked.overrides == {
        "model.name": "m",
        "sglang.scenario": "balanced",
        "sglang.flags.quantization": "fp8",
        "limits.max_output_tokens": 7,
    }
    assert (asked.wire, asked.chunks, asked.paths) == ("light", 3, ("bare", "job"))
    assert asked.settings(Path("configs/demo.yaml")).wire == "light"
    with pytest.raises(OperatorError, match="KEY=VALUE is expected"):
        parse_row("balanced+fp8", {})


def test_a_row_may_cut_each_answer_at_another_length(tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_text("40\n7\n")
    asked = parse_row(f"auto+lengths={tmp_path / 'lengths.txt'}", {})
    chunks = [Request("a", "text", 12, 360)]
    table = requests_of(chunks, 3, "job", asked.lengths)
    assert table["max_tokens"].to_pylist() == [40, 7, 40]
    assert requests_of(chunks, 1, "job")["max_tokens"].to_pylist() == [360]


def test_requests_are_timed_by_the_log_of_the_engine(tmp_path: Path) -> None:
    def line(second: float, event: str, rid: str, **more: Any) -> str:
        stamp = datetime.fromtimestamp(1_700_000_000 + second).isoformat()
        return f"[2026-11-27 16:30:00] {json.dumps({'timestamp': stamp, 'event': event, 'rid': rid, **more})}\n"

    meta = {"prompt_tokens": 9, "cached_tokens": 4, "completion_tokens": 3, "finish_reason": {"type": "stop"}}
    lines = [line(n, "request.received", rid, obj={}) for n, rid in enumerate("abc")]
    lines += [line(5 - n, "request.finished", rid, obj={}, out={"meta_info": meta}) for n, rid in enumerate("ab")]
    (tmp_path / "host_0.log").write_text("".join(lines))
    found = logged_requests(tmp_path)
    assert [(s.began - 1_700_000_000, s.ended - 1_700_000_000) for s in found] == [(1, 4), (0, 5)]
    assert (found[0].prompt_tokens, found[0].cached_tokens, found[0].completion_tokens) == (9, 4, 3)


def test_the_full_schema_is_pydantics_own(tmp_path: Path, model: Path) -> None:
    from jobs.state.storage import storage_at

    asked = parse_row("balanced+wire=full", {"model.name": str(model)})
    settings = asked.settings(Path("configs/demo.yaml"))
    run = asked.run(settings, storage_at(str(tmp_path)), tmp_path)
    assert run.schema == ShortProfile.model_json_schema()


def test_a_later_window_merges_what_changed(cluster: None) -> None:
    found = windows.measure_windows(partitions=3, companies=6, changed=2)
    assert [one["window"] for one in found] == ["whole", "later"]
    assert [number for one in found for number in (one["chunks"], one["companies"])] == [6, 6, 8, 6]
