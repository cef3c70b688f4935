"""Keys say which values are the same, and a model's annotations say how each of its fields merges."""

import datetime
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from extraction.company import CompanyProfile, ShortProfile
from extraction.errors import OperatorError
from extraction.rules import digits_key, fields, latest, name_key, same_words, text_key, union, url_key, vote
from tests.extraction.samples import Plot, Vineyard


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        (text_key, "São Paulo", "SAO  PAULO"),
        (text_key, "sa\u0303o paulo", "são-paulo!"),
        (text_key, "Straße", "STRASSE"),
        (text_key, 1874, "1874"),
        (name_key, "Serra Alta Cerâmica LTDA", "Serra Alta Cerâmica"),
        (name_key, "Quimbrava Tintas S.A.", "Quimbrava Tintas S/A"),
        (name_key, "Acme Co., Ltd.", "ACME"),
        (url_key, "https://www.Acme.example/", "acme.example"),
        (url_key, "http://acme.example/en/", "acme.example/en"),
        (digits_key, "+55 (47) 3322-1100", "55 47 33221100"),
        (digits_key, "12.345.678/0001-90", "12345678000190"),
        (digits_key, "１２３", "123"),
    ],
)
def test_different_spellings_have_one_key(key: Callable[[Any], str], one: Any, other: Any) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(
    ("key", "one", "other"),
    [
        (text_key, "राम", "रीमा"),
        (text_key, "กา", "กี"),
        (text_key, "株式会社東京", "株式会社大阪"),
        (name_key, "Limited Brands", "Brands"),
        (name_key, "Ltd", "Inc"),
        (url_key, "acme.example/en", "acme.example/de"),
        (digits_key, "١٢٣", "٤٥٦"),
    ],
)
def test_different_values_have_different_keys(key: Callable[[Any], str], one: str, other: str) -> None:
    assert key(one) != key(other)


@given(st.text())
def test_a_key_exists_for_any_text(text: str) -> None:
    for key in (text_key, name_key, url_key, digits_key):
        assert key(text) == key(text).strip()
    assert bool(name_key(text)) == bool(text_key(text))


def test_a_name_is_alike_its_longer_form() -> None:
    assert same_words("serra alta", "serra alta ceramica")
    assert same_words("serra alta ceramica", "alta serra")
    assert not same_words("serra alta", "serra baixa")
    assert not same_words("", "serra alta")


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
    ]


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


class ListByVote(BaseModel):
    names: Annotated[list[str], vote()]


class TextByUnion(BaseModel):
    name: Annotated[str | None, union()]


class NoAnchor(BaseModel):
    plots: list[Plot]


class WrongAnchor(BaseModel):
    plots: Annotated[list[Plot], union(anchor="nmae")]


class AnchorOnText(BaseModel):
    names: Annotated[list[str], union(anchor="name")]


class WholePlot(BaseModel):
    plot: Annotated[Plot | None, latest()]


class QuotedFlag(BaseModel):
    listed: Annotated[bool | None, vote()]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        (ListByVote, r"ListByVote\.names can't merge by vote"),
        (TextByUnion, r"TextByUnion\.name can't merge by union"),
        (NoAnchor, r"NoAnchor\.plots has a rule with no anchor, it takes one of name, hectares"),
        (WrongAnchor, r"anchor='nmae', it takes one of name, hectares"),
        (AnchorOnText, r"anchor='name', it takes none"),
        (WholePlot, r"WholePlot\.plot has a rule with no anchor"),
        (QuotedFlag, r"QuotedFlag\.listed is true or false"),
    ],
)
def test_a_rule_that_would_publish_nothing_is_refused(model: type[BaseModel], complaint: str) -> None:
    with pytest.raises(OperatorError, match=complaint):
        fields(model)
