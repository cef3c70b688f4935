"""A reply is a profile that the model type accepts, or a fault; whatever the reply, nothing else."""

import datetime
import json
from contextlib import suppress
from itertools import count
from random import Random
from typing import Annotated, Any, Self

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)

from extraction.errors import Fault
from extraction.prompting.reply_parsing import MAX_REPLY_CHARACTERS, ReplyFault, loops, parse
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.merge_rules import latest, union
from extraction.schema.profile_model import struct_of
from tests.extraction.samples import Vineyard

LONG = "thirteen char"
SECRET = "Blumenau"
GOOD: dict[str, Any] = {
    "owner": "Ana",
    "style": "red",
    "cellar": {"town": None, "opened": 1874},
    "grapes": ["Rufete"],
}


class Loose(BaseModel):
    whole: int | None = None
    number: float | None = None
    text: str | None = None
    more: list[list[float]] | None = None


def reply(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def fault_of(text: str, model: type[BaseModel] = Vineyard, reason: str | None = "stop") -> ReplyFault:
    with pytest.raises(ReplyFault) as raised:
        parse(text, reason, model)
    assert "\n" not in str(raised.value)
    return raised.value


def parsed(**changes: Any) -> dict[str, Any]:
    return parse(reply(**changes), "stop", Vineyard).profile.model_dump(mode="json")


SHORT = dict.fromkeys(ShortProfile.model_fields) | {"name": "Alder Ltd", "founded_year": 1990, "products": ["oak"]}
names = st.sampled_from([*GOOD, "name", "town", *SHORT, *CompanyProfile.model_fields]) | st.text(max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
values = st.recursive(
    scalars | st.sampled_from(["red", "\ud800", "\x00", "x" * 100_000, 10**30, 10**400, -0.0]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(names, inner),
    max_leaves=20,
)


@st.composite
def misspelt(draw: st.DrawFn) -> str:
    """A good reply with some characters changed."""
    text = list(draw(st.sampled_from([reply(), json.dumps(SHORT)])))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text) - 1))
        text[at : at + draw(st.integers(0, 3))] = draw(st.text(st.sampled_from('{}[]",:\\ue0-x'), max_size=3))
        text = text or [" "]
    return "".join(text)


replies = (
    st.text(st.characters())
    | values.map(json.dumps)
    | st.builds(reply, cellar=values, grapes=values, plots=values, owner=values)
    | st.dictionaries(st.sampled_from([*SHORT]), values).map(lambda changes: json.dumps(SHORT | changes))
    | misspelt()
)


@settings(max_examples=400)
@given(replies, st.sampled_from(["stop", "", None, "tool_calls", "length", "abort", "content_filter"]))
def test_any_reply_is_a_profile_or_a_fault(text: str, reason: str | None) -> None:
    for model in (Vineyard, ShortProfile, CompanyProfile):
        with suppress(ReplyFault):
            profile = parse(text, reason, model).profile
            assert model.model_validate_json(profile.model_dump_json()) == profile
            pa.array([profile.model_dump(mode="json")], struct_of(model))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        reply()[:-1],
        reply() + reply(),
        "[" * 100_000,
        '{"owner":' * 20_000,
        '{"owner": "a", "owner": "b"}',
        reply(cellar={}).replace("{}", '{"town": null, "town": null, "opened": null}'),
        reply(owner=float("nan")),
        '{"whole": 1' + "0" * 5_000 + "}",
        "[]",
        reply(owner=3),
        reply(style="rosé"),
        reply(cellar=None),
        reply(grapes=[None]),
        "{}",
    ],
)
def test_what_is_no_profile_is_invalid(text: str) -> None:
    assert fault_of(text).fault is Fault.INVALID


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"whole": 1e18, "text": "a\\udc00b"}', {"whole": 10**18}),
        ('{"whole": 9223372036854775808, "text": "a"}', {"text": "a"}),
        ('{"number": 1e999, "text": "a"}', {"text": "a"}),
        ('{"more": [[1, 1e999]]}', {"more": [[1.0]]}),
    ],
)
def test_what_no_column_holds_costs_itself(text: str, left: dict[str, Any]) -> None:
    found = parse(text, "stop", Loose)
    assert found.data == {**dict.fromkeys(Loose.model_fields), **left}
    assert [reason.partition(": ")[2] for reason in found.refused] == ["no_column_holds_it"]


