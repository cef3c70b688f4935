"""An object store: moto's S3 in a process of its own, reached through s3fs as a real one is."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import fsspec

from tests.chaos.kinds import kind
from tests.chaos.world import IN_FLIGHT, World
from tests.fakes.process import FakeServer, free_port

PORT = free_port()
ENVIRONMENT = {  # of the head and of all drivers, since it is they who read and write
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "NO_PROXY": "127.0.0.1",
}
BUCKET = "profiles"


@contextlib.contextmanager
def s3() -> Iterator[fsspec.AbstractFileSystem]:
    """A store with an empty bucket."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT)]
    os.environ |= ENVIRONMENT
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        end = time.monotonic() + 60
        while True:
            try:
                store.mkdir(BUCKET)
                break
            except Exception:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        yield store
    finally:
        server.kill()
        server.wait()


@kind("object store", "S3: driver killed midway, then the same command")
def killed_on_s3(world: World) -> None:
    world.documents(40)
    with s3() as store, FakeServer("--latency", "0.2", "--max-running-requests", str(IN_FLIGHT)) as server:
        store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
        paths = {"source": f"s3://{BUCKET}/in/", "output": f"s3://{BUCKET}/out"}
        command = world.command(world.endpoint(server), **paths)
        process = world.start(command)
        world.wait_for(lambda: server.stats()["answered"] > 12, process)
        world.kill(process)
        world.run(command)
        asked = server.stats()["requests"]
        world.run(command)
        assert server.stats()["requests"] == asked
        store.get(f"{BUCKET}/out", str(world.output), recursive=True)
        repeated = world.asked_twice(server.journal_path)
    world.census()
    world.note(f"{repeated} asked twice")
    assert repeated <= 2 * IN_FLIGHT


@kind("object store", "S3: away for the second half of a run")
def s3_away(world: World) -> None:
    world.documents(24)
    with FakeServer("--latency", "0.3", "--max-running-requests", str(IN_FLIGHT)) as server:
        with s3() as store:
            store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
            paths = {"source": f"s3://{BUCKET}/in/", "output": f"s3://{BUCKET}/out"}
            command = world.command(world.endpoint(server), **paths)
            process = world.start(command)
            world.wait_for(lambda: server.stats()["answered"] > 8, process)
        assert world.end_of(process) == 1, world.told(process)
        with s3() as store:  # moto keeps nothing: a store that lost all
            store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
            world.run(command)
            store.get(f"{BUCKET}/out", str(world.output), recursive=True)
    world.census()
