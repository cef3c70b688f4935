"""Partitions are found by a pattern, tell when they changed, and stand in the output by their keys."""

import datetime
import os
from pathlib import Path

import fsspec
import pytest

from extraction.config.settings import Columns
from extraction.errors import OperatorError
from jobs.backfills.config import Declaration, Window
from jobs.backfills.partitions import Pattern, partitions_in_window
from jobs.inputs.document_reader import look_over
from tests.jobs.helpers import row, write

TODAY = datetime.date(2026, 2, 1)


def paths(pattern: str) -> list[str]:
    return [partition.path for partition in Pattern(pattern).partitions()]


def put(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name / "part.parquet", [row(0)])


def test_hive_keys_formats_and_files(tmp_path: Path) -> None:
    put(tmp_path / "a", "region=eu/date=2026-01-02", "region=us/date=2026-01-01")
    put(tmp_path / "a", "region=us/date=soon", "date=2026-01-01")
    assert paths(f"{tmp_path}/a/region={{region}}/date={{date}}/") == [
        "region=eu/date=2026-01-02",
        "region=us/date=2026-01-01",
    ]
    put(tmp_path / "b", "year=2026/month=01/day=09", "year=2026/month=13/day=09", "year=26/month=01/day=01")
    assert paths(f"{tmp_path}/b/year={{date:%Y}}/month={{date:%m}}/day={{date:%d}}") == ["date=2026-01-09"]
    put(tmp_path / "c", "2026/01/03", "2026/001")
    assert paths(f"{tmp_path}/c/{{date:%Y/%m/%d}}") == ["date=2026-01-03"]
    for name in ("documents-20260104-0", "documents-20260104-1", "documents-20260105-0", "other-20260104-0"):
        write(tmp_path / "d" / f"{name}.parquet", [row(0)])
    found = Pattern(f"{tmp_path}/d/documents-{{date:%Y%m%d}}-*.parquet").partitions()
    assert [(p.path, len(p.files)) for p in found] == [("date=2026-01-04", 2), ("date=2026-01-05", 1)]


def test_a_date_may_stand_several_times_and_is_one_day(tmp_path: Path) -> None:
    put(tmp_path / "a", "year=2026/date=2026-01-02", "year=2025/date=2026-01-03", "year=0001/date=0001-01-01")
    assert paths(f"{tmp_path}/a/year={{date:%Y}}/date={{date}}/") == ["date=0001-01-01", "date=2026-01-02"]
    put(tmp_path / "b", "26/2026-001/02", "26/2026-032/02", "25/2026-032/02")
    assert paths(f"{tmp_path}/b/{{date:%y}}/{{date:%Y-%j}}/{{date:%m}}") == ["date=2026-02-01"]
    put(tmp_path / "c", "2026-2026-01", "2026-2025-01")
    assert paths(f"{tmp_path}/c/{{date:%Y-%Y-%m}}") == ["date=2026-01-01"]
    with pytest.raises(OperatorError, match=r"\{date:day\} has no directive: of a day there are %Y, %m, %d"):
        Pattern(f"{tmp_path}/{{date:day}}/")


@pytest.mark.parametrize(
    ("pattern", "name", "day"),
    [
        ("year={date:%Y}/month={date:%m}/day={date:%d}/", "year=2026/month=5/day=1", "2026-05-01"),
        ("year={date:%Y}/month={date:%m}/day={date:%d}/", "year=2026/month=12/day=31", "2026-12-31"),
        ("month={date:%m}/date={date}", "month=5/date=2026-05-1", "2026-05-01"),
        ("{date:%Y.%m.%d}-{region}", "2026.5.1-eu", "2026-05-01"),
        ("{date:%Y%m%d}", "202651", None),
        ("{date:%Y-%m%d}", "2026-51", None),
        ("1{date:%d-%m-%Y}", "12-05-2026", None),
        ("{date:%Y-%m-%d}0", "2026-05-10", None),
        ("{date}{region}", "2026-05-12eu", "2026-05-12"),
        ("{date}{region}", "2026-05-12", None),
        ("*{date:%d-%m-%Y}*", "x12-05-2026", "2026-05-12"),
        ("*{date:%d-%m-%Y}*", "1-05-2026", None),
    ],
)
def test_a_month_or_day_may_lack_its_zero_where_no_digit_is_beside_it(
    tmp_path: Path, pattern: str, name: str, day: str | None
) -> None:
    put(tmp_path, name)
    if day is None:
        with pytest.raises(OperatorError, match="1 with Parquet files have no such day or value in"):
            paths(f"{tmp_path}/{pattern}")
        return
    (found,) = Pattern(f"{tmp_path}/{pattern}").partitions()
    assert str(found.day) == day


def test_both_spellings_of_a_day_are_one_partition_and_what_is_no_day_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "date=2026-05-01", "date=2026-05-1", "date=20260502", "date=__HIVE_DEFAULT_PARTITION__", "_x")
    for n in range(2):
        put(tmp_path / "c", f"date=2026-13-0{n}", f".date=2026-13-0{n}")
    (tmp_path / "date=2026-13-01").mkdir()
    (found,) = Pattern(f"{tmp_path}/{{date:date=%Y-%m-%d}}/").partitions()
    assert (found.path, len(found.files)) == ("date=2026-05-01", 2)
    assert capsys.readouterr().err == ""
    paths(f"{tmp_path}/date={{date}}")
    told = capsys.readouterr().err
    assert "/date={date} finds, 2 with Parquet files have no such day or value in their names, such as " in told
    assert told.endswith("/date=20260502: they are left out\n")
    with pytest.raises(OperatorError, match=r"finds no partition with Parquet files .*: 2 with Parquet files have"):
        paths(f"{tmp_path}/c/date={{date}}")


