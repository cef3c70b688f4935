"""A client whose server a keeper looks after: the fake one, as the extractor's own."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from actors.retrying_client import Client, Request, Result
from actors.servers.supervisor import Keeper, Server
from extraction.config.settings import Settings
from tests.actors.asking import SCHEMA
from tests.actors.extracting import asked_texts
from tests.actors.processes import OwnedFake, eventually


class HastyFake(OwnedFake):
    """One that is given little time to end by itself."""

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.stop(grace_s=0.2)
            self.process = None

    @property
    def served_by(self) -> int:
        """The id of the process that answers, beneath its leash."""
        assert self.process and self.process.pid
        (served,) = psutil.Process(self.process.pid).children()
        return served.pid


def ask_kept(
    server: Server, asked: Settings, *questions: Request, meanwhile: Callable[[], None] | None = None
) -> list[Result]:
    """Ask everything at once; `meanwhile` runs in a thread of its own."""
    keeper = Keeper(server, asked.servers)
    where = keeper.start()
    thread = threading.Thread(target=meanwhile or (lambda: None))

    async def all_of_them() -> list[Result]:
        client = Client(where, asked, SCHEMA, keeper)
        try:
            thread.start()
            return await asyncio.gather(*map(client.ask, questions))
        finally:
            await client.close()

    try:
        return asyncio.run(all_of_them())
    finally:
        thread.join()
        keeper.stop()


def once_asked(journal: Path, requests: int, act: Callable[[], None]) -> Callable[[], None]:
    """Act as soon as a server's journal holds that many requests."""

    def wait_and_act() -> None:
        assert eventually(lambda: journal.exists() and asked_texts(journal) >= requests)
        act()

    return wait_and_act


def send_signal(server: HastyFake, number: signal.Signals) -> Callable[[], None]:
    """What sends a signal to the process that answers."""
    return lambda: os.kill(server.served_by, number)
