"""Profiles against labels: what counts as right, wrong, missing and invented."""

import math
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from extraction.evaluation.labels import NO_VALUES, Label
from extraction.evaluation.scoring import COUNTS, Scorer, f1, shares
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.merge_rules import union, vote
from extraction.schema.profile_model import Field, facts

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(ROWS)
def test_a_share_lies_in_its_interval_and_both_between_0_and_1(rows: list[tuple[int, int]]) -> None:
    right, wrong = (np.array([row[n] for row in rows]).reshape(-1, 1) for n in (0, 1))
    share = shares(right, right + wrong)[0]
    if (right + wrong).sum() == 0:
        assert all(map(math.isnan, (share.value, share.low, share.high)))
    else:
        assert share.value == right.sum() / (right + wrong).sum()
        assert 0 <= share.low <= share.high <= 1


def test_an_interval_is_that_of_the_binomial_where_each_company_says_one_thing() -> None:
    right = np.array([1] * 80 + [0] * 20).reshape(-1, 1)
    share = shares(right, np.ones_like(right))[0]
    spread = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert share.low == pytest.approx(0.8 - spread, abs=0.02)
    assert share.high == pytest.approx(0.8 + spread, abs=0.02)


def test_companies_are_drawn_not_values() -> None:
    """Ten companies that give ten values each are ten draws, not a hundred."""
    right = np.array([10] * 5 + [0] * 5).reshape(-1, 1)
    share = shares(right, np.full_like(right, 10))[0]
    assert share.high - share.low > 0.5


def test_the_same_figures_each_time() -> None:
    column = np.arange(20).reshape(-1, 1)
    assert shares(column, column + 1) == shares(column, column + 1)


def test_a_column_of_its_own_for_each_field() -> None:
    one, other = shares([[1, 0], [1, 0]], [[1, 2], [1, 2]])
    assert (one.value, other.value) == (1, 0)


def test_f1() -> None:
    assert f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert f1(0.0, 0.0) == 0
    assert f1(math.nan, 0.0) == 0
    assert math.isnan(f1(1.0, math.nan))


SHORT = {field.name: field for field in facts(ShortProfile)}
PRODUCTS = ["floor tiles", "wall tiles", "glazed roof tiles"]


def counts(field: Field, value: Any, label: Label | None) -> dict[str, int]:
    """The counts, but for zeros, of a profile that gives one field a value."""
    profile: dict[str, Any] = {}
    inner = profile
    for part in field.path[:-1]:
        inner = inner.setdefault(part, {})
    inner[field.path[-1]] = value
    found = Scorer([field]).counts(profile, [label])[0]
    return {name: int(count) for name, count in zip(COUNTS, found, strict=True) if count}


def stated(*values: Any) -> Label:
    """A label that stands in the text."""
    return Label(values, values)


def right(name: str, value: Any, *accepted: Any) -> bool:
    """Whether a value is right for a field of the short profile."""
    return counts(SHORT[name], value, stated(*accepted)).get("right") == 1


def test_right() -> None:
    found = counts(SHORT["city"], "GALWAY", stated("Galway"))
    assert found == {"labelled": 1, "in_text": 1, "given": 1, "right": 1, "found": 1}


def test_wrong() -> None:
    assert counts(SHORT["city"], "Cork", stated("Galway")) == {"labelled": 1, "in_text": 1, "given": 1}


def test_missing() -> None:
    assert counts(SHORT["city"], None, stated("Galway")) == {"labelled": 1, "in_text": 1}


def test_a_label_that_stands_nowhere_asks_for_nothing_and_shows_inventions() -> None:
    silent = Label(("Galway",), ())
    assert counts(SHORT["city"], None, silent) == {"labelled": 1, "probes": 1}
    assert counts(SHORT["city"], "Cork", silent) == {"labelled": 1, "probes": 1, "given": 1, "invented": 1}
    assert counts(SHORT["city"], "Galway", silent) == {"labelled": 1, "probes": 1, "given": 1, "right": 1}


def test_where_there_is_nothing_any_value_is_an_invention() -> None:
    assert counts(SHORT["city"], "Cork", NO_VALUES) == {"probes": 1, "given": 1, "invented": 1}
    assert counts(SHORT["city"], None, NO_VALUES) == {"probes": 1}


def test_what_has_no_label_is_not_scored() -> None:
    assert counts(SHORT["city"], "Cork", None) == {}


