"""Metadata of a GGUF file: architecture, tokenizer, chat template.

Read by hand because the `gguf` package maps every tensor first: 11 s for a file whose metadata takes 0.3.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

from extraction.errors import OperatorError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


def metadata(path: Path) -> dict[str, Any]:
    """Every key and value before the tensors. Raises OperatorError when the file is no GGUF (version 2 up)."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] == b"GGUF":
                return _entries(data)
    except OSError as error:
        raise OperatorError(f"{path} can't be read: {error.strerror}") from None
    except (struct.error, KeyError, ValueError, RecursionError):  # mmap has a ValueError for empty files
        raise OperatorError(f"{path} is cut short or damaged: get the GGUF file anew") from None
    raise OperatorError(f"{path} is not a GGUF file: give --model a .gguf file or the name of a model")


def _entries(data: mmap.mmap) -> dict[str, Any]:
    (count,) = struct.unpack_from("<Q", data, 16)
    found: dict[str, Any] = {}
    offset = 24
    for _ in range(count):
        key, offset = _value(data, STRING, offset)
        (kind,) = struct.unpack_from("<I", data, offset)
        found[key], offset = _value(data, kind, offset + 4)
    return found


def _value(data: mmap.mmap, kind: int, offset: int) -> tuple[Any, int]:
    """The value of a kind at an offset, and the offset behind it."""
    if kind == STRING:
        (length,) = struct.unpack_from("<Q", data, offset)
        end = offset + 8 + length
        if end > len(data):
            raise ValueError("a text runs on behind the end of the file")
        return data[offset + 8 : end].decode("utf-8", errors="replace"), end
    if kind == ARRAY:
        inner, length = struct.unpack_from("<IQ", data, offset)
        offset += 12
        if inner in SCALARS:
            form = f"<{length}{SCALARS[inner]}"
            return struct.unpack_from(form, data, offset), offset + struct.calcsize(form)
        values = []
        for _ in range(length):
            value, offset = _value(data, inner, offset)
            values.append(value)
        return values, offset
    form = "<" + SCALARS[kind]
    return struct.unpack_from(form, data, offset)[0], offset + struct.calcsize(form)
