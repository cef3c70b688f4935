"""A profile model that has nothing to do with companies, and observations of it."""

import json
from enum import StrEnum
from random import Random
from typing import Annotated, Any, Literal

from hypothesis import strategies as st
from pydantic import BaseModel, Field

from extraction.grounding.company_names import company_key, same_company
from extraction.grounding.text_folding import digits_key
from extraction.merging.evidence import Evidence, Observation
from extraction.merging.publish_decision import Resolved, resolve
from extraction.schema.merge_rules import latest, medoid, union, vote
from extraction.schema.profile_model import fields


class Soil(StrEnum):
    CHALK = "chalk"
    SLATE = "slate"


class Plot(BaseModel):
    name: Annotated[str, Field(max_length=12)]
    hectares: Annotated[float | None, Field(gt=0, lt=1_000)] = None


class Cellar(BaseModel):
    town: Annotated[str | None, latest()]
    opened: Annotated[int | None, Field(ge=1000, le=2100)]
    phones: Annotated[list[str], union(key=digits_key)] = []


class Vineyard(BaseModel):
    owner: Annotated[Annotated[str, Field(max_length=30)] | None, vote(key=company_key, alike=same_company)]
    style: Annotated[Literal["red", "white", "sparkling"] | None, vote(verbatim=False)]
    soil: Soil | None = None
    cellar: Cellar
    grapes: Annotated[list[Annotated[str, Field(max_length=12)]], union(limit=3), Field(max_length=6)]
    plots: Annotated[list[Plot], union(anchor="name"), Field(max_length=4)] = []
    prizes: list[str] = []
    organic: bool | None = None
    story: Annotated[str | None, medoid()] = None


VALUES: dict[str, tuple[Any, ...]] = {
    "owner": ("Ana Brandt", "Ana Brandt Ltda.", "ANA BRANDT", "Ana Maria Brandt", "Quinta Nova"),
    "style": ("red", "white", "sparkling"),
    "soil": ("chalk", "slate"),
    "cellar.town": ("Pinhão", "PINHAO", "Régua"),
    "cellar.opened": (1874, 1920),
    "cellar.phones": ("+351 254 1", "351-254-1", "254 2"),
    "grapes": ("Tinta Roriz", "tinta roriz", "Sousão", "Rufete", "Donzelinho"),
    "plots": ({"name": "Cima", "hectares": 2.5}, {"name": "CIMA", "hectares": None}, {"name": "Fundo"}),
    "prizes": ("Gold", "Silver"),
    "organic": (True, False),
    "story": ("Old vines above the river.", "The vines stand above the river.", "Wine.", "They press olives."),
}
RULES = {field.name: field.rule for field in fields(Vineyard)}


def observation(
    field: str,
    value: Any,
    document: str = "d1",
    *,
    chunk: str | None = None,
    start: int = -1,
    date: str = "",
    probability: float = 0.5,
    found: bool = False,
) -> Observation:
    """A value as a document gives it: at `start`, or standing nowhere in it."""
    quote = str(RULES[field].quote_of(value)) if start >= 0 else ""
    return Observation(
        field=field,
        key=RULES[field].key_of(value),
        value=json.dumps(value, ensure_ascii=False, sort_keys=True),
        document_id=document,
        chunk_id=chunk or f"chunk of {document}",
        start=start,
        end=start + len(quote) if quote else -1,
        quote=quote,
        document_date=date,
        document_type="",
        probability=probability,
        found=found,
    )


def _build(
    pair: tuple[str, Any], document: str, chunk: str | None, start: int, date: str, probability: float
) -> Observation:
    return observation(pair[0], pair[1], document, chunk=chunk, start=start, date=date, probability=probability)


observations = st.builds(
    _build,
    st.sampled_from([(field, value) for field, values in VALUES.items() for value in values]),
    st.sampled_from(["d1", "d2", "d3"]),
    st.sampled_from(["c1", "c2", None]),
    st.sampled_from([-1, -1, 0, 7, 40]),
    st.sampled_from(["", "2019", "2024-05-01"]),
    st.sampled_from([0.1, 0.5, 0.9]),
)
evidence_sets = st.frozensets(observations, max_size=25)


def told(resolved: Resolved) -> str:
    """What is published, in bytes that show the order of everything."""
    return json.dumps(
        [resolved.values, resolved.confidence, resolved.evidence, resolved.conflicts], ensure_ascii=False
    )


def resolved_in_a_set_order() -> str:
    """Many observations resolved in the order in which this process's sets hold them."""
    chance = Random(7)
    many = {
        observation(
            field,
            chance.choice(VALUES[field]),
            f"d{chance.randrange(9)}",
            chunk=f"c{chance.randrange(30)}",
            start=chance.choice([-1, 0, 3, 99]),
            date=chance.choice(["", "2023", "2024-01-02"]),
            probability=chance.choice([0.2, 0.5, 0.8]),
        )
        for field in VALUES
        for _ in range(40)
    }
    return told(resolve(Vineyard, Evidence(many)))


def resolved(*observations: Observation) -> dict[str, Any]:
    return resolve(Vineyard, Evidence(observations)).values