def test_a_line_end_in_a_text_is_read() -> None:
    assert parse('{"text": "a\nb\tc"}', "stop", Loose).profile.text == "a\nb\tc"


def test_escapes_of_whole_characters_are_read() -> None:
    assert (
        parse('{"text": "\\ud83d\\ude00\\u0000", "whole": -9223372036854775808}', None, Loose).profile.text
        == "😀\0"
    )


@pytest.mark.parametrize(
    ("reason", "fault"),
    [("length", Fault.TRUNCATED), ("abort", Fault.ABORTED), ("content_filter", Fault.REJECTED)],
)
def test_a_reply_that_did_not_stop_by_itself_is_a_fault(reason: str, fault: Fault) -> None:
    assert fault_of(reply()[:-9], reason=reason).fault is fault
    assert fault_of(f"Here: {reply()[:-9]}", reason=reason).fault is fault
    assert parse(reply(), reason, Vineyard) == parse(reply(), "stop", Vineyard)


@pytest.mark.parametrize(
    "around",
    [
        "{}  \n\n", "```json\n{}\n```", "Here it is:\n```\n{}\n```\nMore?", "{}<|im_end|>", "[{}]",
        "\ufeff{}",
        "<think>A town {{name}} or {}?</think>\n{}", "<think>{}</think>", "[THINK]It is red.[/THINK]{}",
        "<|channel|>analysis<|message|>{{\"a\": 1}}<|end|><|channel|>final<|message|>{}",
        "<|channel|>analysis<|message|>a {{\"town\": ...}}<|end|><|start|>assistant<|channel|>final "
        "<|constrain|>json<|message|>{}<|return|>",
        "<|channel|>commentary to=functions.it <|constrain|>json<|message|>{}<|end|>", "{}<|end|>\n<|endoftext|>",
        "Using {{\"town\": ...}}: {}", "<THINK>Is {{\"town\" so?</Think>{}", "◁think▷{{\"town\"◁/think▷{}",
        "<seed:think>{{\"town\"</seed:think>{}", "<reflection>{{\"\"</reflection>{}", "{}<think>Good.</think>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("reason", ["stop", "length", None, "tool_calls"])
def test_the_one_profile_among_other_text_is_read(around: str, reason: str | None) -> None:
    text = around.format(reply(), reply())
    found = parse(text, reason, Vineyard)
    assert found.profile == Vineyard(**GOOD)
    assert reply() in text[slice(*found.span)]


@pytest.mark.parametrize(
    ("text", "reason", "fault"),
    [
        (f"<think>{reply()}</think>\n{reply(owner='Eva')[:40]}", "length", Fault.TRUNCATED),
        (f"<think>{reply()}</think>\nI can't say.", "stop", Fault.INVALID),
        (f"<think>{reply()} or", "length", Fault.TRUNCATED),
        (f"<|channel|>analysis<|message|>{reply()} or", "length", Fault.TRUNCATED),
        (f"<|channel|>analysis<|message|>{reply()}<|end|><|start|>assistant", "length", Fault.TRUNCATED),
    ],
)
def test_a_draft_in_the_thoughts_is_no_answer(text: str, reason: str, fault: Fault) -> None:
    assert fault_of(text, reason=reason).fault is fault


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("content_filter: RECITATION", Fault.REJECTED), ("content_filter:PROHIBITED_CONTENT", Fault.REJECTED),
        ("content-filter", Fault.REJECTED), ("blocked", Fault.REJECTED), ("MAX-TOKENS", Fault.TRUNCATED),
        ("malformed_function_call", Fault.INVALID), ("a\ud83d\nb" + 99 * "c", Fault.INVALID),
    ],
)  # fmt: skip
def test_a_finish_reason_is_known_in_every_spelling_and_told(reason: str, fault: Fault) -> None:
    for text in ("", f"Here: {reply()[:-9]}"):
        found = fault_of(text, reason=reason)
        assert found.fault is fault and str(found).isprintable() and len(str(found)) < 160
        assert fault is Fault.TRUNCATED or f"finish_reason {reason[0]}" in str(found)


