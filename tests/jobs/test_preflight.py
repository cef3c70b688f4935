"""The look before a run: what is right has a tick, what is wrong its remedy."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import extract, preflight
from tests.actors.scripted_server import AnsweringServer, RecordedRequest, Reply, ScriptedServer
from tests.fakes.process import FakeServer
from tests.jobs.helpers import row, write

Captured = pytest.CaptureFixture[str]
DEMO = ["--config", "configs/demo.yaml"]


def checked(capsys: Captured, *argv: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the checks by name."""
    code = preflight.main([*DEMO, *argv, "--json"])
    return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def at(server: FakeServer, *more: str) -> list[str]:
    return ["--endpoint", server.url, "--model", "fake-model", *more]


def test_all_is_well(tmp_path: Path, fake: FakeServer, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    source = write(tmp_path / "in" / "a.parquet", [row(n) for n in range(7)])
    places = ["--input", str(source.parent), "--output", str(tmp_path / "out"), "--ledger", str(tmp_path / "all")]
    places += ["--output-table", f"delta://{tmp_path}/table"]
    before = fake.stats()["requests"]
    code, found = checked(capsys, *places, *at(fake))
    assert code == 0
    assert {name for name, check in found.items() if check["state"] != "ok"} == {"confidence"}, found
    assert "fitted for the model gemma-3-270m, the run has fake-model" in found["confidence"]["said"]
    assert "1 files, 7 documents" in found["input"]["said"]
    assert list(found) == [
        "settings", "ray", "input", "output", "ledger", "output table", "model", "limits", "confidence",
        "endpoint", "model name", "structured output", "test request",
    ]  # fmt: skip
    assert "a valid ShortProfile in" in found["test request"]["said"]
    assert fake.stats()["requests"] - before == 2
    assert preflight.main([*DEMO, *places, *at(fake)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("✔ settings") and said[-1].startswith("ready")


def test_every_cross_comes_with_its_remedy(tmp_path: Path, fake: FakeServer, capsys: Captured) -> None:
    (tmp_path / "file").touch()
    places = ["--input", str(tmp_path / "none"), "--output", str(tmp_path / "file" / "out")]
    code, found = checked(capsys, *places, *at(fake), "--model", "other")
    assert code == 2
    assert {name for name, check in found.items() if check["state"] == "wrong"} == {"input", "output"}
    notes = {name: check for name, check in found.items() if check["state"] == "note"}  # a run can do with these
    assert "there is no such file or folder" in found["input"]["said"]
    assert "'other' is asked for, and it serves fake-model" in notes["model name"]["said"]
    assert "VLLM_MODEL" in notes["model name"]["remedy"]
    assert found["structured output"]["state"] == found["test request"]["state"] == "ok"
    assert preflight.main([*DEMO, *places, *at(fake)]) == 2
    out = capsys.readouterr().out
    assert "✘ input" in out and "2 of 11 checks failed" in out


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("delta://{folder}/file/table", "can't be opened or written to: NotADirectoryError"),
        ("iceberg://{folder}/file/warehouse/a.b", "can't be opened or written to: NotADirectoryError"),
        ("iceberg://nowhere/a.b", "iceberg://nowhere/a.b can't be opened"),
        ("hudi://a/b", "is expected"),
    ],
)
def test_a_table_that_can_not_be_written_to_is_told_before_the_first_request(
    tmp_path: Path, capsys: Captured, table: str, said: str
) -> None:
    (tmp_path / "file").touch()
    table, output = table.replace("{folder}", str(tmp_path)), str(tmp_path / "out")
    quick = ["--set", "servers.start_timeout_s=0.1", "--set", "requests.backoff_s=0.01"]
    address = ["--endpoint", "http://127.0.0.1:9", "--model", "house", *quick]
    code, found = checked(capsys, "--output", output, "--output-table", table, *address)
    assert code == 2 and found["output table"]["state"] == "wrong" and said in found["output table"]["said"]
    source = write(tmp_path / "a.parquet", [row(1)])
    asked = ["--input", str(source), "--output", output, "--output-table", table, *DEMO, *address]
    assert extract.main([*asked, "--engine", "endpoint"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(b"404 page not found", 404), "is its pod running?"),
        (Reply(b"{}", 401), "set OPENAI_API_KEY"),
        (Reply(b"<html></html>", 200), "the reply is no JSON"),
        (Reply(b"{}", 503), "the server answered HTTP 503"),
    ],
)
def test_an_endpoint_that_is_not_one(capsys: Captured, reply: Reply, said: str) -> None:
    with ScriptedServer(reply) as server:
        quick = ("--set", "servers.start_timeout_s=0.1", "--set", "requests.backoff_s=0.01")
        code, found = checked(capsys, "--endpoint", server.address.url, "--model", "house", *quick)
    assert code == 2 and said in found["endpoint"]["said"] and said in found["test request"]["said"]
    assert found["structured output"]["state"] == "skipped"


def served(request: RecordedRequest) -> Reply:
    """What a server without a list of models says, that takes `max_completion_tokens` and fences its JSON."""
    if request.path.endswith("/models"):
        return Reply(b"404 page not found", 404)
    if "max_tokens" in request.body:
        return Reply(b'{"error": {"message": "Use \'max_completion_tokens\' instead."}}', 400)
    word = "word" in request.body["response_format"]["json_schema"]["schema"]["properties"]
    return completion(f"```json\n{'{}' if word else profile()}\n```")