def test_a_company_without_a_profile_misses_all() -> None:
    fields = [SHORT["city"], SHORT["name"]]
    found = Scorer(fields).counts({}, [stated("Galway"), stated("Alder")])
    assert found.sum(axis=0).tolist() == [2, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("name", "Alder & Finch Limited", ["ALDER AND FINCH LTD."]),
        ("name", "Kestrelmoor Water Instruments Inc.", ["Kestrelmoor"]),
        ("name", "Kestrelmor Water Instruments", ["Kestrelmoor Water Instruments"]),
        ("country", "Brasil", ["Brazil"]),
        ("country", "Deutschland", ["United Kingdom", "Germany"]),
        ("website", "https://www.alder.example/", ["alder.example"]),
        ("founded_year", 1998, ["1998"]),
    ],
)
def test_the_same_by_the_fields_own_rule(name: str, value: Any, accepted: list[Any]) -> None:
    assert right(name, value, *accepted)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("name", "Marlow Ferries", ["Kestrelmoor"]),
        ("name", "Fund 12 Holdings", ["Fund 13 Holdings"]),
        ("city", "Hamilton", ["Hamiltan"]),
        ("country", "Niger", ["Nigeria"]),
        ("website", "alderr.example", ["alder.example"]),
        ("founded_year", 1998, [1989]),
        ("employees", 240, [2400]),
    ],
)
def test_what_is_only_like_it_is_wrong(name: str, value: Any, accepted: list[Any]) -> None:
    assert not right(name, value, *accepted)


def test_items_of_lists_are_matched_one_to_one() -> None:
    found = counts(SHORT["products"], ["Floor tile", "roofing", "wall tiles"], stated(*PRODUCTS))
    assert found == {"labelled": 3, "in_text": 3, "given": 3, "right": 2, "found": 2}


def test_recall_asks_only_for_the_items_that_stand_in_the_text() -> None:
    found = counts(SHORT["products"], ["floor tiles", "wall tiles"], Label(tuple(PRODUCTS), ("floor tiles",)))
    assert found == {"labelled": 3, "in_text": 1, "given": 2, "right": 2, "found": 1}


def test_an_item_said_twice_is_given_once() -> None:
    assert counts(SHORT["products"], ["floor tiles", "FLOOR TILES"], stated("floor tiles"))["given"] == 1


class Part(BaseModel):
    """An item with parts."""

    name: str
    code: str | None


class Machine(BaseModel):
    """A model that has none of the project's fields."""

    parts: Annotated[list[Part], union(anchor="name")]
    codes: Annotated[list[str], union()]
    maker: Annotated[str | None, vote(verbatim=False)]


MACHINE = {field.name: field for field in facts(Machine)}


def test_structured_items_go_by_what_stands_for_them() -> None:
    given = [{"name": "hydraulic pump", "code": None}, {"name": "valve", "code": "7"}]
    assert counts(MACHINE["parts"], given, stated("Hydraulic pumps", "valve"))["right"] == 2
    assert counts(MACHINE["parts"], given, stated({"name": "valve", "code": "8"}))["right"] == 1


def test_numbers_in_items_are_the_same_or_not() -> None:
    assert counts(MACHINE["codes"], ["KX-2000 pump"], stated("KX-2001 pump")).get("right") is None


def test_nested_fields() -> None:
    website = next(field for field in facts(CompanyProfile) if field.path[-1] == "website")
    assert counts(website, "www.alder.example", stated("alder.example"))["right"] == 1
    assert Scorer([website]).counts({"contact": None}, [stated("alder.example")]).sum() == 2


VALUES = st.lists(st.sampled_from([*PRODUCTS, "bricks", "Bricks", "pumps", ""]), max_size=5)


@given(VALUES, st.sampled_from([*PRODUCTS, "bricks", None]), st.data())
def test_counts_add_up(products: list[str], name: str | None, data: st.DataObject) -> None:
    values = st.lists(st.sampled_from([*PRODUCTS, "bricks"]), max_size=4, unique=True)
    drawn = [tuple(data.draw(values)) for _ in range(2)]
    labels = [Label(v, v[: data.draw(st.integers(0, len(v)))]) for v in drawn]
    scorer = Scorer([SHORT["products"], SHORT["name"]])
    profile = {"products": products, "name": name}
    table = scorer.counts(profile, labels)
    for row, label in zip(table, labels, strict=True):
        of = dict(zip(COUNTS, map(int, row), strict=True))
        assert of["found"] <= of["in_text"] <= max(of["labelled"], len(label.values))
        assert of["right"] <= of["given"]
        assert of["found"] <= of["right"]
        assert of["invented"] <= of["probes"] == int(not label.grounded)
    mistakes = {m.field for m in scorer.mistakes("a", profile, labels, table)}
    perfect = [
        row[COUNTS.index("given")] == row[COUNTS.index("right")]
        and row[COUNTS.index("in_text")] == row[COUNTS.index("found")]
        for row in table
    ]
    assert mistakes == {f.name for f, good in zip(scorer.fields, perfect, strict=True) if not good}


def test_mistakes_say_what_is_there_and_what_is_right() -> None:
    fields = [SHORT["city"], SHORT["name"], SHORT["website"], SHORT["country"]]
    labels = [stated("Galway"), stated("Alder"), NO_VALUES, stated("Ireland")]
    profile = {"city": "Cork", "name": None, "website": "alder.example", "country": "Ireland"}
    scorer = Scorer(fields)
    found = list(scorer.mistakes("a", profile, labels, scorer.counts(profile, labels)))
    assert [(m.field, m.kind, m.published, m.labels) for m in found] == [
        ("city", "wrong", ("Cork",), ("Galway",)),
        ("name", "missing", (), ("Alder",)),
        ("website", "invented", ("alder.example",), ()),
    ]
