"""Runs a server process in a session of its own, under a watchdog, with its output in a log file."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.servers import watchdog

STOP_GRACE_S = 10
TAIL_BYTES = 16_384


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
            text = self.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", errors="replace")
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
