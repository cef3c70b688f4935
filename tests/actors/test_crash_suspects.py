"""Servers that die or hang under a client: every chunk ends, and only the one that is to blame ends badly."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.crash_suspects import Doubt, Doubts, UnderWay
from actors.extractor import Extractor
from actors.retrying_client import DEATHS_ALONE, FORGIVEN, Request
from actors.servers.endpoint import EndpointServer
from actors.servers.process import free_port
from actors.servers.supervisor import ServerAddress
from extraction.config.settings import Settings
from extraction.errors import Fault
from tests.actors.asking import SCHEMA, TEXT, address, question, settings
from tests.actors.extracting import MemoryJournal, answer_all, asked_texts, texts
from tests.actors.keeping import HastyFake, ask_kept, once_asked, send_signal
from tests.actors.processes import OwnedFake
from tests.fakes.process import FakeServer

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


POISON = f"{TEXT} [[fault:crash]]"


def patient(deadline_s: float = 20, attempts: int = 1, **servers: Any) -> Settings:
    """Settings under which nothing but a server's death is forgiven."""
    return settings(requests={"deadline_s": deadline_s, "attempts": attempts}, servers=servers)


def chunks(*texts: str) -> list[Request]:
    return [question(text, f"c{n}") for n, text in enumerate(texts)]


def neighbours(count: int, fault: str = "") -> list[str]:
    return [f"{TEXT} {n} {fault}" for n in range(count)]


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[HastyFake]:
    """A fake server of the client's own, whose answers take a moment."""
    server = HastyFake(tmp_path, "--latency", "0.1", limit=3)
    yield server
    server.stop()


def test_a_killed_server_costs_no_attempt(owned: HastyFake) -> None:
    kill = once_asked(owned.journal, 5, send_signal(owned, signal.SIGKILL))
    answers = ask_kept(owned, patient(), *chunks(*neighbours(9)), meanwhile=kill)
    assert [answer.fault for answer in answers] == [None] * 9
    assert sorted(answer.attempts for answer in answers)[-1] == 2
    assert len(owned.addresses) == 2


def test_what_kills_its_server_is_given_up_and_all_else_is_answered(owned: HastyFake) -> None:
    *others, last = ask_kept(owned, patient(max_deaths=2), *chunks(*neighbours(7), POISON))
    assert (last.fault, last.attempts, last.replies) == (Fault.POISON, 3, ())  # in company once, alone twice
    assert last.message == "the server died 2 times while it worked on this alone"
    assert [answer.fault for answer in others] == [None] * 7
    assert len(owned.addresses) == 4


def test_who_was_near_is_asked_alone_and_answered(tmp_path: Path) -> None:
    owned = HastyFake(tmp_path, "--latency", "0.5", limit=3)
    first, second, neighbour = ask_kept(owned, patient(), *chunks(POISON, f"{POISON} too", TEXT))
    assert (first.fault, second.fault, neighbour.fault) == (Fault.POISON, Fault.POISON, None)
    assert (neighbour.attempts, neighbour.in_flight) == (2, 1)
    assert len(owned.addresses) == 1 + 1 + 2 + 2


def test_suspects_are_asked_in_smaller_and_smaller_company(tmp_path: Path) -> None:
    owned = HastyFake(tmp_path, "--latency", "0.5", limit=16)
    *others, last = ask_kept(owned, patient(), *chunks(*neighbours(15), POISON))
    assert (last.fault, last.attempts) == (Fault.POISON, 4)  # among 16, in a pair, alone twice
    assert [answer.fault for answer in others] == [None] * 15
    assert max(answer.in_flight for answer in others) <= 2
    assert {answer.attempts for answer in others} <= {2, 3}


def test_a_server_that_dies_of_itself_blames_nobody(tmp_path: Path) -> None:
    owned = HastyFake(tmp_path, "--crash-after", "0", limit=1)
    (answer,) = ask_kept(owned, patient(attempts=2, max_deaths=100), question())
    assert (answer.fault, answer.attempts) == (Fault.UNAVAILABLE, FORGIVEN + 2)
    owned.stop()


