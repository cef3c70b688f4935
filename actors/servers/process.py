"""A server process: spawned in a session of its own, on a leash, its output in a log file."""

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
    """Owns one process group. Nothing of it survives `stop`, nor the process that called `start`.

    `secrets` are words that never get into the log, whatever the command prints.
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
        """Spawn the leash, which runs the command in a group of its own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tied = [sys.executable, watchdog.__file__, str(os.getpid()), *self.argv]
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as log:
            self._process = subprocess.Popen(
                tied,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.env},
            )
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError), self._process.stdin as told:
            told.write("\n".join(self.secrets).encode())

    @property
    def pid(self) -> int | None:
        """The id of the leash, which is the group's too; None before `start`."""
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """How it ended: an exit code, a negative signal, None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        """Whether it was started and still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End the whole group: asked first, killed after `grace_s`, then reaped."""
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        try:
            text = self.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_key() -> str:
    """A random key, so that a server accepts its owner alone and a stranger on the port is noticed."""
    return secrets.token_hex(24)  # never a leading dash, which a parser of flags takes for one
