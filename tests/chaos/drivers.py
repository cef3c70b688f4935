"""The driver killed at random moments, stopped, and run twice at once."""

import signal
import time

import psutil

from tests.chaos.kinds import kind
from tests.chaos.world import IN_FLIGHT, World
from tests.fakes.process import FakeServer

DOCUMENTS = 40
LATEST_S = 16.0  # a run of so few documents takes about that long


def kill_at_random(world: World, kills: int) -> None:
    """Kill drivers at random moments, each time running the same command again, until there were so many kills.

    An output that is published is begun anew, with other documents.
    """
    killed = published = repeated = allowed = 0
    with FakeServer("--latency", "0.1", "--max-running-requests", str(IN_FLIGHT)) as server:
        while killed < kills:
            world.output = world.folder / f"out-{published}"
            world.documents(DOCUMENTS, texts={n: text(published, n) for n in range(DOCUMENTS)})
            deaths = 0
            while not (world.output / "manifest.json").exists():
                process = world.start(world.command(world.endpoint(server)))
                try:
                    status = process.wait(world.random.uniform(0.2, LATEST_S) if killed < kills else 300)
                    assert status == 0, world.told(process)
                except Exception:
                    if process.poll() is not None:
                        raise
                    world.kill(process)
                    killed += 1
                    deaths += 1
            published += 1
            allowed += deaths * 2 * IN_FLIGHT
            world.run(world.command(world.endpoint(server)))
            world.census()
        repeated = world.asked_twice(server.journal_path)
    assert repeated <= allowed, f"{repeated} asked twice, at most {allowed} were in flight"
    world.note(f"{killed} kills, {published} runs published, {repeated} asked twice")


def text(run: int, number: int) -> str:
    """Of each run another."""
    return f"Northwind Works {number} of {run} makes pumps in Porto, Portugal, since {1900 + number}."


@kind("driver", "two at once without a lease")
def two_without_lease(world: World) -> None:
    world.documents(DOCUMENTS)
    with FakeServer("--latency", "0.2") as server:
        command = world.command(world.endpoint(server))
        first = world.start(command)
        world.wait_for((world.output / "work" / "lease.json").exists, first)
        (world.output / "work" / "lease.json").unlink()
        second = world.start(command)
        ends = [world.end_of(process) for process in (first, second)]
        # The older one publishes nothing over what the newer has published; it may also write its lease again
        # before the newer looks for one.
        assert ends in ([0, 0], [1, 0], [0, 1]), (ends, world.told(first), world.told(second))
        world.census()
        world.note(f"{world.asked_twice(server.journal_path)} asked twice")


@kind("driver", "paused, taken for dead, and woken")
def paused_driver(world: World) -> None:
    world.documents(DOCUMENTS)
    with FakeServer("--latency", "0.3") as server:
        command = world.command(world.endpoint(server))
        first = world.start(command)
        world.wait_for(lambda: server.stats()["answered"] > 8, first)
        family = [first.pid, *(child.pid for child in psutil.Process(first.pid).children(recursive=True))]
        for pid in family:
            psutil.Process(pid).send_signal(signal.SIGSTOP)
        began = time.monotonic()
        world.run(command)
        world.note(f"the second waited {time.monotonic() - began:.0f} s in all")
        world.census()
        for pid in family:
            psutil.Process(pid).send_signal(signal.SIGCONT)
        world.end_of(first)
        world.census()
