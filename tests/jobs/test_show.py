"""Companies in the terminal: the list, one with its evidence, and both for machines."""

import json
import shutil
from pathlib import Path

import pytest

from jobs import show
from jobs.cli import terminal_output
from jobs.cli.terminal_output import plain
from tests.jobs import outputs
from tests.jobs.helpers import rows_of
from tests.jobs.reports import runs


@pytest.fixture(scope="module")
def out(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run."""
    rows = [runs.document(f"c{n // 3:02}", f"d{n:02}", runs.text(n // 2, n)) for n in range(75)]
    rows.append(runs.document("emoji", "emoji-1", f"\U0001f3ed {runs.text(90, 1)}"))
    rows.append(runs.document("long", "long-1", runs.text(91, 1, "\n\nMore pumps. " * 300 + " [[fault:invalid]]")))
    rows.append(runs.document("\x1b[31mred\x1b[0m", "escape", runs.text(92, 1)))
    return runs.run(tmp_path_factory.mktemp("run"), rows)


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert show.main(list(argv)) == 0
    return capsys.readouterr().out.splitlines()


def test_a_list_is_a_page_at_a_time(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [row["company_id"] for row in rows_of(out, "profiles")]
    head, *lines, last = shown(capsys, str(out), "--limit", "5", "--skip", "3")
    assert head.split()[:2] == ["company_id", "name"]
    assert [line.split()[0] for line in lines] == ids[3:8]
    assert last == f"4 to 8 of {len(ids)}, more with --skip 8"
    assert len(shown(capsys, str(out))) == 22
    assert len(shown(capsys, str(out), "--limit", "100")) == 1 + len(ids)


def test_ids_are_whole_on_a_narrow_terminal(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal_output, "WIDTH_IN_LOGS", 60)
    head, *lines = shown(capsys, str(out), "--limit", "100")
    assert head.split()[:3] == ["company_id", "name", "city"] and len(head.split()) < 6
    ids = [plain(row["company_id"]).plain.split()[0] for row in rows_of(out, "profiles")]
    assert [line.split()[0] for line in lines] == ids
    assert max(map(len, lines)) <= 60


def test_a_list_needs_no_profile_model(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model may be a module that is not at hand where the output is looked at."""
    elsewhere = shutil.copytree(out, tmp_path / "out")
    manifest = json.loads((elsewhere / "manifest.json").read_text())
    (elsewhere / "manifest.json").write_text(json.dumps(manifest | {"profile": "nowhere:Model"}))
    assert shown(capsys, str(elsewhere)) == shown(capsys, str(out))


def test_a_search_looks_into_ids_and_values(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("EMOJI", "emoji-1"):
        lines = shown(capsys, str(out), "--search", text)
        assert [line.split()[0] for line in lines[1:]] == ["emoji"], text
    everybody = shown(capsys, str(out), "--search", "northwind WORKS", "--limit", "100")
    assert len(everybody) == 1 + sum(row["name"].startswith("Northwind Works") for row in rows_of(out, "profiles"))
    assert shown(capsys, str(out), "--search", "nowhere") == ["no company holds 'nowhere'"]


def test_a_profile_is_shown_with_the_words_that_bear_it_out(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in rows_of(out, "profiles") if row["company_id"] == "emoji"]
    said = "\n".join(shown(capsys, str(out), "emoji"))
    texts = {"emoji-1": f"\U0001f3ed {runs.text(90, 1)}"}
    places = [place for e in row["evidence"] if e["chosen"] for place in e["places"]]
    assert places
    for place in places:
        assert f"emoji-1 [{place['start']}:{place['end']}]" in said
        assert texts["emoji-1"][place["start"] : place["end"] + 8] in said
    assert all(field in said for field in ("name", "city", "country"))


def test_conflicts_and_missing_chunks_are_shown(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(out, "profiles")
    disputed = next(row for row in rows if row["conflicts"])
    said = "\n".join(shown(capsys, str(out), disputed["company_id"]))
    conflict = disputed["conflicts"][0]
    newest = conflict["alternatives"][0]["newest"]
    among = f" among the newest, of {newest}" if conflict["rule"] == "latest" and newest else ""
    assert f"documents disagree; decided by vote{among}, " in said
    assert all(other["value"] in said for other in conflict["alternatives"])
    said = "\n".join(shown(capsys, str(out), "long"))
    assert "1 chunk missing" in said
    assert "invalid  long-1 [" in said


def test_without_the_plan_the_quotes_are_left(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(out, tmp_path / "bare", ignore=shutil.ignore_patterns("work"))
    said = "\n".join(shown(capsys, str(tmp_path / "bare"), "emoji"))
    assert "Northwind Works\n" in said
    assert "makes pumps" not in said


def test_what_documents_hold_does_not_reach_the_terminal_as_commands(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in ([], ["\x1b[31mred\x1b[0m"]):
        assert "\x1b" not in "\n".join(shown(capsys, str(out), *argv))


def test_json_is_the_published_row(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["company_id"]: row for row in rows_of(out, "profiles")}
    (line,) = shown(capsys, str(out), "emoji", "--json")
    assert json.loads(line) == rows["emoji"]
    lines = shown(capsys, str(out), "--json", "--limit", "3")
    for told in map(json.loads, lines):
        whole = rows[told["company_id"]]
        assert told == {key: value for key, value in whole.items() if key not in show.HEAVY}


def test_an_output_that_is_not_finished_says_so(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = shutil.copytree(out, tmp_path / "begun", ignore=shutil.ignore_patterns("manifest.json"))
    assert show.main([str(begun)]) == 2
    assert "a run has begun and is not finished, the same command goes on" in capsys.readouterr().err
    (tmp_path / "days/day=1").mkdir(parents=True)
    (tmp_path / "days/work/backfill").mkdir(parents=True)
    assert show.main([str(tmp_path / "days")]) == 2
    assert "one in each partition's folder, such as day=1" in capsys.readouterr().err
    assert show.main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.endswith("so nothing is published there\n")


def test_a_company_that_is_not_there(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main([str(out), "emo"]) == 2
    assert "COMPANY 'emo' has no profile" in (said := capsys.readouterr().err) and "did you mean emoji?" in said
    assert show.main([str(outputs.publish(tmp_path / "empty", {})), "emo"]) == 2
    assert "--search TEXT finds others" in capsys.readouterr().err


def test_mistakes_are_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = outputs.publish(tmp_path / "out", {})
    for argv in ([str(out), "--limit", "-1"], [str(out), "--skip", "-1"], [str(out / "nowhere")]):
        assert show.main(argv) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
