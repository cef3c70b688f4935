"""The tables of docs/configuration.md and docs/output.md are those that the code makes."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from docs import generate
from docs.generate import describe, with_tables
from jobs.state.parquet_schemas import described


def test_the_pages_are_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("configuration.md", "| `12000` |", "| `12001` |"),
        ("output.md", "| `evidence[].value` |", "| `evidence[].said` |"),
    ],
)
def test_a_changed_table_is_noticed_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str, old: str, new: str
) -> None:
    for name in ("configuration.md", "output.md"):
        shutil.copy(generate.DOCS / name, tmp_path)
    right = (tmp_path / page).read_text("utf-8")
    assert old in right
    changed = right.replace(old, new)
    (tmp_path / page).write_text(changed, "utf-8")
    assert generate.main(["--check"], tmp_path) == 1
    assert page in capsys.readouterr().err and (tmp_path / page).read_text("utf-8") == changed
    assert generate.main([], tmp_path) == 0
    assert (tmp_path / page).read_text("utf-8") == right
    assert generate.main(["--check"], tmp_path) == 0


def test_a_key_or_column_without_a_description_is_an_error() -> None:
    class Undescribed(BaseModel):
        known: int = Field(description="how many")
        unknown: int = 0

    with pytest.raises(ValueError, match="unknown has no description"):
        describe(generate.keys(Undescribed))
    schema = pa.schema([*described(("known", pa.int64(), "how many")), pa.field("unknown", pa.int64())])
    with pytest.raises(ValueError, match="unknown has no description"):
        describe(generate.columns(schema))


def test_a_page_has_one_place_for_each_table() -> None:
    place = "before\n<!-- generated: limits -->\nold\n<!-- end -->\nafter\n"
    assert with_tables(place, {"limits": "new\n"}) == place.replace("old", "new")
    for page in ("", 2 * place, place.replace("limits", "others")):
        with pytest.raises(ValueError, match="places for"):
            with_tables(page, {"limits": "new\n"})
