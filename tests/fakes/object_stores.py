"""Object stores in processes of their own, reached as real ones are: moto's S3, and an emulator of Google's."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from unittest import mock

import fsspec

from tests.fakes.ports import port_of, reserve

BUCKET = "profiles"
RESERVED = {protocol: reserve() for protocol in ("s3", "gs")}  # for the life of this process
PORTS = {protocol: port_of(reserved) for protocol, reserved in RESERVED.items()}
RUN = """
import http.server, runpy, sys
http.server.HTTPServer.allow_reuse_port = True
del sys.argv[0]
runpy.run_module(sys.argv[0], None, "__main__", True)
"""
COMMANDS = {
    "s3": ["moto.server", "-H", "127.0.0.1", "-p", str(PORTS["s3"])],
    "gs": ["gcp_storage_emulator", "start", "-H", "127.0.0.1", "--port", str(PORTS["gs"]), "-M", "-q"],
}
ENVIRONMENTS = {  # of whoever reads and writes
    "s3": {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORTS['s3']}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    },
    "gs": {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{PORTS['gs']}",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks Google for the bucket's kind
        "NO_PROXY": "127.0.0.1",
    },
}
OF_OBJECT_STORES = ENVIRONMENTS["s3"] | ENVIRONMENTS["gs"]
START_S = 60


@contextlib.contextmanager
def object_store(protocol: str) -> Iterator[fsspec.AbstractFileSystem]:
    """A store (`s3` or `gs`) with an empty bucket; it keeps nothing when it ends."""
    command = [sys.executable, "-c", RUN, *COMMANDS[protocol]]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with mock.patch.dict(os.environ, ENVIRONMENTS[protocol]):
            yield _with_bucket(protocol)
    finally:
        fsspec.get_filesystem_class(protocol).clear_instance_cache()  # they keep the address
        server.kill()
        server.wait()


def _with_bucket(protocol: str) -> fsspec.AbstractFileSystem:
    """The store once it answers, with an empty bucket."""
    store = fsspec.filesystem(protocol, skip_instance_cache=True)
    end = time.monotonic() + START_S
    while True:
        try:
            store.mkdir(BUCKET)
            return store
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
