"""An answer's values, looked up in the documents that the question was made of."""

from typing import Annotated, Literal

from pydantic import BaseModel

from extraction.documents import Piece
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.observations import observe
from extraction.merging.resolve import resolve
from extraction.prompting.reply_parsing import Parsed
from extraction.schema.merge_rules import quoted, subject, union, vote
from tests.extraction.samples import Cellar, Plot, Vineyard

TEXT = "ANA  BRANDT\nmakes Tinta Roriz in Pinhão since 1874; 2.5 ha at Cima."


def piece(document: str, start: int, length: int, at: int = 0) -> Piece:
    return Piece(
        document_id=document,
        start=start,
        end=start + length,
        at=at,
        length=length,
        document_type=None,
        document_date="2024",
        source_path=f"{document}.parquet#row=0",
    )


def asked(profile: BaseModel, text: str) -> dict[str, Observation]:
    """The observations on one document, by field."""
    return {o.field: o for o in observe(Parsed(profile), "c", text, [piece("d", 0, len(text))])}


def test_an_answer_is_looked_up_in_every_document_of_its_chunk() -> None:
    profile = Vineyard(
        owner="Ana Brandt",
        style="red",
        cellar=Cellar(town="Porto", opened=1874, phones=[""]),
        grapes=["tinta roriz"],
        plots=[Plot(name="Cima", hectares=2.5)],
        organic=True,
    )
    pieces = [piece(document, start, len(TEXT), at=4) for document, start in (("d1", 0), ("d2", 1000))]
    seen = sorted(observe(Parsed(profile), "c", f"# A\n{TEXT}", pieces))
    assert {(o.field, o.document_id) for o in seen if o.grounded} == {
        (field, document) for field in ("owner", "cellar.opened", "grapes", "plots") for document in ("d1", "d2")
    }
    assert {o.field for o in seen if not o.grounded} == {"style", "cellar.town", "organic"}
    for o in seen:
        assert o.start < 0 or TEXT[o.start % 1000 : o.end % 1000] == o.quote
    assert resolve(Vineyard, Evidence(seen)).values == {
        "owner": "Ana Brandt",
        "style": "red",
        "soil": None,
        "grapes": ["tinta roriz"],
        "organic": True,
        "prizes": [],
        "plots": [{"name": "Cima", "hectares": 2.5}],
        "cellar": {"town": None, "opened": 1874, "phones": []},
        "story": None,
    }


def test_a_value_that_no_column_holds_is_dropped() -> None:
    class Well(BaseModel):
        depth: int | None
        yields: list[float | None] = []
        name: str | None = None

    text = "Dug 123456789012345678901234 feet deep, then 40."
    assert asked(Well(depth=123456789012345678901234), text) == {}
    assert asked(Well(depth=None, yields=[float("inf"), 40.0], name="\ud800"), text).keys() == {"yields"}
    assert asked(Well(depth=40), text)["depth"].value == "40"


class Person(BaseModel):
    name: str
    role: str | None
    kind: Literal["owner", "guest"] | None = None
    note: Annotated[str | None, vote(verbatim=False)] = None


class Words(BaseModel):
    field: Literal["opened", "mood"]
    quote: str


class Inn(BaseModel):
    about: Annotated[Literal["inn", "none"], subject("inn")] = "inn"
    town: str | None = None
    opened: int | None = None
    mood: Annotated[Literal["calm", "loud"] | None, vote(verbatim=False)] = None
    people: Annotated[list[Person], union(anchor="name")] = []
    quotes: Annotated[list[Words], quoted()] = []


def test_an_answer_that_abstains_says_nothing() -> None:
    assert asked(Inn(about="none", town="Ulm", opened=1900), "An inn in Ulm, 1900.") == {}


def test_the_parts_of_an_item_that_do_not_stand_near_it_are_left_out() -> None:
    text = "Ida Lund, cook. " + "x " * 300 + "mayor"
    people = [Person(name="Ida Lund", role="Cook", kind="guest", note="kind to all")]
    assert '"role": "Cook"' in asked(Inn(people=people), text)["people"].value
    far = asked(Inn(people=[people[0].model_copy(update={"role": "mayor"})]), text)["people"]
    assert (
        far.grounded
        and '"role": null' in far.value
        and '"kind": "guest"' in far.value
        and "kind to all" in far.value
    )


def test_an_item_with_an_invented_part_that_may_not_be_null_is_no_fact() -> None:
    class Room(BaseModel):
        name: str
        floor: int

    class House(BaseModel):
        rooms: Annotated[list[Room], union(anchor="name")]

    text = "The blue room is on floor 2."
    assert asked(House(rooms=[Room(name="blue room", floor=2)]), text)["rooms"].grounded
    assert not asked(House(rooms=[Room(name="blue room", floor=3)]), text)["rooms"].grounded


def test_a_value_stands_in_the_words_quoted_for_it() -> None:
    text = "Burnt down in 1900. The new house was opened in 1900."
    quoted = Inn(opened=1900, quotes=[Words(field="opened", quote="was opened in 1900")])
    assert asked(quoted, text)["opened"].start == text.rindex("1900")
    invented = Inn(opened=1900, quotes=[Words(field="opened", quote="it opened its doors")])
    assert asked(invented, text)["opened"].start == text.index("1900")


def test_a_reading_stands_where_its_quote_does() -> None:
    text = "You hear the clock at night."
    read = asked(Inn(mood="calm", quotes=[Words(field="mood", quote="hear the clock")]), text)["mood"]
    assert (read.quote, read.value) == ("hear the clock", '"calm"')
    assert not asked(Inn(mood="calm"), "A calm house.")["mood"].grounded


def test_a_value_stands_where_the_text_writes_it_otherwise_letter_by_letter() -> None:
    class Club(BaseModel):
        land: Annotated[str | None, vote(spellings=lambda land: ("US", "EUA"))]

    assert asked(Club(land="United States"), "Contact us. Boise, US")["land"].quote == "US"
    assert not asked(Club(land="United States"), "Contact us in Boise.")["land"].grounded


def test_a_value_that_is_off_by_a_letter_is_published_as_the_document_writes_it() -> None:
    seen = asked(Inn(town="Sankt Georgen im Schwarzwlad"), "Die Post in St. Sankt Georgen im Schwarzwald.")["town"]
    assert (seen.value, seen.key) == ('"Sankt Georgen im Schwarzwald"', "sankt georgen im schwarzwald")
