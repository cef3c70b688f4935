"""Events of runs, as OpenLineage has them, at a server and in a file; a server that is down costs no run."""

import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from extraction.errors import OperatorError, RunError
from jobs import backfill
from jobs.reports.lineage import Lineage, LineageRun
from jobs.state.manifest import Counts
from jobs.state.storage import Storage
from tests.actors.scripted_server import Reply, ScriptedServer
from tests.fakes.process import FakeServer
from tests.jobs.backfills.partitions_of import declare, write_days
from tests.jobs.helpers import a_run, job, manifest, row, write

Captured = pytest.CaptureFixture[str]
Event = dict[str, Any]
COUNTS = Counts(
    documents=3, chunks=3, chunks_answered=3, chunks_from_ledger=0, companies=2, dead_letters=1, dead_documents=1
)


def one_of(folder: Path, inputs: Sequence[str] = ("s3://bucket/documents/date={date}/*.parquet",)) -> LineageRun:
    """A run that is never run."""
    run = replace(a_run(folder), storage=Storage(f"file://{folder}/out"))
    return LineageRun("nightly", run, inputs, "2026-01-01T00:00:00+00:00")


def lines(file: Path) -> list[Event]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def require_valid(event: Event) -> None:
    """What the specification requires of a run event and of its facets."""
    assert event["schemaURL"].startswith("https://openlineage.io/spec/2-") and event["producer"]
    assert datetime.datetime.fromisoformat(event["eventTime"]).tzinfo
    UUID(event["run"]["runId"])
    owners = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    assert all(owner["namespace"] and owner["name"] for owner in owners[1:])
    for owner in owners:
        for kind in ("facets", "inputFacets", "outputFacets"):
            for facet in owner.get(kind, {}).values():
                assert facet["_producer"] and facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")


def told(event: Event) -> tuple[str, list[str], dict[str, int | None]]:
    """The kind of an event, its inputs, and its outputs with their rows."""
    statistics = {each["name"]: each.get("outputFacets", {}).get("outputStatistics") for each in event["outputs"]}
    return (
        event["eventType"],
        [each["name"] for each in event["inputs"]],
        {name: found and found["rowCount"] for name, found in statistics.items()},
    )


