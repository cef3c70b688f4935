"""A model's annotations say how each of its fields merges."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, Never

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, create_model

from extraction.errors import OperatorError
from extraction.grounding.value_finders import Hints
from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.merge_rules import latest, medoid, quoted, subject, union, vote
from extraction.schema.profile_model import facts, fields
from tests.extraction.samples import Plot, Vineyard


def test_fields_are_the_leaves_in_the_order_declared() -> None:
    found = {field.name: field.rule.kind for field in fields(Vineyard)}
    assert list(found.items()) == [
        ("owner", "vote"),
        ("style", "vote"),
        ("soil", "vote"),
        ("cellar.town", "latest"),
        ("cellar.opened", "vote"),
        ("cellar.phones", "union"),
        ("grapes", "union"),
        ("plots", "union"),
        ("prizes", "union"),
        ("organic", "vote"),
        ("story", "medoid"),
    ]


def fails(*_: object) -> Never:
    raise IndexError("no such word")


def test_a_function_that_raises_costs_its_value_no_more_than_itself() -> None:
    rule = vote(key=fails, alike=fails, check=fails, spellings=fails, find=fails)
    assert rule.key_of("Lantern Ltd") == "lantern ltd"
    assert rule.key_of(3) == "3"
    assert not rule.accepts("Lantern Ltd")
    assert rule.spellings_of("Lantern Ltd") == ()
    assert not rule.found_in("by Lantern Ltd", Hints())
    assert rule.likeness and not rule.likeness("a", "a")
    half = union(find=lambda text, hints: iter([("Lantern", 3, 10)]))  # type: ignore[list-item]
    assert [found.value for found in half.found_in("by Lantern Ltd", Hints())] == ["Lantern"]


def test_the_profiles_have_rules_that_fit() -> None:
    assert fields(ShortProfile)
    assert len({field.name for field in fields(CompanyProfile)}) > 30


class Unannotated(BaseModel):
    texts: list[str] | None
    parts: set[str]
    pair: tuple[str, ...]
    plain: Annotated[str, "a note"] | None
    day: datetime.date | None
    listed: bool | None
    plot: Plot | None


def test_fields_without_a_rule_get_one_by_their_type() -> None:
    found = {field.name: (field.rule.kind, field.rule.verbatim) for field in fields(Unannotated)}
    lists, values = ("union", True), ("vote", True)
    assert found == {
        "texts": lists,
        "parts": lists,
        "pair": lists,
        "plain": values,
        "day": values,
        "plot.name": values,
        "plot.hectares": values,
        "listed": ("vote", False),
    }


def made(config: ConfigDict | None = None, /, **annotations: Any) -> type[BaseModel]:
    """A model with a field of each annotation."""
    of_fields: dict[str, Any] = {name: (kind, ...) for name, kind in annotations.items()}
    return create_model("Made", __config__=config, **of_fields)


class Hidden(BaseModel):
    name: Annotated[str, Field(exclude=True)]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (made(it=Annotated[list[str], vote()]), r"Made\.it can't merge by vote"),
        (made(it=Annotated[str | None, union()]), r"Made\.it can't merge by union"),
        (made(it=list[Plot]), r"Made\.it has a rule with no anchor, it takes one of name, hectares"),
        (made(it=Annotated[list[Plot], union(anchor="nmae")]), r"anchor='nmae', it takes one of name, hectares"),
        (made(it=Annotated[list[str], union(anchor="name")]), r"anchor='name', it takes none"),
        (made(it=Annotated[Plot | None, latest()]), r"Made\.it has a rule with no anchor"),
        (made(it=Annotated[bool | None, vote(verbatim=True)]), r"Made\.it is true or false"),
        (
            made(it=list[list[str]] | None),
            r"a list of lists, .*: use a list of models with an anchor, or .* verb",
        ),
        (made(it=Annotated[list[tuple[str, str]], union()]), r"Made\.it is a list of lists"),
        (made(), "Made has no field that could be published"),
        (Hidden, "Hidden has no field that could be published"),
        (made(name=str, inner=Hidden), "Hidden has no field that could be published"),
        (made(about=Annotated[str, subject("farm")]), "Made has no field that could be published"),
        (made(it=Annotated[list[Plot], quoted()]), r"Made\.it has the rule quoted\(\): its items need"),
    ],
)
def test_a_rule_that_would_publish_nothing_is_refused(model: type[BaseModel], complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint):
        fields(model)


class Words(BaseModel):
    field: str
    quote: str


class Answer(BaseModel):
    about: Annotated[str, subject("farm")]
    name: str | None
    words: Annotated[list[Words], quoted()]


def test_what_speaks_of_the_answer_is_no_fact() -> None:
    assert [field.name for field in fields(Answer)] == ["about", "name", "words"]
    assert [field.name for field in facts(Answer)] == ["name"]


class Shed(BaseModel):
    name: str
    area: float | None
    kind: Literal["barn", "hut"] | None
    note: Annotated[str | None, vote(verbatim=False)]


class Farm(BaseModel):
    sheds: Annotated[list[Shed], union(anchor=("name", "area"))]


def test_the_parts_of_an_item_have_to_stand_in_the_text_unless_they_are_readings() -> None:
    (field,) = fields(Farm)
    assert field.parts == (("name", False), ("area", True))
    assert field.rule.quote_of({"name": None, "area": 2.0}) == 2.0


class Soil(StrEnum):
    CHALK = "chalk"


class Chosen(BaseModel):
    soil: Soil | None
    soils: list[Soil]
    latest_soil: Annotated[Soil | None, latest()]
    copied_soil: Annotated[Soil | None, vote(verbatim=True)]
    style: Annotated[Literal["red"] | None, vote()]
    flags: Annotated[list[bool], union()]
    open: Annotated[bool | None, latest()]
    name: Annotated[str, medoid()] | None
    day: datetime.date
    plots: Annotated[list[Plot], union(anchor="name")]

    @computed_field
    def long(self) -> bool:
        return len(self.name or "") > 9

    @computed_field
    def age(self) -> datetime.timedelta | None:
        return None

    @computed_field
    def words(self) -> list[str]:
        return (self.name or "").split()


def test_what_is_chosen_is_a_reading_unless_the_rule_says_otherwise() -> None:
    found = {field.name: (field.rule.kind, field.rule.verbatim) for field in fields(Chosen)}
    assert found == {
        "soil": ("vote", False),
        "soils": ("union", False),
        "latest_soil": ("latest", False),
        "copied_soil": ("vote", True),
        "style": ("vote", False),
        "flags": ("union", False),
        "open": ("latest", False),
        "name": ("medoid", False),
        "day": ("vote", True),
        "plots": ("union", True),
        "long": ("vote", False),
        "age": ("vote", False),
        "words": ("union", False),
    }


class Deadline(Enum):
    FIRST = datetime.date(2024, 1, 1)


class Due(BaseModel):
    name: str
    due: Deadline | None


@dataclass
class Box:
    name: str


NO_WORDS = "can't be asked for as JSON: the members of Deadline are no words or numbers"
LASTING = list[datetime.timedelta | None]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (made(name=str, it=Callable[[int], int]), r"Made\.it can't be asked for as JSON"),
        (made(name=str, it="Nowhere"), r"Made\.it can't be asked for as JSON: .*Nowhere"),
        (Due, rf"Due\.due {NO_WORDS}"),
        (made(it=Annotated[list[Due], union(anchor="name")]), rf"Made\.it {NO_WORDS}"),
        (made(name=str, it=LASTING), r"Made\.it can't be .*: no document writes a timedelta as JSON does"),
        (made(ConfigDict(ser_json_timedelta="float"), name=str, it=LASTING), r"Made\.it can't be asked"),
        (RootModel[list[str]], "is no object with fields"),
        (made(it=list[Box]), r"Made\.it holds something with parts that is no pydantic model"),
    ],
)
def test_a_model_that_can_not_be_asked_for_is_refused_by_name(model: type[BaseModel], complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint):
        fields(model)
