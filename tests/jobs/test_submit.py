"""Who follows a job outlives its head, for some time. Replies of the job API are given one after the other."""

import json
from typing import Any

import pytest

from jobs import submit
from tests.actors.scripted_server import Reply, ScriptedServer

GONE = Reply(b"the head is not there", 503)
BROKEN_OFF = Reply(b"{", headers={"Content-Length": "999"})


class Clock:
    """Time that passes while one sleeps, and not otherwise."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "time", Clock())


def reply(said: Any) -> Reply:
    return Reply(json.dumps(said).encode())


def job(status: str, **more: Any) -> dict[str, Any]:
    return {"type": "SUBMISSION", "submission_id": "x-1", "status": status, "entrypoint": "true", **more}


HELLO = (reply({"ray_version": "2.60.0"}),) * 2  # the client asks twice
SUBMITTED = reply({"job_id": "x-1", "submission_id": "x-1"})


def follow(server: ScriptedServer) -> int:
    url = server.address.url.removesuffix("/v1")
    return submit.main(["--address", url, "--name", "x", "--", "true"])


def posts(server: ScriptedServer) -> list[str]:
    return [request.body["submission_id"] for request in server.requests if request.body]


def test_a_head_that_comes_back_is_asked_again() -> None:
    away = (GONE, BROKEN_OFF, GONE)
    log = GONE
    ended = reply(job("FAILED", driver_exit_code=3))
    script = (*HELLO, *away, reply([]), SUBMITTED, log, *away, reply(job("RUNNING")), *away, ended)
    with ScriptedServer(*script) as server:
        assert follow(server) == 3
    assert posts(server) == ["x-1"]
    assert len(server.requests) == len(script)


def test_a_job_whose_submission_was_not_confirmed_is_not_submitted_again() -> None:
    known = reply([job("RUNNING")])
    with ScriptedServer(*HELLO, reply([]), BROKEN_OFF, known, GONE, reply(job("SUCCEEDED"))) as server:
        assert follow(server) == 0
    assert posts(server) == ["x-1"]


@pytest.mark.parametrize("last", [GONE, BROKEN_OFF])
@pytest.mark.parametrize("before", [(), (reply([]), SUBMITTED, GONE)])
def test_a_head_that_stays_away_ends_it(
    before: tuple[Reply, ...], last: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(*HELLO, *before, last) as server:
        assert follow(server) == 1
    assert "the head gave no answer for 300 s" in capsys.readouterr().err
    tries = submit.AWAY_S / submit.JOB_POLL_S + 2
    assert len(server.requests) == len(HELLO) + len(before) + tries


def test_a_head_that_is_starting_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(GONE) as server:
        assert follow(server) == 1
    assert "no Ray dashboard answers there" in capsys.readouterr().err


def test_a_token_that_is_refused_later_is_the_operators_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(*HELLO, Reply(b"Unauthorized", 401)) as server:
        assert follow(server) == 2
    assert "RAY_AUTH_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["head", "http://two words"])
def test_what_is_no_address_is_told_in_a_line(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert submit.main(["--address", address, "--name", "x", "--", "true"]) == 2
    said = capsys.readouterr().err
    assert f"--address {address}" in said and said.count("\n") == 1