def test_a_stopped_server_is_killed_and_started_again(owned: HastyFake, capfd: pytest.CaptureFixture[str]) -> None:
    freeze = once_asked(owned.journal, 5, send_signal(owned, signal.SIGSTOP))
    answers = ask_kept(owned, patient(deadline_s=1, attempts=2), *chunks(*neighbours(9)), meanwhile=freeze)
    assert [answer.fault for answer in answers] == [None] * 9
    assert len(owned.addresses) == 2
    assert "fake: stopped answering, starting it again" in capfd.readouterr().err


def test_a_server_that_lives_and_answers_nobody_is_killed(owned: HastyFake) -> None:
    texts = [*neighbours(5), f"{TEXT} [[fault:wedge]]"]
    *others, last = ask_kept(owned, patient(deadline_s=0.5, attempts=3), *chunks(*texts))
    assert last.fault is Fault.POISON
    assert [answer.fault for answer in others] == [None] * 5


def test_a_slow_document_among_healthy_neighbours_kills_nobody(owned: HastyFake) -> None:
    texts = [f"{TEXT} [[fault:hang]]", *neighbours(20, "[[fault:delay=0.1]]")]
    slow, *others = ask_kept(owned, patient(deadline_s=0.5, attempts=2), *chunks(*texts))
    assert (slow.fault, slow.attempts) == (Fault.DEADLINE, 2)
    assert [answer.fault for answer in others] == [None] * 20
    assert len(owned.addresses) == 1


def test_a_slow_document_that_is_asked_by_itself_kills_nobody(owned: HastyFake) -> None:
    (slow,) = ask_kept(owned, patient(deadline_s=0.5, attempts=2), question(f"{TEXT} [[fault:hang]]"))
    assert (slow.fault, slow.attempts, len(owned.addresses)) == (Fault.DEADLINE, 2, 1)
    assert asked_texts(owned.journal) == 2 + 2  # each time, whether the server answers anything at all


def test_somebody_elses_server_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with FakeServer("--order", '[{"fault": "wedge"}]') as fake:
        asked = settings(
            endpoint={"url": fake.url}, requests={"deadline_s": 0.3, "attempts": 2}, servers={"max_deaths": 1}
        )
        (answer,) = ask_kept(EndpointServer(asked), asked, question())
    assert (answer.fault, answer.attempts) == (Fault.DEADLINE, 2)
    assert "starting it again" not in capfd.readouterr().err


class Moved:
    """A server that is at its second address from its second start on."""

    name = "moved"

    def __init__(self, *addresses: ServerAddress) -> None:
        self.addresses = [*addresses]
        self.alive = False

    def start(self) -> ServerAddress:
        self.alive = len(self.addresses) == 1
        return self.addresses.pop(0)

    def stop(self) -> None:
        """Nothing to let go of."""


def test_a_client_turns_to_the_new_address_of_a_server(fake: FakeServer) -> None:
    nobody = ServerAddress(f"http://127.0.0.1:{free_port()}/v1", "none", "house", 1)
    answers = ask_kept(Moved(nobody, address(fake)), patient(), *chunks(*neighbours(5)))
    assert [answer.fault for answer in answers] == [None] * 5
    assert max(answer.attempts for answer in answers) == 2
    assert sum(answer.attempts for answer in answers) == 6


@pytest.mark.parametrize("name", ["invalid", "loop", "truncated", "abort", "400", "500", "reset"])
def test_a_living_server_is_not_started_again_for_a_bad_answer(owned: HastyFake, name: str) -> None:
    (answer,) = ask_kept(owned, patient(attempts=2), question(f"{TEXT} [[fault:{name}]]"))
    assert answer.fault
    assert len(owned.addresses) == 1
