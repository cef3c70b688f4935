"""Runs a server process in a session of its own, under a watchdog, with its output in a log file."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from actors.servers import watchdog
from extraction.errors import RunError

STOP_GRACE_S = 10
TAIL_BYTES = 16_384
PORT_TRIES = 4
PORT_TAKEN = ("address already in use", "couldn't bind http server socket")  # SGLang, llama.cpp
Started = TypeVar("Started")


class ServerProcess:
    """Owns one process group, which ends with `stop` or with the process that called `start`.

    `secrets` are removed from all output before it is logged.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.argv, self.log, self.env, self.secrets = list(argv), log, dict(env or {}), tuple(secrets)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Spawn the watchdog, which runs the command in a process group of its own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, watchdog.__file__, str(os.getpid()), *self.argv]
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.env},
            )
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write("\n".join(self.secrets).encode())

    @property
    def pid(self) -> int | None:
        """The id of the watchdog process and of the group; None before `start`."""
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """The exit code or negative signal; None while the process runs."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process was started and still runs."""
        return self._process is not None and self._process.poll() is None

    def listens(self, port: int) -> bool:
        """Whether it is one of its processes that listens at a port, and no stranger that took it."""
        try:
            watchdog_process = psutil.Process(self.pid)
            group = [watchdog_process, *watchdog_process.children(recursive=True)]
            sockets = [each for process in group for each in process.net_connections()]
        except psutil.Error:  # it ends just now
            return False
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the whole group: SIGTERM, SIGKILL after `grace_s` seconds, then reap."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log; empty where there is none."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = log.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


class ProcessOwner:
    """The part of a server that engines with a process of their own share."""

    _process: ServerProcess | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.alive

    def require_port(self, port: int) -> None:
        """Raise RunError where a stranger listens at the server's port, and answers in its place."""
        if self._process and not self._process.listens(port):
            raise RunError(f"port {port}: {PORT_TAKEN[0]} by another process")

    def start_at_free_port(self, start: Callable[[int], Started]) -> Started:
        """Start at a port that is free now, and at another where that was taken before the server came to it."""
        for _ in range(PORT_TRIES - 1):
            try:
                return start(free_port())
            except RunError as error:
                if not any(sign in str(error).lower() for sign in PORT_TAKEN):
                    raise
        return start(free_port())

    def stop(self) -> None:
        """End the process and its children."""
        if self._process:
            self._process.stop()
            self._process = None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def free_port() -> int:
    """A TCP port of the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_key() -> str:
    """A random API key: the server accepts only its owner, and a stranger on the port is detected."""
    return secrets.token_hex(24)  # never a leading dash, which a flag parser would take for a flag