def test_folders_without_parquet_and_hidden_ones_are_none(tmp_path: Path) -> None:
    put(tmp_path, "site=a", "site=.hidden")
    (tmp_path / "site=b").mkdir()
    (tmp_path / "site=b" / "notes.txt").write_text("-")
    write(tmp_path / "site=b" / "_temporary.parquet", [row(0)])
    assert paths(f"{tmp_path}/site={{site}}/") == ["site=a"]
    with pytest.raises(OperatorError, match="finds no partition with Parquet files"):
        paths(f"{tmp_path}/nowhere/site={{site}}/")


def test_what_is_hidden_is_in_no_partition(tmp_path: Path) -> None:
    day = "_landing/date=2026-01-01"
    put(tmp_path, day, f"{day}/_temporary/0", f"{day}/.tmp", f"{day}/_hour=1", "_temporary/date=2026-01-02")
    (found,) = Pattern(f"{tmp_path}/_landing/date={{date}}/").partitions()
    files = [file.partition("date=2026-01-01/")[2] for file in sorted(found.files)]
    assert files == ["_hour=1/part.parquet", "part.parquet"]
    put(tmp_path / "sites", "_temporary", "eu", "site=_us", ".tmp")
    assert paths(f"{tmp_path}/sites/{{site}}") == ["site=eu", "site=site=_us"]
    assert paths(f"{tmp_path}/sites/site={{site}}") == ["site=_us"]
    assert paths(f"{tmp_path}/sites/_{{site}}") == ["site=temporary"]
    with pytest.raises(OperatorError, match="finds no partition"):
        paths(f"{tmp_path}/*/date={{date}}/")


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "there", "month=1/day=2/more")
    (tmp_path / "year=2026").symlink_to(tmp_path / "there")
    put(tmp_path / "far", "x")
    (tmp_path / "there" / "month=1" / "day=2" / "far").symlink_to(tmp_path / "far")
    (found,) = Pattern(f"{tmp_path}/year={{date:%Y}}/month={{date:%m}}/day={{date:%d}}").partitions()
    assert [file.partition("day=2/")[2] for file in found.files] == ["more/part.parquet", "far/x/part.parquet"]


def test_only_a_star_is_a_wildcard(tmp_path: Path) -> None:
    names = ("[a]/what?/x1 [2026-01-01]", "a/what?/x2 [2026-01-02]", "[a]/whatx/x3 [2026-01-03]")
    put(tmp_path, *names, "[a]/what?/x4 2026-01-04")
    found = Pattern(f"{tmp_path}/[a]/what?/x* [{{date}}]/").partitions()
    assert [each.path for each in found] == paths(f"{tmp_path}/[a]/what?/{{date:x1 [%Y-%m-%d]}}/")
    assert [each.path for each in found] == ["date=2026-01-01"]
    assert look_over(list(found[0].files), Columns()).rows == 1


def test_a_digest_changes_with_what_is_in_a_partition_and_with_nothing_else(tmp_path: Path) -> None:
    def digest() -> str:
        (found,) = Pattern(f"{tmp_path}/date={{date}}/").partitions()
        return found.digest

    file = write(tmp_path / "date=2026-01-01" / "a.parquet", [row(0)])
    first = digest()
    (tmp_path / "date=2026-01-01" / "_SUCCESS").touch()
    assert digest() == first
    seen = {first}
    os.utime(file, (1, 1))
    seen.add(digest())
    write(tmp_path / "date=2026-01-01" / "more" / "b.parquet", [row(1)])
    seen.add(digest())
    file.unlink()
    seen.add(digest())
    assert len(seen) == 4


def test_partitions_of_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    monkeypatch.setattr(type(store), "store", {})
    monkeypatch.setattr(type(store), "pseudo_dirs", [""])
    for path in ("date=2026-01-01/a.parquet", "date=2026-01-02/b.parquet", "date=2026-01-02/_SUCCESS"):
        store.pipe_file(f"/bucket/{path}", b"12345")
    first, second = Pattern("memory://bucket/date={date}/").partitions()
    assert list(second.files) == ["memory:///bucket/date=2026-01-02/b.parquet"]
    assert (first.bytes, second.day) == (5, datetime.date(2026, 1, 2))
    store.pipe_file("/bucket/date=2026-01-01/a.parquet", b"54321")
    again, same = Pattern("memory://bucket/date={date}/").partitions()
    assert again.digest != first.digest
    assert same.digest == second.digest


def test_an_unknown_store_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match="nosuch://bucket/"):
        Pattern("nosuch://bucket/date={date}/").partitions()


@pytest.mark.parametrize(
    ("window", "days"),
    [
        ({}, [28, 29, 30, 31]),
        ({"days": 2}, [31]),  # today is not there yet
        ({"days": 2, "lag_days": 1}, [30, 31]),
        ({"first": "2026-01-29"}, [29, 30, 31]),
        ({"first": "2026-01-29", "last": "2026-01-30"}, [29, 30]),
        ({"last": "2026-01-28", "lag_days": 10}, []),
    ],
)
def test_the_window_decides_and_the_order_is_kept(
    tmp_path: Path, window: dict[str, object], days: list[int]
) -> None:
    put(tmp_path, *(f"date=2026-01-{day}" for day in (28, 29, 30, 31)))
    for order in ("oldest", "newest"):
        declared = Declaration(
            name="x",
            input=f"{tmp_path}/date={{date}}",
            output="out",
            order=order,
            window=Window.model_validate(window),
        )
        found = [p.day.day for p in partitions_in_window(declared, TODAY) if p.day]
        assert found == (days if order == "oldest" else days[::-1])