def test_what_a_run_can_do_with_is_no_cross(capsys: Captured) -> None:
    with AnsweringServer(served) as server:
        code, found = checked(capsys, "--endpoint", server.address.url, "--model", "house")
    assert code == 0, found
    states = {
        name: found[name]["state"] for name in ("endpoint", "structured output", "parameters", "test request")
    }
    assert states == {"endpoint": "note", "structured output": "note", "parameters": "note", "test request": "ok"}


def test_a_key_that_can_not_be_sent_is_a_cross(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    code, found = checked(capsys, "--endpoint", "http://127.0.0.1:1", "--model", "house")
    assert code == 2 and "white space or no ASCII" in found["model"]["said"]


CARD = Reply(json.dumps({"data": [{"id": "house", "max_model_len": 1000}]}).encode())


def completion(text: str, finish: str = "stop") -> Reply:
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    choice = {"message": {"content": text}, "finish_reason": finish}
    return Reply(json.dumps({"choices": [choice], "usage": usage}).encode())


def profile(**values: Any) -> str:
    from extraction.schema.company import ShortProfile

    return json.dumps(dict.fromkeys(ShortProfile.model_fields) | {"products": []} | values, separators=(",", ":"))


@pytest.mark.parametrize(
    ("replies", "name", "state", "said"),
    [
        ([CARD, completion(profile())], "context", "note", "--context-length"),
        ([completion(profile())], "structured output", "note", "grammar backend xgrammar or llguidance"),
        ([Reply(b"no such field", 400)], "test request", "wrong", "response_format json_schema"),
        ([completion("{", "length")], "test request", "wrong", "max_output_tokens"),
        ([completion('{"name": 1}')], "test request", "wrong", "sampling.temperature 0"),
        ([completion(profile(founded_year=3000))], "values", "note", "founded_year: less_than_equal"),
    ],
)
def test_a_server_that_answers_otherwise(
    capsys: Captured, replies: list[Reply], name: str, state: str, said: str
) -> None:
    card = Reply(json.dumps({"data": [{"id": "house"}]}).encode())
    with ScriptedServer(*([] if replies[0] is CARD else [card]), *replies) as server:
        code, found = checked(capsys, "--endpoint", server.address.url, "--model", "house")
    assert found[name]["state"] == state, found
    assert said in found[name]["said"] + found[name]["remedy"]
    assert code == (2 if state == "wrong" else 0)


@pytest.mark.parametrize("setting", ["limits.max_chunk_tokens=30000", "limits.system_prompt_overhead=12000"])
def test_limits_that_a_run_refuses_are_a_cross(capsys: Captured, setting: str) -> None:
    with AnsweringServer(served) as server:
        url = server.address.url
        code, found = checked(capsys, "--endpoint", url, "--model", "house", "--set", setting)
        _, right = checked(capsys, "--endpoint", url, "--model", "house")
    assert code == 2 and setting.partition("=")[0] in found["limits"]["said"]
    assert right["limits"]["state"] == "ok"


def test_settings_that_are_none_leave_the_rest_to_be_seen(tmp_path: Path, capsys: Captured) -> None:
    code, found = checked(capsys, "--engine", "endpoint", "--output", str(tmp_path), "--set", "limits.chunk=1")
    assert code == 2
    assert [check["state"] for check in found.values()] == ["wrong", "ok", "skipped", "ok"]


def test_gpus_get_their_rows_and_a_server_can_be_started(model: Path, cluster: None, capsys: Captured) -> None:
    command = json.dumps(["python", "-m", "tests.fakes.server"])
    given = ["--engine", "sglang", "--model", str(model), "--set", "sglang.vram_gib=23.9"]
    given += ["--set", f"sglang.command={command}"]
    code, found = checked(capsys, *given)
    assert code == 2
    assert "holds no *.safetensors" in found["model"]["said"]
    (gpus,) = (check for name, check in found.items() if name.startswith("gpus of "))
    assert gpus["said"].startswith("2 x GPU: auto_24gb: GPU with 23.9 GiB seen, needs 21.5")
    assert "1 nodes, 4 CPUs, 2 GPUs" in found["ray"]["said"]
    assert found["server"]["state"] == "skipped"
    (model / "model.safetensors").touch()
    code, found = checked(capsys, *given, "--start")
    assert code == 0, found
    assert "is ready after" in found["server"]["said"]
    assert found["test request"]["state"] == "ok"


def test_what_is_odd_in_the_input_is_told(tmp_path: Path, capsys: Captured) -> None:
    rows = pa.table({"document_id": [1.0, None], "text": ["a", "b"], "document_date": ["2024", "31.12.2019"],
                     "title": [["x"], []]})  # fmt: skip
    (tmp_path / "in").mkdir()
    pq.write_table(rows, tmp_path / "in" / "a.parquet")
    places = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "in" / "out")]
    code, found = checked(
        capsys, *places, "--engine", "endpoint", "--endpoint", "http://127.0.0.1:9", "--model", "m"
    )
    assert code == 2
    assert found["input"]["state"] == "note"
    for word in (
        "2 documents",
        "column 'title' is list<",
        "of the first 2: column 'document_date'",
        "'31.12.2019'",
    ):
        assert word in found["input"]["said"]
    assert "is within --input" in found["output"]["said"]
