"""The page's text is safe whatever stands in documents, and its numbers read well."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.cli.number_format import percent, seconds, short, visible_text
from jobs.reports import html_page as page_of
from jobs.reports.html_page import embedded
from jobs.state.published_run import PublishedRun
from tests.jobs import outputs
from tests.jobs.reports.runs import ATTACKS, IDS

TEXTS = st.text(st.characters(codec=None))


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS)))
@example({each: [*ATTACKS, "\ud800"] for each in IDS})
def test_data_is_json_in_which_no_element_can_begin_or_end(data: dict[str, str | list[str]]) -> None:
    text = embedded(data)
    assert json.loads(text) == data
    assert not re.search("[<>&\u2028\u2029]", text)
    text.encode("utf-8")


@given(TEXTS)
def test_what_is_visible_has_no_control_characters(text: str) -> None:
    assert visible_text(text).isprintable()
    if text.isprintable():
        assert visible_text(text) == text


def test_the_policy_lets_nothing_in_and_nothing_out(tmp_path: Path) -> None:
    folder = outputs.publish(tmp_path / "out", {each: {"name": each} for each in [*ATTACKS, *IDS]})
    page_of.write_report(PublishedRun.at(str(folder)))
    said = (folder / page_of.REPORT).read_text("utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', said)
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert len(re.findall(r"<script[ >]", said)) == 2
    assert not re.findall(
        r"<[^>]*\s(?:style|on\w+)=", said.split("<body>")[1].split('<script type="application/json"')[0]
    )
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', said.split('<script type="application/json"')[0])


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0"), (0.25, "0.25"), (7.6, "7.6"), (64, "64"), (847.3, "847"), (9_412, "9,412"), (151_200, "151 k"),
     (12_340, "12.3 k"), (1_512_000, "1.51 M"), (2e9, "2 G")],
)  # fmt: skip
def test_numbers_in_three_digits(number: float, told: str) -> None:
    assert short(number) == told


@pytest.mark.parametrize(
    ("share", "told"),
    [(0, "0 %"), (1, "100 %"), (0.333, "33 %"), (0.067, "6.7 %"), (0.05, "5 %"),
     (0.0001, "< 0.1 %"), (0.9999, "> 99.9 %"),
     (0.995, "99.5 %")],
)  # fmt: skip
def test_shares_in_percent(share: float, told: str) -> None:
    assert percent(share) == told


@pytest.mark.parametrize(("number", "told"), [(0.042, "42 ms"), (3.21, "3.2 s"), (75, "1:15"), (3_700, "1:01:40")])
def test_times_in_the_unit_that_fits(number: float, told: str) -> None:
    assert seconds(number) == told