@pytest.mark.parametrize(
    "text",
    [
        f"{reply()} or {reply(owner='Eva')}",
        f"<think>{reply()} or {reply(owner='Eva')}</think>",
        f"[{reply()}, {reply()}]",
        f'{{"found": {reply()}',  # cut: a part of an answer is none
        f"Here: {{}} {reply()[:-1]}",
        f'Here: {{"found": {reply()}, "more": [{reply()}',
        f"No profile. {SECRET}",
    ],
)
def test_none_and_several_are_no_profile_and_are_not_repeated(text: str) -> None:
    fault = fault_of(text)
    assert fault.fault is Fault.INVALID
    assert SECRET not in str(fault) and ("characters" in str(fault) or "Vineyard" in str(fault))


def test_a_reply_without_end_is_not_read() -> None:
    assert "more than 200,000" in str(fault_of(reply() + " " * MAX_REPLY_CHARACTERS))


@given(
    st.lists(st.text(max_size=14), max_size=9),
    st.lists(
        st.tuples(st.sampled_from(["Cima", "Fundo", LONG]), st.sampled_from([2.5, None, 0, 5_000])), max_size=7
    ),
    st.integers(0, 3_000),
    st.text(min_size=28, max_size=33),
)
def test_what_is_out_of_bounds_goes_and_all_else_stays(
    grapes: list[str], plots: list[tuple[str, float | None]], opened: int, owner: str
) -> None:
    given_ = [{"name": name, "hectares": hectares} for name, hectares in plots]
    found = parsed(owner=owner, cellar={"town": LONG, "opened": opened}, grapes=grapes, plots=given_)
    assert found["owner"] == (owner if len(owner) <= 30 else None)
    assert found["cellar"] == {"town": LONG, "opened": opened if 1000 <= opened <= 2100 else None, "phones": []}
    assert found["grapes"] == [grape for grape in grapes[:6] if len(grape) <= 12]
    kept = [(name, hectares if hectares == 2.5 else None) for name, hectares in plots[:4] if name != LONG]
    assert [(plot["name"], plot["hectares"]) for plot in found["plots"]] == kept


def test_a_profile_survives_faults_all_over_it() -> None:
    parts = {name: field.annotation for name, field in CompanyProfile.model_fields.items()}
    empty: dict[str, Any] = {
        name: {key: [] if "list" in str(info.annotation) else None for key, info in part.model_fields.items()}
        for name, part in parts.items()
        if isinstance(part, type) and issubclass(part, BaseModel)
    }
    empty |= {"about": "company", "quotes": []}
    number = count()
    people = [{"name": f"P{next(number)}" + "x" * 200 * (n % 3 == 1), "role": "r" * (100 * n)} for n in range(20)]
    empty["scale"] |= {"people": people, "employees": 10**30, "revenue": {"amount": "EUR 1", "year": 20_240}}
    profile = parse(json.dumps(empty), "stop", CompanyProfile).profile
    assert [person.name for person in profile.scale.people] == [f"P{n}" for n in range(15) if n % 3 != 1]
    assert [person.role for person in profile.scale.people] == ["", *[None] * 9]
    assert (profile.scale.employees, profile.scale.revenue and profile.scale.revenue.year) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"grapes": [LONG, 3]},
        {"grapes": ["a", 3, *"bcdefgh"]},
        {"cellar": {"town": 3, "opened": 9_999}},
        {"plots": [{"name": LONG}, {"name": None}]},
    ],
)
def test_a_wrong_type_is_invalid_beside_what_is_out_of_bounds(changes: dict[str, Any]) -> None:
    assert fault_of(reply(**changes)).fault is Fault.INVALID


