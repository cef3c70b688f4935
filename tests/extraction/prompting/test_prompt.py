"""What is said to the model: the same for every chunk but for the last message."""

import datetime
import json
import re
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from extraction.errors import OperatorError
from extraction.prompting.prompt import Example, Prompt, content_of, field_guide, without_special_tokens
from extraction.schema.company import CompanyProfile
from tests.extraction.samples import Cellar, Plot, Soil, Vineyard

PROFILE: dict[str, Any] = {
    "owner": "Ana Brandt",
    "style": None,
    "cellar": {"town": "Régua", "opened": None},
    "grapes": [],
}
EXAMPLE = Example(title="On  Ana", text="\nAna Brandt makes wine in Régua.\n", profile=PROFILE)
MARKERS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "</s>", "<start_of_turn>", "<end_of_turn>"]
titles = st.none() | st.text(max_size=12)
texts = st.lists(st.sampled_from([*MARKERS, "<|", "|>", "<", "a", " ", "\n", "ß"]) | st.text(max_size=3)).map(
    "".join
)


class Harvest(BaseModel):
    cellar: Cellar | None
    soils: list[Soil]
    plots: list[Plot] | None


def test_the_document_is_the_last_message_and_all_others_stay_the_same() -> None:
    prompt = Prompt(instructions="Read.\n{fields}\n", examples=(EXAMPLE,))
    *before, last = prompt.messages(Vineyard, "# Wine\n\nText")
    assert last == {"role": "user", "content": "# Wine\n\nText"}
    assert before == prompt.messages(Vineyard, "")[:-1]
    assert [m["role"] for m in before] == ["system", "user", "assistant"]
    assert before[0]["content"] == f"Read.\n{field_guide(Vineyard)}"
    assert before[1]["content"] == "# On Ana\n\nAna Brandt makes wine in Régua."
    assert json.loads(before[2]["content"]) == PROFILE
    assert "Régua" in before[2]["content"]


def test_examples_leave_out_what_replies_leave_out() -> None:
    prompt = Prompt(instructions="x", examples=(EXAMPLE,), unstated="omitted")
    prompt.check(Vineyard)
    brief = {"owner": "Ana Brandt", "cellar": {"town": "Régua"}}
    assert json.loads(prompt.messages(Vineyard, "it")[2]["content"]) == brief
    written = EXAMPLE.model_copy(update={"profile": brief})
    Prompt(instructions="x", examples=(written,), unstated="omitted").check(Vineyard)
    with pytest.raises(OperatorError, match="example 1 of the prompt is no Vineyard"):
        Prompt(instructions="x", examples=(written,)).check(Vineyard)


def test_the_schema_may_be_pasted() -> None:
    told = Prompt(instructions="Schema: {schema}").messages(Vineyard, "")[0]["content"]
    assert json.loads(told.removeprefix("Schema: ")) == Vineyard.model_json_schema()


def test_an_example_has_to_fit_the_model() -> None:
    Prompt(instructions="x", examples=(EXAMPLE,)).check(Vineyard)
    wrong = EXAMPLE.model_copy(update={"profile": {**PROFILE, "cellar": {"town": 3, "opened": None}}})
    with pytest.raises(OperatorError, match=r"example 2 of the prompt is no Vineyard \(cellar\.town: "):
        Prompt(instructions="x", examples=(EXAMPLE, wrong)).check(Vineyard)


class Filing(BaseModel):
    filed: datetime.date | None = Field(alias="Datum", description="when it was filed")
    seen: list[datetime.datetime]
    listed: bool | None
    form: Literal["10-K"] | None


def test_fields_are_listed_by_name_with_the_form_of_what_is_no_free_text() -> None:
    assert field_guide(Filing).splitlines() == [
        "- filed: when it was filed (YYYY-MM-DD)",
        "- seen[]: (YYYY-MM-DDThh:mm:ss)",
        "- listed: (true | false)",
        "- form: (10-K)",
    ]


def test_an_example_is_written_as_the_reply_is_asked_for() -> None:
    profile = {"filed": datetime.date(2024, 3, 12), "seen": [], "listed": None, "form": None}  # as YAML reads it
    prompt = Prompt(instructions="x", examples=(Example(text="x", profile=profile),))
    prompt.check(Filing)
    assert json.loads(prompt.messages(Filing, "")[2]["content"]) == {**profile, "filed": "2024-03-12"}
    aliased = Example(text="x", profile={**profile, "Datum": "2024-03-12"})
    with pytest.raises(OperatorError, match=r"example 1 of the prompt is no Filing .'Datum' is no field's name"):
        Prompt(instructions="x", examples=(aliased,)).check(Filing)


def test_fields_are_listed_with_descriptions_and_choices() -> None:
    lines = field_guide(Vineyard).splitlines()
    assert lines[0] == "- owner"
    assert "- style: (red | white | sparkling)" in lines
    assert "- soil: (chalk | slate)" in lines
    assert "- cellar.town" in lines
    assert "- plots[].name" in lines
    assert field_guide(Harvest).splitlines() == [
        "- cellar.town",
        "- cellar.opened",
        "- cellar.phones[]",
        "- soils[]: (chalk | slate)",
        "- plots[].name",
        "- plots[].hectares",
    ]
    company = field_guide(CompanyProfile)
    assert "- scale.employees: number of people, only if stated" in company
    assert re.search(r"^- contact\.addresses\[\]\.kind: \(headquarters \|", company, re.MULTILINE)


@given(titles, texts)
def test_a_piece_stands_there_as_it_is(title: str | None, text: str) -> None:
    content, at = content_of(title, text)
    assert content[at:] == text


@given(titles, texts)
def test_what_a_template_reads_as_a_turn_is_defused(title: str | None, text: str) -> None:
    content, _ = content_of(title, without_special_tokens(text))
    assert not [marker for marker in MARKERS if marker in content]


@given(texts)
def test_what_is_defused_stays_so(text: str) -> None:
    assert without_special_tokens(without_special_tokens(text)) == without_special_tokens(text)
    assert len(without_special_tokens(text)) == len(text)


def test_ordinary_text_is_sent_as_it_is() -> None:
    text = "a < b, <b>bold</b>, <|>, <s1>, x<|y and | z |>"
    assert content_of(None, text) == (text, 0)


@pytest.mark.parametrize(
    ("title", "text", "header"),
    [
        (None, "Text", ""),
        ("  ", "Text", ""),
        ("Serra\n Alta", "Text", "# Serra Alta\n\n"),
        ("Serra Alta", "# SERRA  ALTA\nText", ""),
        ("Serra Alta", "x" * 200 + " Serra Alta", "# Serra Alta\n\n"),
    ],
)
def test_a_title_goes_first_unless_the_text_opens_with_it(title: str | None, text: str, header: str) -> None:
    assert content_of(title, text) == (header + text, len(header))