@pytest.mark.usefixtures("cluster")
def test_a_run_that_fails_and_the_next_one_are_two_runs_of_a_job(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
    source, out = write(tmp_path / "in" / "a.parquet", [row(n) for n in range(3)]), tmp_path / "out"
    table = f"delta://{tmp_path}/companies"
    with ScriptedServer(Reply(b"{}", 201)) as server, ScriptedServer(Reply(b"{}", 401)) as refusing:
        sent = ["--set", f"lineage={server.address.url.removesuffix('/v1')}", "--output-table", table]
        assert job(source, out, refusing.address.url, *sent) == 2
        assert job(source, out, fake.url, *sent) == 0
        requests = server.requests
    assert {(each.path, each.headers["authorization"]) for each in requests} == {
        ("/api/v1/lineage", "Bearer secret")
    }
    events = [each.body for each in requests]
    for event in events:
        require_valid(event)
    profiles, dead = (f"{out}/current/{name}.parquet" for name in ("profiles", "dead_letters"))
    begun = ("START", [str(source)], {profiles: None, dead: None})
    assert [told(event) for event in events] == [
        begun,
        ("FAIL", [str(source)], {}),
        begun,
        ("COMPLETE", [str(source)], {profiles: 3, dead: 0, f"{tmp_path}/companies": 3}),
    ]
    first, failed, second, done = events
    assert "OPENAI_API_KEY" in failed["run"]["facets"]["errorMessage"]["message"]
    assert first["run"]["runId"] == failed["run"]["runId"] != second["run"]["runId"] == done["run"]["runId"]
    assert len({json.dumps(event["job"]) for event in events}) == 1
    assert done["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 3
    fields = {field["name"]: field for field in done["outputs"][0]["facets"]["schema"]["fields"]}
    assert fields["company_id"] | {"type": "string", "description": "The company"} == fields["company_id"]
    places = fields["evidence"]["fields"][0]["fields"][-1]
    assert (places["name"], places["fields"][0]["name"], places["type"]) == ("places", "_element", "array")
    tags = {tag["key"]: tag["value"] for tag in done["run"]["facets"]["tags"]["tags"]}
    assert tags["run_id"] == manifest(out)["run_id"]


@pytest.mark.usefixtures("cluster")
def test_each_partition_of_a_backfill_and_the_window_are_runs(tmp_path: Path, fake: FakeServer) -> None:
    days, file, out = write_days(tmp_path, 2), tmp_path / "events.jsonl", tmp_path / "out"
    (tmp_path / "documents" / list(days)[1] / "part.parquet").write_bytes(b"torn")
    assert backfill.main([str(declare(tmp_path, fake.url, {"lineage": str(file)}, publish="both"))]) == 1
    events = lines(file)
    for event in events:
        require_valid(event)
    by_run: dict[str, list[str]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(f"{event['job']['name']} {event['eventType']}")
    assert sorted(by_run.values()) == [
        ["days START", "days COMPLETE"],
        ["days START", "days FAIL"],
        ["days.window START", "days.window COMPLETE"],
    ]
    assert {told(event)[1][0] for event in events} == {f"{tmp_path}/documents"}
    day, window = [told(event)[2] for event in events if event["eventType"] == "COMPLETE"]
    assert day[f"{out}/{next(iter(days))}/current/profiles.parquet"] == 3
    assert window[f"{out}/window/current/profiles.parquet"] == 3


def test_an_interrupted_run_is_aborted_and_one_that_published_has_not_failed(tmp_path: Path) -> None:
    file, run = tmp_path / "events.jsonl", one_of(tmp_path)
    for error in (KeyboardInterrupt(), RunError("the breaker stopped it")):
        with pytest.raises(type(error)), Lineage(str(file)).reported(run):
            raise error
    with pytest.raises(KeyboardInterrupt), Lineage(str(file)).reported(run) as complete:
        complete(COUNTS)
        raise KeyboardInterrupt
    kinds = ["START", "ABORT", "START", "FAIL", "START", "COMPLETE"]
    assert [event["eventType"] for event in lines(file)] == kinds
    messages = [event["run"]["facets"].get("errorMessage", {}).get("message") for event in lines(file)]
    assert messages == [None, "KeyboardInterrupt", None, "the breaker stopped it", None, None]
    assert lines(file)[0]["eventTime"] == run.began_at


@pytest.mark.parametrize(
    ("given", "dataset"),
    [
        ("s3://bucket/documents/date={date}/*.parquet", ("s3://bucket", "documents")),
        ("gs://bucket/deep/er/part-[0-9].parquet", ("gs://bucket", "deep/er")),
        ("s3://bucket/company_id=acme/a.parquet", ("s3://bucket", "/")),
        ("/data/a#1.parquet", ("file", "/data/a#1.parquet")),
        ("file:///data/documents/", ("file", "/data/documents")),
        ("https://user:word@host/a.parquet?signature=1", ("https://host", "a.parquet")),
    ],
)
def test_datasets_have_the_names_of_the_specification(tmp_path: Path, given: str, dataset: tuple[str, str]) -> None:
    Lineage(f"file://{tmp_path}/events.jsonl").start(one_of(tmp_path, [given]))
    [event] = lines(tmp_path / "events.jsonl")
    assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [dataset]


def test_a_server_that_is_down_is_told_once_and_left_alone(tmp_path: Path, capsys: Captured) -> None:
    with ScriptedServer(Reply(b"{}", 500)) as server:
        events, run = Lineage(server.address.url.removesuffix("/v1")), one_of(tmp_path)
        for _ in range(3):
            events.start(run)
        asked = len(server.requests)
        events.complete(run, COUNTS)
        assert len(server.requests) == asked == 2  # once more, then not for a minute
    assert capsys.readouterr().err.count("lineage: an event can't be sent") == 1
    Lineage(f"{tmp_path}/none/events.jsonl").start(run)
    assert "note     lineage: an event can't be sent" in capsys.readouterr().err
    Lineage(None).start(run)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://user:word@127.0.0.1:9", "https://127.0.0.1:9/?key=word"])
def test_a_url_with_a_secret_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(OperatorError, match="OPENLINEAGE_API_KEY") as refused:
        Lineage(url)
    assert "word@" not in str(refused.value) and "key=word" not in str(refused.value)


def test_a_library_that_is_missing_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with pytest.raises(OperatorError, match="install the project with its `lineage` extra"):
        Lineage("http://127.0.0.1:9")
