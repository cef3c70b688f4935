"""A declared backfill through its command line, against the fake server."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.config.settings import load_settings
from jobs import backfill
from jobs.backfills.config import load_backfill
from jobs.reports.request_stats import answers_of
from jobs.state.lease import lease
from jobs.state.published_run import PublishedRun
from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.process import FakeServer, requests_of
from tests.jobs.backfills.partitions_of import day, declare, documents, ids, record, write_days
from tests.jobs.helpers import census, held, manifest, row, rows_of, write
from tests.jobs.interrupting import joining, started, wait_for

pytestmark = pytest.mark.usefixtures("cluster")
Captured = pytest.CaptureFixture[str]


def run(declared: Path, *more: str) -> int:
    return backfill.main([str(declared), *more])


def requests(server: FakeServer) -> int:
    return int(server.stats()["requests"])


def test_partitions_are_published_and_what_is_done_is_not_even_read(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days = write_days(tmp_path, 3)
    same = row(500)  # stands in two partitions
    for path in (day(0), day(2)):
        days[path].append(same)
        write(tmp_path / "documents" / path / "part.parquet", days[path])
    declared, before = declare(tmp_path, fake.url), requests(fake)
    assert run(declared) == 0
    assert requests(fake) - before == 3 * 3 + 1 + 1  # the canary
    for path, rows in days.items():
        census(tmp_path / "out" / path, ids(rows))
        assert manifest(tmp_path / "out" / path)["ledger"] == f"file://{tmp_path}/out/work/ledger"
    assert [record(tmp_path, path)["spent"]["requests"] for path in days] == [4, 3, 3]
    tokens = manifest(tmp_path / "out" / day(1))["tokens"]
    assert tokens["prompt"] == record(tmp_path, day(1))["spent"]["prompt_tokens"] > 0

    file = tmp_path / "documents" / day(1) / "part.parquet"
    as_it_was = os.stat(file)
    file.write_bytes(b"?" * as_it_was.st_size)
    os.utime(file, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))
    capsys.readouterr()
    assert run(declared) == 0
    assert "3 partitions (3 done)" in capsys.readouterr().err
    assert requests(fake) - before == 11


def test_only_what_changed_is_asked_about(tmp_path: Path, fake: FakeServer, capsys: Captured) -> None:
    days = write_days(tmp_path, 2)
    days[day(1)] += [row(600), row(601)]
    write(tmp_path / "documents" / day(1) / "part.parquet", days[day(1)])
    declared = declare(tmp_path, fake.url)
    run(declared)
    found = {path: PublishedRun.at(str(tmp_path / "out" / path)) for path in days}
    assert len({each.manifest.run_id for each in found.values()}) == 1
    for path, published in found.items():  # its report tells of a partition's own answers
        answers, spent = answers_of(published), record(tmp_path, path)["spent"]
        assert answers.done == answers.latency.sum() == len(days[path])
        assert answers.total("prompt_tokens") == spent["prompt_tokens"]
        assert answers.total("completion_tokens") == spent["output_tokens"]
        assert not (tmp_path / "out" / path / "report.html").exists()  # written where it is asked for
    before, untouched = requests(fake), manifest(tmp_path / "out" / day(0))["run_id"]
    days[day(1)][2]["text"] += " It has 40 employees."
    write(tmp_path / "documents" / day(1) / "part.parquet", days[day(1)])
    assert run(declared) == 0
    assert "(1 changed, 1 done)" in capsys.readouterr().err
    assert requests(fake) - before == 2  # the canary and the document
    assert manifest(tmp_path / "out" / day(0))["run_id"] == untouched

    # What decides over answers changes what is published, not what is asked.
    for least, state, code, companies in (
        (1, "changed", 3, 0),
        (0, "changed", 0, 3),
        ({"default": 0}, "done", 0, 3),
    ):
        assert run(declare(tmp_path, fake.url, {"confidence.min_confidence": least})) == code
        assert f"2 partitions (2 {state})" in capsys.readouterr().err
        assert manifest(tmp_path / "out" / day(0))["counts"]["companies"] == companies
    assert requests(fake) - before == 2


def test_a_partition_that_fails_does_not_stop_the_others(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days = write_days(tmp_path, 3)
    broken = tmp_path / "documents" / day(1) / "part.parquet"
    pq.write_table(pa.table({"document_id": ["a"], "body": ["No column for the text."]}), broken)
    declared = declare(tmp_path, fake.url)
    assert run(declared) == 1
    said = capsys.readouterr().err
    assert f"failed   {day(1)}: " in said and "there is no column 'text'" in said
    assert "2 of 3 published, 1 failed, 0 left" in said
    assert record(tmp_path, day(1))["exit_code"] == 2
    for path in (day(0), day(2)):
        census(tmp_path / "out" / path, ids(days[path]))
    assert run(declared) == 2  # nothing but the operator's mistakes is left
    write(broken, days[day(1)])
    assert run(declared) == 0
    census(tmp_path / "out" / day(1), ids(days[day(1)]))


def test_a_budget_of_requests_is_kept_and_the_next_run_goes_on(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days = write_days(tmp_path, 3)
    declared = declare(tmp_path, fake.url, budgets={"run": {"requests": 4}, "total": {"requests": 8}})
    before = requests(fake)
    for left, published in ((5, 1), (1, 2)):
        assert run(declared) == 0
        said = capsys.readouterr().err
        assert "4 requests" in said and "budgets.run.requests = 4 is reached" in said
        assert requests(fake) - before == 9 - left + (1 if left == 5 else 2)  # a canary each
        assert len(list((tmp_path / "out").glob("date=*/manifest.json"))) == published
    assert run(declared) == 0
    assert "budgets.total.requests = 8 is reached (8 spent)" in capsys.readouterr().err
    assert requests(fake) - before == 10
    assert run(declared, "--set", "budgets={}", "--set", "order=newest") == 0
    for path, rows in days.items():
        census(tmp_path / "out" / path, ids(rows))
    assert requests(fake) - before == 9 + 3


def test_tokens_stop_a_stage_between_answers(tmp_path: Path, capsys: Captured) -> None:
    write_days(tmp_path, 2, per_day=8)
    with FakeServer("--latency", "0.2", "--max-running-requests", "1") as server:
        declared = declare(tmp_path, server.url, {"endpoint.concurrency": 1}, budgets={"run": {"tokens": 3000}})
        assert run(declared) == 0
        assert "budgets.run.tokens = 3,000 is reached" in capsys.readouterr().err
        first = requests(server)
        assert first < 16
        assert run(declared, "--set", "budgets={}") == 0
        assert requests(server) <= 2 + 16 + 2  # two canaries, and what was on its way
    assert record(tmp_path, day(1))["counts"]["chunks"] == 8


def test_a_deadline_is_kept_though_no_answer_comes(tmp_path: Path, capsys: Captured) -> None:
    write_days(tmp_path, 1)
    with FakeServer("--latency", "0.1", "--order", '[{"fault": "hang", "count": null, "after": 1}]') as server:
        for deadline_s in (8, 16, 32, 64, 128):  # on a busy machine the first may be over before anything is asked
            began = time.monotonic()
            assert run(declare(tmp_path, server.url, {"requests.deadline_s": 900}, deadline_s=deadline_s)) == 0
            assert time.monotonic() - began < 800
            said = capsys.readouterr().err
            assert "0 of 1 published, 0 failed, 1 left" in said
            assert f"deadline_s = {deadline_s} is near, the next run goes on" in said
            if requests(server) > 1:
                break
        assert requests(server) > 1


def test_what_servers_left_open_is_asked_again_by_the_next_run_that_comes_to_it(
    tmp_path: Path, fake: FakeServer
) -> None:
    rows = [{**each, "text": each["text"] + " [[fault:503*3]]"} for each in documents(0)]
    write(tmp_path / "documents" / day(0) / "part.parquet", rows)
    declared = declare(tmp_path, fake.url, {"requests.attempts": 3, "max_dead_fraction": 0.1})
    assert run(declared) == 3
    told, before = record(tmp_path, day(0)), requests(fake)
    assert told["unanswered"] > 1 and told["exit_code"] == 3
    assert run(declared, "--set", "budgets={run: {requests: 1}}") == 0
    assert record(tmp_path, day(0)) == told  # what a run did not come to counts as no attempt
    assert run(declared) == 0
    assert (record(tmp_path, day(0))["unanswered"], record(tmp_path, day(0))["attempts"]) == (0, 2)
    assert requests(fake) - before == told["unanswered"] + 2  # canaries
    assert rows_of(tmp_path / "out" / day(0), "dead_letters") == []


def test_what_failed_is_asked_again_on_request_in_every_batch(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days = [day(number) for number in range(50, 52)]
    for number, path in enumerate(days, 50):
        rows = documents(number)
        rows[1]["text"] += " [[fault:invalid*2]]"
        write(tmp_path / "documents" / path / "part.parquet", rows)
    declared = declare(tmp_path, fake.url, {"max_dead_fraction": 0.1}, concurrency=1)
    assert run(declared) == 3
    before = requests(fake)
    assert run(declared) == 0
    for path in days:
        assert [letter["fault"] for letter in rows_of(tmp_path / "out" / path, "dead_letters")] == ["invalid"]
    for flags, due in (([], []), (["--retry-failed"], days)):  # a dry run counts them
        capsys.readouterr()
        assert run(declared, "--dry-run", *flags) == 0
        lines = [line.split()[:5] for line in capsys.readouterr().out.splitlines() if line.startswith("date=")]
        assert lines == [[path, "done", "3", "3", "1"] for path in due]
    assert requests(fake) == before
    for _ in range(2):  # the second finds none
        assert run(declared, "--retry-failed") == 0
        assert requests(fake) - before == 2 * 2  # a canary each
        assert [rows_of(tmp_path / "out" / path, "dead_letters") for path in days] == [[], []]


def test_a_window_has_a_profile_a_company_and_asks_nothing(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days, out = write_days(tmp_path, 2), tmp_path / "out"
    for number, path in enumerate(days):
        days[path].append(row(700 + number, company=7))
        write(tmp_path / "documents" / path / "part.parquet", days[path])
    declared, before = declare(tmp_path, fake.url, publish="both"), requests(fake)
    assert run(declared) == 0
    assert requests(fake) - before == 8 + 1  # the canary
    census(out / "window", set.union(*map(ids, days.values())))
    found = {profile["company_id"]: profile["documents"] for profile in rows_of(out / "window", "profiles")}
    assert len(found) == 7 and found["c007"] == ["d700", "d701"]
    for path, rows in days.items():
        census(out / path, ids(rows))
    run_id = manifest(out / "window")["run_id"]
    assert run(declared) == 0
    assert manifest(out / "window")["run_id"] == run_id

    days[day(1)][3]["text"] += " It has 40 employees."
    write(tmp_path / "documents" / day(1) / "part.parquet", days[day(1)])
    shutil.rmtree(out / "window")
    assert run(declared, "--set", "publish=window") == 0
    assert "published window: 2 partitions, 7 companies, 0 of 8 documents dead" in capsys.readouterr().err
    assert requests(fake) - before == 9 + 2
    assert rows_of(out / day(1), "profiles") == []
    census(out / "window", set.union(*map(ids, days.values())))
    assert run(declared, "--set", "publish=window", "--set", "window.last=2026-01-01") == 0
    census(out / "window", ids(days[day(0)]))


def test_a_broken_system_ends_the_run_after_some_tries(tmp_path: Path, capsys: Captured) -> None:
    write_days(tmp_path, 4)
    declared = declare(tmp_path, "http://127.0.0.1:9", {"requests.attempts": 1}, attempts=2)
    assert run(declared) == 1
    said = capsys.readouterr().err
    assert said.count("broken   ") == 2
    assert "does not answer a test request" in said
    assert "0 of 4 published" in said
    assert not published(tmp_path / "out")


def test_a_partition_that_breaks_the_stage_is_tried_alone_and_the_others_go_on(
    tmp_path: Path, fake: FakeServer, capsys: Captured
) -> None:
    days = write_days(tmp_path, 3, per_day=6)
    bad = [{**each, "text": each["text"] + " [[fault:invalid]]"} for each in documents(1, 100)]
    write(tmp_path / "documents" / day(1) / "part.parquet", bad)
    before = len(fake.journal_path.read_text().splitlines())
    strict = {"breaker.chunks": 40, "breaker.failed_fraction": 0.3, "endpoint.concurrency": 2}
    assert run(declare(tmp_path, fake.url, strict)) == 1
    said = capsys.readouterr().err
    assert said.count("broken   ") == 2 and "2 of 3 published, 1 failed, 0 left" in said
    assert "of the last 40 chunks failed" in record(tmp_path, day(1))["error"]
    asked = [json.loads(line) for line in fake.journal_path.read_text().splitlines()][before:]
    counts = Counter(each["sha"] for each in asked if each["event"] == "request")
    assert sum(count > 2 for count in counts.values()) < 20  # an answer that is no JSON is asked for once more
    for path in (day(0), day(2)):
        census(tmp_path / "out" / path, ids(days[path]))


def test_who_finds_another_at_work_leaves(tmp_path: Path, fake: FakeServer, capsys: Captured) -> None:
    write_days(tmp_path, 1)
    declared, before = declare(tmp_path, fake.url), requests(fake)
    with lease(Storage(str(tmp_path / "out")), "theirs", beat_s=0.1):
        assert run(declared) == 0
    assert "another run is at work: run theirs (process" in capsys.readouterr().err
    assert requests(fake) == before


def test_a_dry_run_tells_the_size_and_leaves_nothing(tmp_path: Path, fake: FakeServer, capsys: Captured) -> None:
    days = write_days(tmp_path, 3)
    priced: dict[str, Any] = {"price.million_prompt_tokens": 1000.0}
    declared = declare(tmp_path, fake.url, priced, window={"last": "2026-01-02"})
    run(declared)
    days[day(0)][0]["text"] += " It has 40 employees."
    write(tmp_path / "documents" / day(0) / "part.parquet", days[day(0)])
    declared = declare(tmp_path, fake.url, priced)
    before, files = requests(fake), set((tmp_path / "out").rglob("*.*"))
    capsys.readouterr()
    assert run(declared, "--dry-run") == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:5] for line in told[1:3]] == [
        [day(0), "changed", "3", "3", "1"],
        [day(2), "new", "3", "3", "3"],
    ]
    assert told[3][:8] == ["2", "of", "3", "to", "do", "6", "6", "4"]
    assert told[1][-1] == "USD" and float(told[2][-2]) > float(told[1][-2]) > 0
    assert " ".join(told[4]).endswith("output tokens an answer (as runs so far showed)")
    assert requests(fake) == before
    assert set((tmp_path / "out").rglob("*.*")) == files


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--set", "concurency=3"],
            "--set concurency: there is no such key (given: 3): did you mean concurrency?",
        ),
        (["--set", "output={folder}/documents"], "is within input: "),
        (["--set", "window={days: 3, first: 2026-01-01}"], "give first, or days back from today, not both"),
        (["--set", "output_table=[delta:///x]"], "output_table"),
        (["--set", "budgets.run.euros=3"], "budgets.run.euros: there is no such key"),
        (["--set", "extract.engin=sglang"], "extract.engin: there is no such key"),
        (["--set", "input=documents/all/"], "documents/all/ has no placeholder such as {date}"),
        (["--set", "input=documents/{date:%H}/"], "{date:%H} has %H: of a day there are"),
        (["--set", "input=documents/{date:%m-%d}/"], "the {date} of documents/{date:%m-%d}/ has no year"),
        (["--set", "input=documents/{a}/{a}/"], "{a} of documents/{a}/{a}/ may stand once"),
        (["--set", "input=documents/{region}/", "--set", "window.days=3"], "has no {date} to which it could apply"),
        (["--set", "extract.set={limits.max_chunk_tokens: many}"], "limits.max_chunk_tokens"),
    ],
)
def test_mistakes_in_the_declaration_are_told(
    tmp_path: Path, capsys: Captured, more: list[str], message: str
) -> None:
    write_days(tmp_path, 1)
    more = [each.replace("{folder}", str(tmp_path)) for each in more]
    assert run(declare(tmp_path, "http://127.0.0.1:9"), *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_column_that_is_in_no_partition_is_a_mistake_and_one_that_some_lack_is_told(
    tmp_path: Path, cluster: None, fake: FakeServer, capsys: Captured
) -> None:
    write_days(tmp_path, 1)
    titled = pa.Table.from_pylist([{**each, "headline": "Northwind Works"} for each in documents(1)])
    (tmp_path / "documents" / day(1)).mkdir()
    pq.write_table(titled, tmp_path / "documents" / day(1) / "part.parquet")
    assert run(declare(tmp_path, fake.url, {"columns.title": "hedline"})) == 2
    assert "columns.title = hedline: there is no such column" in capsys.readouterr().err
    assert run(declare(tmp_path, fake.url, {"columns.title": "headline"}, concurrency=1)) == 0  # each alone
    assert f"note {day(0)}: columns.title = headline: there is no such column" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_example_is_a_declaration_and_the_help_says_how_to_schedule(capsys: Captured) -> None:
    declared = load_backfill(Path("configs/backfill.yaml"))
    assert declared.extract.config == Path("configs/extract.yaml")
    assert backfill.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("cron:", "ray job submit", "CronJob", "--dry-run", "--again"))


DAYS = 6
IN_FLIGHT = 4
HELD = """
import sys, time
from jobs import backfill
from jobs.stages import publish

