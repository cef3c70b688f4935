"""Doubts: what an actor's next life knows of the questions that were under way when it died."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.crash_suspects import Doubt, Doubts
from actors.extractor import Extractor
from actors.retrying_client import DEATHS_ALONE, UnderWay
from extraction.errors import Fault
from tests.actors.asking import SCHEMA, TEXT, settings
from tests.actors.extracting import MemoryJournal, answer_all, texts
from tests.actors.processes import OwnedFake

WINDOW_S = 600


class MemoryNotes:
    """Notes in memory, as JSON would give them back."""

    def __init__(self, left: dict[str, Any] | None = None) -> None:
        self.left, self.written = left, list[dict[str, Any]]()

    def read(self) -> dict[str, Any] | None:
        return self.left

    def write(self, doubts: dict[str, Any]) -> None:
        self.written.append({chunk_id: list(doubt) for chunk_id, doubt in doubts.items()})


class FullNotes(MemoryNotes):
    """Notes on a full disk."""

    def write(self, doubts: dict[str, Any]) -> None:
        raise OSError("no space left")


def during(doubts: Doubts, chunk_id: str, *, alone: bool = False) -> tuple[int, int]:
    """Ask one question; what is known against it."""

    async def ask() -> tuple[int, int]:
        with doubts.about(chunk_id) as effort:
            async with doubts.under_way(effort, alone=alone):
                return effort.deaths, effort.deaths_alone

    return asyncio.run(ask())


def test_while_all_goes_well_nothing_is_written() -> None:
    notes = MemoryNotes()
    assert during(Doubts(notes, WINDOW_S), "a") == (0, 0)
    assert notes.written == []


def test_after_a_death_what_is_asked_is_written_before() -> None:
    notes = MemoryNotes()
    doubts = Doubts(notes, WINDOW_S)
    doubts.alarm()
    during(doubts, "a")
    assert notes.written == [{"a": [0, 0, "in company"]}]


def test_a_life_without_notes_of_the_last_writes_from_the_start() -> None:
    notes = MemoryNotes({})
    during(Doubts(notes, WINDOW_S), "a")
    assert notes.written == [{"a": [0, 0, "in company"]}]


def test_when_the_danger_is_over_one_write_clears_the_notes() -> None:
    notes = MemoryNotes({"old": [1, 0, ""]})
    doubts = Doubts(notes, window_s=-1)
    during(doubts, "a")
    during(doubts, "b")
    assert notes.written == [{}]


def test_questions_that_did_not_come_back_yet_stay_in_the_notes() -> None:
    notes = MemoryNotes({"late": [1, 0, "in company"]})
    during(Doubts(notes, WINDOW_S), "a")
    assert notes.written == [{"late": [2, 0, ""], "a": [0, 0, "in company"]}]


def test_writes_of_many_are_few() -> None:
    notes = MemoryNotes({})
    doubts = Doubts(notes, WINDOW_S)

    async def ask(chunk_id: str, until: asyncio.Event) -> None:
        with doubts.about(chunk_id) as effort:
            async with doubts.under_way(effort, alone=False):
                await until.wait()

    async def ask_all() -> None:
        until = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(ask(str(n), until))
            await asyncio.sleep(0.2)
            until.set()

    asyncio.run(ask_all())
    assert len(notes.written[-1]) == 50
    assert len(notes.written) < 10


def test_who_leaves_in_good_order_leaves_no_suspects() -> None:
    notes = MemoryNotes({})
    doubts = Doubts(notes, WINDOW_S)

    async def leave() -> None:
        with doubts.about("a") as effort:
            async with doubts.under_way(effort, alone=True):
                await doubts.settle()

    asyncio.run(leave())
    assert notes.written[-1] == {}


def test_a_failing_storage_fails_no_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert during(Doubts(FullNotes({}), WINDOW_S), "a") == (0, 0)
    assert "no space left" in capsys.readouterr().err


@given(st.lists(st.sampled_from(["", "in company", "alone"]), max_size=8))
def test_each_life_that_ends_under_a_question_counts_once(ends: list[UnderWay]) -> None:
    """Lives of one actor, each ending with the question as it is told."""
    left: dict[str, Any] = {"a": [0, 0, ""]}
    for under_way in ends:
        notes = MemoryNotes(left)
        doubts = Doubts(notes, WINDOW_S)
        if under_way:
            during(doubts, "a", alone=under_way == "alone")
            left = notes.written[-1]
        else:
            during(doubts, "b")
            left = {chunk_id: [*doubt[:2], ""] for chunk_id, doubt in notes.written[-1].items() if chunk_id == "a"}
    deaths = Doubt(*left.get("a", ())).after_death()
    assert deaths.deaths == sum(map(bool, ends))
    assert deaths.deaths_alone == ends.count("alone")


def test_a_question_that_killed_enough_lives_alone_is_not_asked_again(tmp_path: Path) -> None:
    server = OwnedFake(tmp_path)
    notes = MemoryNotes({"c0": [3, DEATHS_ALONE - 1, "alone"]})
    actor = Extractor(settings(), SCHEMA, lambda: server, MemoryJournal, make_notes=lambda: notes)
    (told,) = answer_all(actor, texts(TEXT, f"{TEXT} 1"))
    assert told["fault"].to_pylist() == [Fault.POISON.value, None]
    actor.keeper.stop()
