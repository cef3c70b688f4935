"""A store that fails to order: `faulty:///folder/out` is a local folder whose k-th operation goes wrong.

The order stands in `faulty.json` in a folder above: `{"at": k, "how": "kill"}`. Operations of all processes are
counted together, in the file `faulty.log` beside it, a line each. As in an object store, a file is put whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

ORDER, LOG = "faulty.json", "faulty.log"
HOW = ("kill", "error", "full", "lost", "torn")


class FaultyFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The operations that the project's storage and its readers need, each of which may be the one that fails.

    `kill` ends the process before the operation, `error` and `full` refuse it, `lost` does it and says that it
    failed, `torn` puts half a file and ends the process.
    """

    protocol = "faulty"
    cachable = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.local = LocalFileSystem(auto_mkdir=True)

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        how = self._strike("put", path)
        target = Path(self._strip_protocol(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "torn":
            target.write_bytes(value[: len(value) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        partial = target.with_name(f".{uuid.uuid4().hex}")
        partial.write_bytes(value)
        partial.replace(target)
        if how == "lost":
            raise OSError(errno.EIO, "the acknowledgement was lost", path)

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        self._strike("delete", path)
        self.local.rm(self._strip_protocol(path), recursive=recursive)

    def cat_file(self, path: str, **named: Any) -> bytes:
        self._strike("get", path)
        data: bytes = self.local.cat_file(self._strip_protocol(path), **named)
        return data

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        self._strike("open", path)
        return self.local.open(self._strip_protocol(path), mode)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        self._strike("list", path)
        found: list[Any] = self.local.ls(self._strip_protocol(path), detail=detail)
        return found

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        told: dict[str, Any] = self.local.info(self._strip_protocol(path))
        return told

    def rm_file(self, path: str) -> None:
        self._strike("delete", path)
        self.local.rm_file(self._strip_protocol(path))

    def _strike(self, operation: str, path: str) -> str | None:
        """Count an operation, and do to it what is ordered; what remains to be done while it goes on."""
        order = _order_above(Path(self._strip_protocol(path)))
        if order is None:
            return None
        asked = json.loads(order.read_text())
        if _count(order.with_name(LOG), f"{operation} {path}") != asked["at"]:
            return None
        how: str = asked["how"]
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "full":
            raise OSError(errno.ENOSPC, "no space left on device", path)
        if how == "error" or (how in ("lost", "torn") and operation != "put"):
            raise OSError(errno.EIO, "the store failed", path)
        return how


def _order_above(path: Path) -> Path | None:
    return next((folder / ORDER for folder in path.parents if (folder / ORDER).exists()), None)


def _count(log: Path, line: str) -> int:
    """Append a line; how many there are then."""
    with log.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = len(file.read().splitlines()) + 1
        file.write(f"{line}\n".encode())
    return number


def order(folder: Path, at: int, how: str) -> None:
    """Order a fault for the store below a folder; 0 for none. Counting begins anew."""
    if how not in HOW:
        raise ValueError(f"unknown fault {how!r}; known: {', '.join(HOW)}")
    (folder / LOG).unlink(missing_ok=True)
    (folder / ORDER).write_text(json.dumps({"at": at, "how": how}))


def operations(folder: Path) -> list[str]:
    """What was done since the last order, a line each."""
    log = folder / LOG
    return log.read_text().splitlines() if log.exists() else []