def test_what_was_to_be_cut_off_anyway_may_be_of_any_type() -> None:
    assert parsed(grapes=[*"abcdef", 3, LONG])["grapes"] == [*"abcdef"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f'{{"name": {SECRET}}}',
        f'{{"name": ["{SECRET}"]}}',
        f'{{"name": "a", "{SECRET}": 1}}',
        f'{{"{SECRET}": 1, "{SECRET}": 1}}',
        f'{{"{SECRET}": {{"{SECRET}": 1}}}}',
    ],
)
def test_no_text_of_a_document_is_in_a_message(text: str) -> None:
    for reason in ("stop", "length"):
        assert SECRET not in str(fault_of(text, Strict, reason))


def test_a_message_names_the_field() -> None:
    assert str(fault_of(reply(cellar={"town": 3, "opened": None}))) == (
        "the answer is no Vineyard: cellar.town: string_type"
    )


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


def _code(code: str) -> str:
    return {"a": "A", "b": "B"}[code]


def _inverse(number: float) -> float:
    return 1 / number


Code = Annotated[str, AfterValidator(_code)]
Even = Annotated[int, Field(multiple_of=2)]


class Shed(BaseModel):
    name: Annotated[str, Field(pattern="^[a-z]+$")]
    built: datetime.date | None


class Judged(BaseModel):
    model_config = ConfigDict(strict=True)

    code: Code | None = None
    codes: list[Code] = []
    ratio: Annotated[float, AfterValidator(_inverse)] = 0.5
    even: Even | None = None
    day: datetime.date | None = None
    shed: Annotated[Shed | None, latest(anchor="name")] = None
    sheds: Annotated[list[Shed], union(anchor="name")] = []

    @computed_field
    def double(self) -> float:
        return 2 / (self.even or 1) if self.even != 4 else 1 / 0


@pytest.mark.parametrize(
    ("given_", "left", "refused"),
    [
        ({"code": "a", "codes": ["a", "b"]}, {"code": "A", "codes": ["A", "B"]}, []),
        ({"code": "x", "ratio": 2.0}, {"ratio": 0.5}, ["code: KeyError"]),
        ({"code": "x", "ratio": 0.0}, {"ratio": 0.5}, ["code: KeyError", "ratio: ZeroDivisionError"]),
        ({"codes": ["x", "a", "y"]}, {"codes": ["A"]}, ["codes: KeyError"] * 2),
        ({"even": 3, "day": "2024-02-30"}, {}, ["even: multiple_of", "day: date_parsing"]),
        ({"day": "2024-03-12"}, {"day": "2024-03-12"}, []),
        (
            {"shed": {"name": "a", "built": "soon"}},
            {"shed": {"name": "a", "built": None}},
            ["shed.built: date_from_datetime_parsing"],
        ),
        ({"shed": {"name": "A", "built": None}}, {}, ["shed.name: string_pattern_mismatch"]),
        (
            {"sheds": [{"name": "a", "built": None}, {"name": "B", "built": None}]},
            {"sheds": [{"name": "a", "built": None}]},
            ["sheds.name: string_pattern_mismatch"],
        ),
        ({"even": 4, "code": "a"}, {"even": 4, "code": "A"}, []),
    ],
)
def test_what_a_schema_can_not_ask_for_costs_itself(
    given_: dict[str, Any], left: dict[str, Any], refused: list[str]
) -> None:
    found = parse(json.dumps(given_), "stop", Judged)
    double = found.data.pop("double", None)
    assert found.data == Judged().model_dump(exclude={"double"}) | left
    assert sorted(found.refused) == sorted(refused)
    assert double == (None if left.get("even") == 4 else 2.0)


class Needed(BaseModel):
    name: str
    day: datetime.date
    cellar: Shed

    @field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        return _code(name)


def test_a_field_that_has_to_be_there_is_null_where_its_value_is_refused() -> None:
    said = {"name": "a", "day": "in March", "cellar": {"name": "UPPER", "built": "2024-03-12"}}
    found = parse(json.dumps(said), "stop", Needed)
    assert found.data == {"name": "A", "day": None, "cellar": {"name": None, "built": "2024-03-12"}}
    assert isinstance(found.profile, Needed)


class Together(Needed):
    @model_validator(mode="after")
    def dated(self) -> Self:
        if self.day.year < 1990:
            raise ValueError("too old")
        return self


