"""Whatever a server sends: a profile that fits its model, or a ReplyFault that tells nothing of the text."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extraction.prompting.reply_parsing import ReplyFault, parse
from extraction.schema.company import CompanyProfile, ShortProfile

GOOD = json.dumps(
    dict.fromkeys(ShortProfile.model_fields)
    | {"name": "Alder Ltd", "founded_year": 1990, "products": ["oak", "ash"]}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(["\ud800", "\x00", "x" * 100_000, 10**400, -0.0]),
)
NAMES = st.one_of(st.sampled_from([*ShortProfile.model_fields, *CompanyProfile.model_fields]), st.text(max_size=5))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)
MODELS = st.sampled_from([ShortProfile, CompanyProfile])
REASONS = st.sampled_from(["stop", "length", "abort", "content_filter", "tool_calls", "", None])


def outcome(text: str, reason: str | None, model: Any) -> Any:
    """A profile, or None where the reply was refused; anything else is a bug."""
    try:
        return parse(text, reason, model).profile
    except ReplyFault:
        return None


@given(st.text(st.characters()), REASONS, MODELS)
@example("[" * 100_000, "stop", ShortProfile)
@example('{"a":' * 50_000, "stop", ShortProfile)
@example("9" * 5_000, "stop", ShortProfile)
@example("\ufeff{}", "stop", ShortProfile)
def test_any_text(text: str, reason: str | None, model: Any) -> None:
    outcome(text, reason, model)


@given(VALUES, REASONS, MODELS)
def test_any_json(value: Any, reason: str | None, model: Any) -> None:
    found = outcome(json.dumps(value), reason, model)
    if found is not None:
        assert model.model_validate_json(found.model_dump_json(by_alias=True)) == found


@given(st.dictionaries(st.sampled_from([*ShortProfile.model_fields]), VALUES))
def test_any_values_in_the_fields_of_a_profile(values: dict[str, Any]) -> None:
    found = outcome(json.dumps(json.loads(GOOD) | values), "stop", ShortProfile)
    if found is not None:
        assert ShortProfile.model_validate_json(found.model_dump_json(by_alias=True)) == found


@given(st.data())
def test_a_good_reply_with_characters_changed(data: st.DataObject) -> None:
    text = list(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.text(st.sampled_from('{}[]",:\\ue0-x'), max_size=3))
        text[at : at + data.draw(st.integers(0, 3))] = other
        text = text or [" "]
    outcome("".join(text), "stop", ShortProfile)


def test_the_good_reply_is_good() -> None:
    assert parse(GOOD, "stop", ShortProfile).profile.model_dump()["name"] == "Alder Ltd"
    with pytest.raises(ReplyFault):
        parse(GOOD, "length", CompanyProfile)
