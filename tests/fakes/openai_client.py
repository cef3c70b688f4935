"""Sends requests to the fake server with the OpenAI client, as the project does to a real one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field

from tests.fakes.process import FakeServer

TEXT = "Acme Widgets Ltd was founded by Jane Doe in Graz in 1987 and has 250 people in retail."


class Sector(StrEnum):
    MINING = "mining"
    RETAIL = "retail"


class Person(BaseModel):
    name: str = Field(max_length=40)
    role: str | None


class Profile(BaseModel):
    name: str = Field(max_length=8)
    founded: int | None = Field(ge=1000, le=2100)
    staff: int | None = Field(ge=200, le=300)
    offices: int | None = Field(ge=5000)
    sector: Sector
    listed: bool
    people: list[Person] = Field(min_length=1, max_length=3)
    score: float = Field(gt=0, lt=1)


FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "p", "schema": Profile.model_json_schema()}}


def messages(text: str) -> Any:
    return [{"role": "system", "content": "You extract profiles."}, {"role": "user", "content": text}]


def client(server: FakeServer, timeout: float = 5.0) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=server.api_key or "-", max_retries=0, timeout=timeout)


def send(server: FakeServer, text: str, timeout: float = 5.0) -> ChatCompletion:
    with client(server, timeout) as api:
        return api.chat.completions.create(model="house", messages=messages(text), response_format=FORMAT)


def content(completion: ChatCompletion) -> tuple[str, str]:
    choice = completion.choices[0]
    return choice.message.content or "", str(choice.finish_reason)