@pytest.mark.parametrize("day", ["in March", "1989-01-01"])
def test_a_reply_that_the_whole_model_refuses_is_invalid(day: str) -> None:
    said = {"name": "a", "day": day, "cellar": {"name": "a", "built": None}}
    assert fault_of(json.dumps(said), Together).fault is Fault.INVALID


class Dated(BaseModel):
    day: datetime.date
    name: str


def test_a_reply_is_no_profile_for_the_value_that_cannot_be_taken_out() -> None:
    said = {"day": "2024-02-30", "name": None}
    assert str(fault_of(json.dumps(said), Dated)) == "the answer is no Dated: name: string_type"


def test_scores_follow_values_that_are_taken_out() -> None:
    said = {"codes": ["x", "a"], "ratio": 0.0, "even": 2}
    found = parse(json.dumps(said), "stop", Judged, [-1.0, -2.0, -3.0, -4.0])
    assert found.scores == {"codes": [-2.0], "even": -4.0}


def test_a_reply_may_leave_out_what_the_text_does_not_state() -> None:
    said = {"owner": "Ana", "cellar": {"town": "Régua"}}
    with pytest.raises(ReplyFault):
        parse(json.dumps(said), "stop", Vineyard)
    found = parse(json.dumps(said), "stop", Vineyard, [-1.0, -2.0], optional=True)
    assert found.data == {**Vineyard.model_validate(found.data).model_dump(mode="json"), "owner": "Ana"}
    assert (found.data["style"], found.data["cellar"]["town"], found.data["grapes"]) == (None, "Régua", [])
    assert found.scores["owner"] == -1.0
    assert found.scores["cellar"]["town"] == -2.0
    assert parse('{"about": "no_company"}', "stop", CompanyProfile, optional=True).data["offerings"]["items"] == []
    with pytest.raises(ReplyFault):  # what can't be empty has to be there
        parse("{}", "stop", CompanyProfile, optional=True)


def test_a_reply_may_use_names_or_aliases() -> None:
    class Aliased(BaseModel):
        model_config = ConfigDict(serialize_by_alias=True)

        name: str = Field(alias="Firma", pattern="^[A-Z]")
        town: str | None = Field(validation_alias=AliasChoices("Ort", AliasPath("Orte", 0)))

    by_name = {"name": "Ana", "town": "Ulm"}
    for said in (by_name, {"Firma": "Ana", "Ort": "Ulm"}, {"Firma": "Ana", "Orte": ["Ulm"]}):
        assert parse(json.dumps(said), "stop", Aliased).data == by_name
    assert parse('{"name": "ana", "town": "Ulm"}', "stop", Aliased).data == {"name": None, "town": "Ulm"}


def _split(goods: Any) -> Any:
    return [part for text in goods for part in text.split(";")] if isinstance(goods, list) else goods.split(";")


class Split(BaseModel):
    """A list that a validator may make longer than it was given."""

    name: str
    goods: Annotated[list[str], Field(max_length=3), BeforeValidator(_split)] = []


def test_a_list_that_a_validator_makes_too_long_costs_itself() -> None:
    assert parse(json.dumps({"name": "a", "goods": ["a;b;c;d"]}), "stop", Split).profile == Split(name="a")
    with pytest.raises(ReplyFault, match="goods: too_long"):  # nor is a text the list that was asked for
        parse(json.dumps({"name": "a", "goods": "a;b;c;d"}), "stop", Split)


def test_many_refused_values_take_no_long_time() -> None:
    goods = [f"{'x' * 20}{n}" for n in range(6_000)]
    short = create_model("Short", name=(str, ...), goods=(list[Annotated[str, Field(max_length=9)]], []))
    assert parse(json.dumps({"name": "a", "goods": goods}), "stop", short).profile.model_dump()["goods"] == []


@pytest.mark.parametrize("part", ['{"a ', '{"', '{"a":1,', 'x{"a":[1,', "<|end|> ", "</think>x", "<think>"])
def test_a_reply_of_broken_beginnings_takes_no_long_time(part: str) -> None:
    text = part * (MAX_REPLY_CHARACTERS // len(part))
    assert fault_of(text, reason="length").fault is Fault.REPETITION
