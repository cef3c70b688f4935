"""Labels as files hold them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.errors import OperatorError
from extraction.evaluation.labels import NO_VALUES, Label, Labels, load_labels
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.profile_model import Field, facts

SHORT = {field.name: field for field in facts(ShortProfile)}
NAME, CITY, YEAR = SHORT["name"], SHORT["city"], SHORT["founded_year"]
DEMO = Path(__file__).resolve().parents[3] / "configs" / "demo" / "labels.yaml"


def label(said: dict[str, Any], field: Field = NAME) -> Label | None:
    """The label of a field in one company's row."""
    labels = Labels([("a", said), ("b", dict.fromkeys(SHORT))])
    return labels.label("a", field)


def test_one_value_several_none_or_not_scored() -> None:
    assert label({"name": "Alder"}) == Label(("Alder",), ("Alder",))
    assert label({"name": ["Alder", "Alder Ltd"]}) == Label(("Alder", "Alder Ltd"), ("Alder", "Alder Ltd"))
    assert label({"name": None}) == label({"name": []}) == label({"name": ""}) == NO_VALUES
    assert label({"city": "Galway"}) is None


def test_more_accepted_values() -> None:
    found = label({"name": "Alder", "name_accepted": ["ALDER", "Alder"]})
    assert found is not None and found.values == ("Alder", "ALDER")


@pytest.mark.parametrize(
    ("more", "of"),
    [("alt_names", "name"), ("alt_cities", "city"), ("alt_addresses", "address"), ("alt_addresses", "addresses")],
)
def test_other_accepted_values_by_the_label_s_plural(more: str, of: str) -> None:
    for row in ({of: "Alder", more: ["ALDER"]}, {more: ["ALDER"], of: "Alder"}):
        assert Labels([("a", row)]).keys == {of}


def test_a_key_that_only_looks_like_more_accepted_values_is_its_own() -> None:
    assert Labels([("a", {"terms_accepted": True})]).keys == {"terms_accepted"}


def test_what_stands_in_the_text() -> None:
    assert label({"name": "Alder", "in_text": {"name": False}}) == Label(("Alder",), ())
    assert label({"name": "Alder", "in_text": {"city": False}}) == Label(("Alder",), ("Alder",))


def test_rows_of_one_company_are_joined() -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("a", {"name": "BOEING CO", "in_text": {"name": False}}),
        ("a", {"name": "THE BOEING COMPANY", "city": None, "in_text": {"name": True}}),
        ("a", {"name": "BOEING CO", "city": "Arlington"}),
    ]
    labels = Labels(rows)
    both = ("BOEING CO", "THE BOEING COMPANY")
    assert labels.label("a", NAME) == Label(both, both)
    assert labels.label("a", CITY) == Label(("Arlington",), ("Arlington",))


def test_a_company_that_is_none() -> None:
    labels = Labels([("recipe", None), ("a", {"name": "Alder"})])
    assert labels.label("recipe", NAME) == NO_VALUES
    assert labels.label("recipe", CITY) is None  # a field that no company has a label for is not scored
    assert labels.label("nobody", NAME) is None


def test_keys_are_the_path_its_last_part_or_mapped() -> None:
    legal_name = next(field for field in facts(CompanyProfile) if field.path[-1] == "legal_name")
    nested = Labels([("a", {"identity": {"legal_name": "Alder Ltd"}})])
    assert nested.label("a", legal_name) == Label(("Alder Ltd",), ("Alder Ltd",))
    last = Labels([("a", {"legal_name": "Alder Ltd"})])
    assert last.label("a", legal_name) == Label(("Alder Ltd",), ("Alder Ltd",))
    mapped = Labels([("a", {"EntityRegistrantName": ["Alder Ltd"]})], {"name": "EntityRegistrantName"})
    assert mapped.label("a", NAME) == Label(("Alder Ltd",), ("Alder Ltd",))
    with pytest.raises(OperatorError, match="no labels 'Title', they are name"):
        Labels([("a", {"name": "Alder"})], {"name": "Title"})


def test_whole_numbers_that_a_table_made_floats() -> None:
    found = label({"founded_year": 2021.0}, YEAR)
    assert found is not None and found.values == (2021,) and isinstance(found.values[0], int)


def test_the_same_labels_in_every_format(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"company_id": "a", "name": "Alder", "founded_year": 1998},
        {"company_id": "b", "name": None},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "a.yaml").write_text("a: {name: Alder, founded_year: 1998}\nb: {name: null, founded_year: null}\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    inner = [{"company_id": row["company_id"], "text": "", "labels": json.dumps(row)} for row in rows]
    pq.write_table(pa.Table.from_pylist(inner), tmp_path / "inner.parquet")
    for name in ("a.jsonl", "a.yaml", "a.parquet", "inner.parquet"):
        labels = load_labels(tmp_path / name)
        assert labels.label("a", NAME) == Label(("Alder",), ("Alder",)), name
        assert labels.label("a", YEAR) == Label((1998,), (1998,)), name
        assert labels.label("b", NAME) == NO_VALUES, name


def test_yaml_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Norway's code is no boolean, and an id keeps its zeros."""
    (tmp_path / "a.yaml").write_text("00191: {name: NO, founded_year: 1998}\n2026-01-01: {name: 'No'}\n")
    labels = load_labels(tmp_path / "a.yaml")
    assert labels.label("00191", NAME) == Label(("NO",), ("NO",))
    assert labels.label("00191", YEAR) == Label((1998,), (1998,))
    assert labels.label("2026-01-01", NAME) == Label(("No",), ("No",))


def test_the_demo_labels() -> None:
    labels = load_labels(DEMO)
    found = labels.label("kestrelmoor", NAME)
    assert found is not None and "Kestrelmoor" in found.values
    assert labels.label("bolo-de-fuba", NAME) == NO_VALUES
    assert labels.label("marulho", SHORT["website"]) == NO_VALUES
    assert labels.label("serra-alta", SHORT["products"]) == Label(
        *[("floor tiles", "wall tiles", "glazed roof tiles")] * 2
    )


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "one of .yaml"),
        ("a.jsonl", '{"name": "Alder"}', "line 1 has no company_id"),
        ("a.jsonl", '{"company_id"', "Expecting"),
        ("a.jsonl", '{"company_id": "a", "labels": 7}', "holds no labels: 7"),
        ("a.yaml", "- a", "is expected"),
        ("a.yaml", "a: Alder", "a holds no labels"),
        ("a.yaml", "a: [", "while parsing"),
        ("a.parquet", "PAR1", "Parquet"),
    ],
)
def test_a_file_that_is_none_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(OperatorError, match=said):
        load_labels(tmp_path / name)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for name in ("a.yaml", "a.jsonl", "a.parquet"):
        with pytest.raises(OperatorError, match="can't be read"):
            load_labels(tmp_path / name)
