"""The keeper gives up a server that dies too often, and with it the process."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from actors.extractor import Extractor
from actors.retrying_client import Answer
from actors.servers.supervisor import Keeper
from extraction.config.settings import Servers
from tests.actors.asking import SCHEMA, TEXT, settings
from tests.actors.extracting import answer_all, texts
from tests.actors.mortal import Mortal, kept, revive_all, stay
from tests.actors.processes import OwnedFake
from tests.fakes.process import ROOT


def test_deaths_far_apart_are_forgiven() -> None:
    server = Mortal(start_s=0)
    asked = Servers(max_deaths=2, deaths_within_s=0.05)

    async def die_now_and_then() -> None:
        for _ in range(4):
            server.alive = False
            await revive_all(keeper, 1)
            await asyncio.sleep(0.1)

    with kept(server, asked) as keeper:
        asyncio.run(die_now_and_then())
    assert server.starts == 5


def test_deaths_that_do_not_count_are_forgiven() -> None:
    server = Mortal(start_s=0)

    async def die_often() -> None:
        for _ in range(4):
            server.alive = False
            await keeper.revive(stay, counted=False)

    with kept(server, Servers(max_deaths=2)) as keeper:
        asyncio.run(die_often())
    assert server.starts == 5


def die(failure: Exception | None, deaths: int) -> None:
    """Run in a process of its own: the server dies again and again."""

    class Loud(Mortal):
        def stop(self) -> None:
            print("stopped", flush=True)

    server = Loud(failure, start_s=0)
    keeper = Keeper(server, Servers(max_deaths=3))
    keeper.start()

    async def farewell() -> None:
        print("farewell", flush=True)
        raise OSError("no space left")  # which saves nobody

    keeper.farewell = farewell

    async def live() -> None:
        for number in range(1, deaths + 1):
            server.alive = False
            print("death", number, flush=True)
            await revive_all(keeper, 2)
            print("alive", flush=True)

    try:
        asyncio.run(live())
    except BaseException:
        print("raised", flush=True)
        raise


class FileJournal:
    """Keeps the ids of answers in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def held(self) -> dict[str, Answer]:
        return {}

    def append(self, answers: list[Answer]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{answer.chunk_id}\n" for answer in answers)


def lose_the_server(folder: Path) -> None:
    """Run in a process of its own: the server dies while two answers wait to be written down."""
    asked = settings(ledger={"flush_s": 600, "flush_rows": 100}, servers={"max_deaths": 1})
    actor = Extractor(
        asked, SCHEMA, lambda: OwnedFake(folder, limit=1), lambda: FileJournal(folder / "written.txt")
    )
    answer_all(actor, texts(TEXT, f"{TEXT} too", f"{TEXT} [[fault:crash]]", f"{TEXT} late"))


def test_what_was_answered_is_written_down_before_the_process_ends(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.actors.test_keeper_end import lose_the_server; "
    command = [sys.executable, "-c", f"{code} lose_the_server(Path(sys.argv[1]))", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "fake: died 1 times in 0 s, giving up")
    assert (tmp_path / "written.txt").read_text() == "c0\nc1\n"


@pytest.mark.parametrize(
    ("failure", "seen", "said"),
    [
        (
            "None",
            ["death 1", "alive", "death 2", "alive", "death 3", "farewell", "stopped"],
            "mortal: died 3 times in 0 s, giving up",
        ),
        ("RunError('no memory')", ["death 1", "farewell", "stopped"], "mortal: no memory"),
    ],
)
def test_the_process_ends_with_status_1_when_there_is_no_hope(failure: str, seen: list[str], said: str) -> None:
    code = (
        f"from extraction.errors import RunError; from tests.actors.test_keeper_end import die; die({failure}, 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (1, seen)
    assert done.stderr.splitlines()[-1] == said