def hold_the_window(run, *more):
    if run.storage.url.endswith("/window"):
        print("the window is held", file=sys.stderr, flush=True)
        time.sleep(600)
    return replace_manifest(run, *more)

replace_manifest, publish.replace_manifest = publish.replace_manifest, hold_the_window
sys.exit(backfill.main(sys.argv[1:]))
"""


def messages(output: Path) -> dict[str, str]:
    """The digest that the server's journal has of each planned chunk's message, by chunk id."""
    settings = load_settings(ROOT / "configs" / "demo.yaml")
    model, found = settings.profile_model(), {}
    for file in output.glob("*/work/runs/*/chunks/*.parquet"):
        for chunk in Storage(str(file.parent)).read_table(file.name, ["chunk_id", "content"]).to_pylist():
            text = settings.prompt.messages(model, chunk["content"])[-1]["content"]
            found[chunk["chunk_id"]] = hashlib.sha256(text.encode()).hexdigest()
    return found


def published(output: Path) -> int:
    return len(list(output.glob("date=*/manifest.json")))


def test_days_killed_midway_and_in_publishing_the_window(tmp_path: Path, capsys: Captured) -> None:
    days, output = write_days(tmp_path, DAYS), tmp_path / "out"
    with FakeServer("--latency", "1", "--max-running-requests", str(IN_FLIGHT)) as server:
        asked = {"endpoint.concurrency": IN_FLIGHT, "requests.deadline_s": 600}
        declared = declare(tmp_path, server.url, asked, publish="both")
        # Four documents get no answer before the first run is killed: of as many days at the most.
        server.order([{"fault": "hang", "count": None, "after": 1 + 3 * DAYS - 4}])

        def kill_when(command: list[str], environment: dict[str, str], due: Callable[[], object]) -> str:
            """Start a run and kill all of it when that is due; what it said."""
            log = tmp_path / "log"
            with started([*command, str(declared)], log, environment) as process:
                wait_for(lambda: due() or "the window is held" in log.read_text(), process, log)
            return log.read_text()

        command = ["jobs/backfill.py"]  # with a Ray of its own, as on a machine that is gone
        kill_when(command, {**os.environ}, lambda: published(output) and server.stats()["requests"] > 8)
        server.order([])
        known = messages(output)
        # What was on its way, or answered and not yet written down, is asked again.
        lost = set(requests_of(server.journal_path)) & set(known.values()) - {known[each] for each in held(output)}
        assert len(lost) <= 2 * IN_FLIGHT
        assert 0 < published(output) < DAYS
        there = [path for path in days if (output / path / "manifest.json").exists()]
        for changed in (there[0], next(path for path in days if path not in there)):
            days[changed][1]["text"] += " It has 40 employees."
            write(tmp_path / "documents" / changed / "part.parquet", days[changed])
        assert "the window is held" in kill_when(["-c", HELD], joining(), lambda: False)
        assert list(output.glob("window/profiles/*/*.parquet")) and not (output / "window/manifest.json").exists()
        assert run(declared) == 0
        census(output / "window", set.union(*map(ids, days.values())))
        for path, rows in days.items():
            census(output / path, ids(rows))
            assert record(tmp_path, path)["exit_code"] == 0
        known, counts = messages(output), requests_of(server.journal_path)
        # The plans of runs that were killed are gone; what they asked is in the ledger.
        assert len(known) in (3 * DAYS + 1, 3 * DAYS + 2)
        assert len(held(output)) in (3 * DAYS + 1, 3 * DAYS + 2)  # one day's old text may not have been sent
        for chunk_id, message in known.items():
            assert (chunk_id in held(output)) <= counts[message] <= 1 + (message in lost)
        window = rows_of(output / "window", "profiles")
        shutil.rmtree(output / "window")  # made anew without being killed it is the same
        assert run(declared) == 0
        assert rows_of(output / "window", "profiles") == window
        assert f"{DAYS} partitions ({DAYS} done)" in capsys.readouterr().err
        assert requests_of(server.journal_path) == counts
