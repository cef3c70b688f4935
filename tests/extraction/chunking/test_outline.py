"""Headings are found as Markdown, reports and filings write them, and nothing else is taken for one."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.splitting import Heading, Outline, heading_level

REPORT = """Annual report

PART I

ITEM 1. BUSINESS

We make pumps.

PRODUCTS

Pumps of steel.

1. Pumps for wells

2.1 Pumps for ships

ITEM 2. PROPERTIES

A plant in Porto.

PART II

The end."""


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("# Acme", 1),
        ("### Products ###", 3),
        ("PART II.", 1),
        ("Parte IV", 1),
        ("Capítulo 3 – Estoques", 1),
        ("Item 1A. Risk Factors", 2),
        ("ITEM 7 Management", 2),
        ("Seção 2: Contatos", 2),
        ("Cláusula IX", 2),
        ("RISK FACTORS", 3),
        ("QUEM SOMOS E ONDE ESTAMOS", 3),
        ("3. Products and services", 4),
        ("3.2 Products", 5),
    ],
)
def test_a_heading_has_a_level(line: str, level: int) -> None:
    assert heading_level(line, alone=True) == level


@pytest.mark.parametrize(
    "line",
    [
        "",
        "#hashtag",
        "We make pumps.",
        "Part of the plant burnt down",
        "Section 5 of the act applies",
        "Item 3 is sold out",
        "| NAME | PRICE |",
        "NAME      PRICE      WEIGHT",
        "TOTAL\t1,200",
        "1,200,000",
        "ACME LTD.",
        "12 employees work in Porto, which is a town in Portugal; they make pumps of all kinds.",
        "ITEM 1. " + "x" * 200,
    ],
)
def test_other_lines_are_no_headings(line: str) -> None:
    assert heading_level(line, alone=True) == 0


def test_capitals_and_numbers_are_headings_behind_a_blank_line_only() -> None:
    assert heading_level("RISK FACTORS") == heading_level("3. Products") == 0
    assert heading_level("Item 3. Products") == 2


def test_underlined_lines_are_headings() -> None:
    outline = Outline("Acme\n====\nMakes pumps.\n\nProducts\n--------\nPumps.\n\nA\nB\n---\n")
    assert [(heading.name, heading.level) for heading in outline.headings] == [("Acme", 1), ("Products", 2)]
    assert outline.ends_at(9) and not outline.ends_at(4)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("Annual", ()),
        ("PART I\n", ()),
        ("ITEM 1", ("PART I",)),
        ("We make", ("PART I", "ITEM 1. BUSINESS")),
        ("Pumps of", ("PART I", "ITEM 1. BUSINESS", "PRODUCTS")),
        ("2.1 Pumps", ("ITEM 1. BUSINESS", "PRODUCTS", "1. Pumps for wells")),
        ("ITEM 2", ("PART I",)),
        ("A plant", ("PART I", "ITEM 2. PROPERTIES")),
        ("The end", ("PART II",)),
    ],
)
def test_a_place_stands_below_its_headings(place: str, path: tuple[str, ...]) -> None:
    assert Outline(REPORT).path(REPORT.index(place)) == path


lines = st.sampled_from(
    ["# A", "ITEM 1. B", "SOME CAPITALS", "text", "", " ", "====", "---", "1. Some", "\r", "\t# C "]
)


@given(st.lists(lines, max_size=20).map("\n".join))
def test_headings_are_whole_lines_in_order(text: str) -> None:
    reached = 0
    for heading in Outline(text).headings:
        assert reached <= heading.start < heading.end
        assert text[heading.start : heading.end].strip().strip("# \t").startswith(heading.name.split()[0])
        assert not text[text.rfind("\n", 0, heading.start) + 1 : heading.start].strip()
        assert text[heading.end : heading.end + 1] in ("\n", "")
        reached = heading.end


class Counted(list[Heading]):
    """Headings that count how many of them are looked at."""

    looked = 0

    def __iter__(self) -> Iterator[Heading]:
        self.looked += len(self)
        return super().__iter__()

    def __getitem__(self, which: Any) -> Any:
        self.looked += len(range(len(self))[which]) if isinstance(which, slice) else 1
        return super().__getitem__(which)


def test_a_path_does_not_look_at_all_headings() -> None:
    text = "# Acme\n" + "## Wine\n### Port\n" * 500
    outline = Outline(text)
    counted = Counted(outline.headings)
    outline.headings = counted
    for found in re.finditer("## Wine", text):
        assert outline.path(found.start()) == ("Acme",)
        assert outline.path(found.end()) == ("Acme", "Wine")
    assert counted.looked <= 3 * 1_000


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 200))
def test_a_path_holds_the_last_heading_of_each_level_that_no_higher_one_ended(levels: list[int], at: int) -> None:
    outline = Outline("\n".join("#" * level + f" H{n:03}" for n, level in enumerate(levels)))
    before = [heading for heading in outline.headings if heading.start < at]
    here = [heading for heading in outline.headings if heading.start == at]
    open_ = [
        heading
        for n, heading in enumerate(before)
        if all(later.level > heading.level for later in [*before[n + 1 :], *here])
    ]
    assert outline.path(at) == tuple(heading.name for heading in open_[-3:])
