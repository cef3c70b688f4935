"""Each value of a reply gets the log-probability of the tokens that it is written with."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.prompting.logprobs import LEAST_LOGPROB, leaf_scores, leaves, mirrored, token_pairs

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\é漢{}[]:, 1')),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b:", '"c"']), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES, st.data())
def test_every_leaf_has_a_score_however_the_text_is_cut_into_tokens(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=9)) | {0, len(text)})
    tokens = [(text[one:other], -1.0) for one, other in pairwise(cuts)]
    scores = leaf_scores(text, tokens)
    assert len(scores) == leaves(value)
    assert all(-len(tokens) <= score <= -1 for score in scores)


def test_a_value_s_score_is_the_sum_of_its_tokens() -> None:
    tokens = [('{"', 0.0), ("name", 0.0), ('":', 0.0), (' "', -0.1), ("Ac", -0.2), ("me", -0.4), ('",', -0.8),
              (' "year":', 0.0), (" 19", -1.0), ("98", -2.0), ("}", -4.0)]  # fmt: skip
    assert leaf_scores("".join(token for token, _ in tokens), tokens) == pytest.approx([-1.5, -3.0])


def test_parts_of_a_character_belong_to_it() -> None:
    tokens = [('{"a": "', -1.0), ("\ufffd", -2.0), ("\ufffd\ufffd", -3.0), ("x", -4.0), ('"}', -5.0)]
    assert leaf_scores('{"a": "漢x"}', tokens) == [-15.0]


@pytest.mark.parametrize("tokens", [[], [("{}", -1.0)], [('{"a": 2}', -1.0)], [('{"a": 1', -1.0)]])
def test_tokens_of_another_text_give_no_scores(tokens: list[tuple[str, float]]) -> None:
    assert leaf_scores('{"a": 1}', tokens) == []


def test_what_follows_the_text_does_not_count() -> None:
    assert leaf_scores('{"a": 1}', [('{"a": ', 0.0), ("1}", -1.0), ("<end>", -9.0)]) == [-1.0]


def test_scores_take_the_shape_of_their_values() -> None:
    value = {"a": [1, {"b": None}], "c": "x"}
    mirrors: dict[int, Any] = {}
    assert mirrored(value, [-1.0, -2.0, -3.0], mirrors) == {"a": [-1.0, {"b": -2.0}], "c": -3.0}
    assert mirrors[id(value["a"])] == [-1.0, {"b": -2.0}]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_scores_of_another_number_of_leaves_are_none(count: int) -> None:
    assert mirrored({"a": [1, {"b": None}], "c": "x"}, [-1.0] * count, {}) is None


@pytest.mark.parametrize("content", [None, 3, "x", [None], [{"token": 1, "logprob": 0}], [{"token": "a"}]])
def test_nonsense_is_no_token(content: Any) -> None:
    assert list(token_pairs(content)) == []


def test_a_log_probability_of_any_size_is_bounded() -> None:
    given = [{"token": "a", "logprob": number} for number in (-(10**400), 10**400, -0.5)]
    assert [logprob for _, logprob in token_pairs(given)] == [LEAST_LOGPROB, 0.0, -0.5]
