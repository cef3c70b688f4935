"""The store fails at each of its operations in turn: what is published is whole, and the next run completes it."""

import subprocess
from functools import partial
from pathlib import Path

from tests.chaos import faulty
from tests.chaos.kinds import KINDS, Kind, kind
from tests.chaos.world import World
from tests.fakes.process import FakeServer

DOCUMENTS = 6
WHAT = {
    "kill": "process killed at every operation",
    "error": "every operation refused once",
    "full": "disk full at every operation",
    "lost": "acknowledgement of every write lost",
    "torn": "half a file written, process killed, at every write",
}


def every_operation(world: World, how: str) -> None:
    """Count a run's operations, then let each fail in a run of its own, and run once more."""
    world.documents(DOCUMENTS, per_company=2)
    with FakeServer() as server:
        total = len(operations(world, server, 0, how))
        statuses: list[int] = []
        for at in range(1, total + 1):
            folder = world.folder / f"{how}-{at}"
            process = run(world, server, folder, at, how)
            statuses.append(world.end_of(process))
            told = world.told(process)
            refused = statuses[-1] == 2 and "--output" in told and "can't be written to" in told
            assert refused or statuses[-1] in (0, 1, -9), (at, statuses[-1], told)
            published = (folder / "out" / "manifest.json").exists()
            if published and how != "torn":
                world.census(output=folder / "out")
            faulty.order(folder, 0, how)
            again = run(world, server, folder, 0, how)
            assert world.end_of(again) == 0, (at, world.told(again))
            world.census(output=folder / "out")
    failed = sum(status != 0 for status in statuses)
    world.note(f"{total} operations; {failed} runs failed, {total - failed} got over it")


def operations(world: World, server: FakeServer, at: int, how: str) -> list[str]:
    """What a run without a fault does."""
    folder = world.folder / "none"
    assert world.end_of(run(world, server, folder, at, how)) == 0
    found = faulty.operations(folder)
    assert len(found) > 15, found
    return found if how not in ("lost", "torn") else [line for line in found if line.startswith("put")]


def run(world: World, server: FakeServer, folder: Path, at: int, how: str) -> "subprocess.Popen[str]":
    """Start the job on a store in which an operation fails."""
    folder.mkdir(exist_ok=True)
    if not (folder / faulty.ORDER).exists():
        faulty.order(folder, at, how)
    return world.start(world.command(world.endpoint(server), output=f"faulty://{folder}/out"))


KINDS += [Kind("store", name, partial(every_operation, how=how)) for how, name in WHAT.items()]


@kind("ledger", "torn, foreign and empty files among its segments")
def foreign_segments(world: World) -> None:
    world.documents(12)
    with FakeServer() as server:
        command = world.command(world.endpoint(server))
        world.run(command)
        (folder,) = (world.output / "work" / "ledger").iterdir()
        segment = max(folder.glob("*.parquet"), key=lambda path: path.stat().st_size)
        (folder / "torn.parquet").write_bytes(segment.read_bytes()[:-40])
        (folder / "empty.parquet").write_bytes(b"")
        (folder / "foreign.parquet").write_bytes(world.source.read_bytes())
        segment.write_bytes(segment.read_bytes()[: segment.stat().st_size // 2])
        lost = server.stats()["requests"]
        said = world.run(command)
        assert said.count("is no segment of the ledger") == 4, said
        assert server.stats()["requests"] > lost
        world.census()
        world.run(command)
    world.census()


@kind("ledger", "a segment deleted between two runs")
def deleted_segment(world: World) -> None:
    world.documents(12)
    with FakeServer() as server:
        command = world.command(world.endpoint(server), "--set", "ledger.flush_rows=3")
        world.run(command)
        (folder,) = (world.output / "work" / "ledger").iterdir()
        segments = sorted(folder.glob("*.parquet"))
        assert len(segments) > 1
        segments[0].unlink()
        world.run(command)
    world.census()


@kind("output", "read-only")
def read_only(world: World) -> None:
    world.documents(6)
    with FakeServer() as server:
        blocked = world.folder / "file"
        blocked.write_text("a file where a folder should be")
        said = world.run(world.command(world.endpoint(server), output=blocked / "out"), exits=2)
        assert "can't be written to" in said, said
        assert server.stats()["requests"] == 0
        world.run(world.command(world.endpoint(server)))
    world.census()
