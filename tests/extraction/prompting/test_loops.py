"""Loops are told from long answers, however long what is repeated and wherever the answer was cut."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.errors import Fault
from extraction.prompting.reply_parsing import ReplyFault, loops, parse
from extraction.schema.company import ShortProfile

BEGUN = '{"owner": "Ana", "grapes": ["'
WORDS = st.text("abcdefgh", min_size=1, max_size=12)


@given(
    st.text(min_size=2, max_size=60).filter(str.strip), st.integers(8, 40), st.integers(0, 59), st.text(max_size=9)
)
def test_a_few_words_said_eight_times_are_a_loop(said: str, times: int, more: int, before: str) -> None:
    assert loops(before + said * times + said[: more % len(said)])


@given(st.integers(61, 1_000), st.integers(4, 6), st.integers(0, 999), st.randoms(use_true_random=False))
def test_a_long_passage_said_four_times_is_a_loop(length: int, times: int, more: int, drawn: Random) -> None:
    said = "".join(drawn.choices("abcdef ", k=length - 1)) + "."
    assert loops(BEGUN + said * times + said[: more % length])
    assert not loops(BEGUN + said * 3)


@pytest.mark.parametrize("blank", [" ", "\n", "\t "])
def test_endless_white_space_is_a_loop(blank: str) -> None:
    assert loops(BEGUN + blank * 300)
    assert not loops(BEGUN + blank * 50)


@given(
    st.lists(st.tuples(WORDS, WORDS | st.none(), st.integers(0, 9) | st.none()), max_size=60), st.integers(0, 999)
)
def test_long_json_is_no_loop_wherever_it_is_cut(
    people: list[tuple[str, str | None, int | None]], cut: int
) -> None:
    told = [{"name": f"{name} {n}", "role": role, "since": year} for n, (name, role, year) in enumerate(people)]
    for indent in (None, 2):
        text = json.dumps({"owner": "Ana", "people": told}, indent=indent)
        assert not loops(text[: len(text) - cut % (len(text) + 1)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        BEGUN + '", "'.join(f"Grape {n}" for n in range(500)),
        json.dumps({"plots": [{"name": f"Plot {n}", "hectares": None} for n in range(90)]}, indent=4)[:-9],
        json.dumps([[[[[["deep"]]]]]], indent=8)[:70],
        '{"years": ' + ", ".join(str(year) for year in range(1900, 2026)),
        BEGUN + "ha" * 12 + "".join(f"{n:x}" for n in range(300)),
        "a" * 4_000 + "".join(map(chr, range(0x4E00, 0x4E50))),
    ],
)
def test_a_long_answer_is_no_loop(text: str) -> None:
    assert not loops(text)


@pytest.mark.parametrize(("said", "fault"), [("1.0." * 400, Fault.REPETITION), ("Rufete", Fault.TRUNCATED)])
def test_only_an_answer_that_met_its_limit_is_judged_by_it(said: str, fault: Fault) -> None:
    with pytest.raises(ReplyFault) as caught:
        parse(BEGUN + said, "length", ShortProfile)
    assert caught.value.fault is fault
    with pytest.raises(ReplyFault) as caught:
        parse(BEGUN + said, "stop", ShortProfile)
    assert caught.value.fault is Fault.INVALID
