"""RayHead: a Ray of its own, started from the command line as on a cluster, with a node or more."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.fakes.process import ROOT, free_port

BIN = ROOT / ".venv" / "bin"
STORE_BYTES = 200 << 20
# Ray 2.60 asks for a token as soon as a head is started; its clients have to be told so.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


class RayHead:
    """A head, and nodes that join it, for the length of a `with` block. Nothing of it survives that."""

    def __init__(self, *, cpus: int = 3, gpus: int = 0, env: Mapping[str, str] | None = None) -> None:
        self.port, self.dashboard = free_port(), free_port()
        self.cpus, self.gpus = cpus, gpus
        self.env = {**os.environ, **TOKEN, "PATH": f"{BIN}:{os.environ['PATH']}", **(env or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: a socket's path has 107 characters
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Where drivers connect to."""
        return f"127.0.0.1:{self.port}"

    @property
    def jobs(self) -> str:
        """Where jobs are submitted to."""
        return f"http://127.0.0.1:{self.dashboard}"

    def __enter__(self) -> RayHead:
        try:
            self._start("--head", f"--port={self.port}", f"--dashboard-port={self.dashboard}",
                        f"--dashboard-agent-listen-port={free_port()}", f"--ray-client-server-port={free_port()}",
                        f"--temp-dir={self.folder}", cpus=self.cpus, gpus=self.gpus)  # fmt: skip
            self._wait(["ray", "job", "list", "--address", self.jobs])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def join(self, *, cpus: int, gpus: int = 0, labels: str = "") -> subprocess.Popen[bytes]:
        """Start a node that joins the head; `labels` as `ray start` takes them. It is there a moment later."""
        more = [f"--labels={labels}"] if labels else []
        return self._start(f"--address={self.address}", *more, cpus=cpus, gpus=gpus)

    def _start(self, *flags: str, cpus: int, gpus: int) -> subprocess.Popen[bytes]:
        sizes = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--object-store-memory={STORE_BYTES}"]
        fixed = ["--block", "--disable-usage-stats", f"--metrics-export-port={free_port()}"]
        command = ["ray", "start", *fixed, *sizes, *flags]
        with (self.folder / "nodes.log").open("ab") as log:
            node = subprocess.Popen(command, stdout=log, stderr=log, env=self.env, start_new_session=True)
        self.nodes.append(node)
        return node

    def _wait(self, ask: list[str]) -> None:
        end = time.monotonic() + 120
        while subprocess.run(ask, capture_output=True, env=self.env, check=False).returncode:
            if self.nodes[0].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the head does not answer: {(self.folder / 'nodes.log').read_text()[-2000:]}")
            time.sleep(0.5)

    @staticmethod
    def kill(node: subprocess.Popen[bytes]) -> None:
        """Kill a node with all its processes, as the loss of a machine does."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
        node.wait(30)
