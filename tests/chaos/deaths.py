"""Servers and the processes around them die, hang, start late or never: the run goes on, or says why it can't."""

import contextlib
import signal
from collections.abc import Callable

import psutil

from extraction.errors import Fault
from tests.chaos.kinds import kind
from tests.chaos.world import IN_FLIGHT, World
from tests.jobs.nodes import RayCluster, running

DOCUMENTS = 48
SLOW = ("--latency", "1")


def strike(world: World, blow: Callable[[int], None]) -> None:
    """Run on a server of the job's own, and do something to it midway; the run ends well."""
    world.documents(DOCUMENTS)
    process = world.start(world.command(world.owned(*SLOW)))
    (pid,) = world.wait_for(lambda: world.servers() if world.answered() > 8 else set(), process)
    blow(pid)
    assert world.end_of(process) == 0, world.told(process)
    world.census()
    assert not world.dead()
    repeated = world.asked_twice()
    world.note(f"{repeated} asked twice")
    assert repeated <= 2 * IN_FLIGHT


@kind("server", "its child killed, itself stopped (hung)")
def hang_server(world: World) -> None:
    def stop(pid: int) -> None:
        server = psutil.Process(pid)
        for child in server.children():
            child.kill()
        server.suspend()

    strike(world, stop)


@kind("server", "its leash killed")
def kill_leash(world: World) -> None:
    strike(world, lambda pid: psutil.Process(pid).parent().kill())  # type: ignore[union-attr]


@kind("actor", "SIGKILL")
def kill_actor(world: World) -> None:
    strike(world, lambda pid: psutil.Process(pid).parent().parent().kill())  # type: ignore[union-attr]


@kind("server", "crashes after every 20 requests")
def crashing(world: World) -> None:
    mortal(world, "--crash-after", "20")


@kind("server", "exits with 0 after every 20 requests")
def leaving(world: World) -> None:
    mortal(world, "--exit-zero-after", "20")


@kind("server", "takes requests and answers nobody after every 15")
def wedged(world: World) -> None:
    mortal(world, "--order", '[{"fault": "wedge", "after": 15}]')


def mortal(world: World, *flags: str) -> None:
    """A server that dies again and again is started again and again."""
    world.documents(DOCUMENTS)
    world.run(world.command(world.owned(*flags)))
    world.census()
    assert not world.dead()
    world.note(f"{world.asked_twice()} asked twice")


@kind("document", "three that kill their server")
def poisons(world: World) -> None:
    """They are dead letters, and all their neighbours are answered."""
    numbers = [3, 17, 30]
    texts = {n: f"Northwind Works {n} makes pumps. [[fault:crash]]" for n in numbers}
    world.documents(DOCUMENTS, texts=texts)
    world.run(world.command(world.owned("--latency", "0.1")))
    world.census()
    assert world.dead() == {f"d{n:03}": Fault.POISON.value for n in numbers}, world.dead()
    world.note(f"{world.asked_twice()} asked twice")


@kind("document", "kills the actor that works on it, and its server")
def deadly(world: World) -> None:
    texts = {7: "Northwind Works 7 makes pumps. [[fault:kill_actor]]"}
    world.documents(DOCUMENTS, texts=texts)
    world.run(world.command(world.owned("--latency", "0.1")))
    world.census()
    assert world.dead() == {"d007": Fault.POISON.value}, world.dead()
    world.note(f"{world.asked_twice()} asked twice")


@kind("node", "lost with its server")
def lose_node(world: World) -> None:
    world.documents(DOCUMENTS)
    with running(RayCluster(world.folder)) as world.cluster:
        sizes = ((3, 0), (0, 1), (0, 1))
        path = world.env["PYTHONPATH"]
        nodes = [world.cluster.add(cpus, gpus, PYTHONPATH=path) for cpus, gpus in sizes]
        for node in nodes:
            node.wait()
        process = world.start(world.command(world.owned(*SLOW, **{"servers.min_servers": 2})))
        world.wait_for(lambda: world.answered() > 8 and len(world.servers()) == 2, process)
        family = {member.pid for member in nodes[-1].family()}
        lost = [pid for pid in world.servers() if pid in family]
        nodes[-1].kill()
        assert world.end_of(process) == 0, world.told(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.wait_procs([psutil.Process(pid) for pid in lost if psutil.pid_exists(pid)], timeout=15)
    world.census()
    assert not world.dead()
    repeated = world.asked_twice()
    world.note(f"{repeated} asked twice")
    assert repeated <= 2 * IN_FLIGHT


@kind("driver", "Ctrl-C, then the same command")
def interrupt(world: World) -> None:
    """It ends, and what was answered is not asked again."""
    world.documents(DOCUMENTS)
    command = world.command(world.owned(*SLOW))
    process = world.start(command)
    world.wait_for(lambda: world.answered() > 12, process)
    world.kill(process, signal.SIGINT)
    assert process.returncode not in (0, 2), process.returncode
    world.run(command)
    world.census()
    repeated = world.asked_twice()
    world.note(f"{repeated} asked twice")
    assert repeated <= 2 * IN_FLIGHT
