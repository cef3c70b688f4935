"""Runs on an object store, S3 and Google's, that are killed or lose it midway."""

from functools import partial

from tests.chaos.kinds import KINDS, Kind, kind
from tests.chaos.world import IN_FLIGHT, World
from tests.fakes.object_stores import BUCKET, object_store
from tests.fakes.process import FakeServer


def killed_on(world: World, protocol: str) -> None:
    """Kill a driver midway, then run the same command."""
    world.documents(40)
    with (
        object_store(protocol) as store,
        FakeServer("--latency", "0.2", "--max-running-requests", str(IN_FLIGHT)) as server,
    ):
        store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
        paths = {"source": f"{protocol}://{BUCKET}/in/", "output": f"{protocol}://{BUCKET}/out"}
        command = world.command(world.endpoint(server), **paths)
        process = world.start(command)
        world.wait_for(lambda: server.stats()["answered"] > 12, process)
        world.kill(process)
        world.run(command)
        asked = server.stats()["requests"]
        world.run(command)
        assert server.stats()["requests"] == asked
        store.invalidate_cache()
        store.get(f"{BUCKET}/out", str(world.output), recursive=True)
        repeated = world.asked_twice(server.journal_path)
    world.census()
    world.note(f"{repeated} asked twice")
    assert repeated <= 2 * IN_FLIGHT


@kind("object store", "S3: away for the second half of a run")
def s3_away(world: World) -> None:
    world.documents(24)
    with FakeServer("--latency", "0.3", "--max-running-requests", str(IN_FLIGHT)) as server:
        with object_store("s3") as store:
            store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
            paths = {"source": f"s3://{BUCKET}/in/", "output": f"s3://{BUCKET}/out"}
            command = world.command(world.endpoint(server), **paths)
            process = world.start(command)
            world.wait_for(lambda: server.stats()["answered"] > 8, process)
        assert world.end_of(process) == 1, world.told(process)
        with object_store("s3") as store:  # moto keeps nothing: a store that lost all
            store.put_file(str(world.source), f"{BUCKET}/in/documents.parquet")
            world.run(command)
            store.get(f"{BUCKET}/out", str(world.output), recursive=True)
    world.census()


STORES = {"S3": "s3", "Google Cloud Storage": "gs"}
KINDS += [
    Kind("object store", f"{name}: driver killed midway, then the same command", partial(killed_on, protocol=store))
    for name, store in STORES.items()
]
