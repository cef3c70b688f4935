"""The files of the input: what paths, folders, globs and URLs stand for, and what the paths themselves tell.

A path that exists is that path, whatever signs are in it. `key=value` in a file's path is a column. A folder of a
table format is no folder of Parquet files: which of them are the table's, its log says.
"""

import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from extraction.errors import OperatorError
from jobs.state.publications import current_file
from jobs.state.storage import Storage, explained, filesystem_at

GLOB_SIGNS = re.compile(r"[*?[]")
SUFFIXES = (".parquet", ".pq")
NULL_KEY = "__HIVE_DEFAULT_PARTITION__"
PATH_KEY = re.compile(r"([^=]+)=(.*)")
TABLE_LOGS = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}
EXPORTS = {"Delta Lake": "delta_scan", "Iceberg": "iceberg_scan", "Hudi": "hudi_scan"}
MOST_ABOVE = 2  # folders in which a table may begin: its own, and one for its data in that
WRITTEN_FILE = "profiles/RUN/0.parquet"
WRITTEN = (
    WRITTEN_FILE,
    "dead_letters/RUN/0.parquet",
    *map(current_file, ("profiles", "dead_letters")),
    "work/runs/RUN/chunks/0.parquet",
    "FINGERPRINT/0.parquet",
)


def files_at(source: str) -> list[str]:
    """The Parquet files that a path, folder, glob or URL stands for, as URLs in order. Raises OperatorError where
    there is none."""
    with explained(f"--input {source} can't be opened"):
        filesystem, path = filesystem_at(source)
        if filesystem.isdir(path):
            listed = list(files_below(filesystem, path)[0])
            refuse_tables(filesystem, listed, [path.rstrip("/")], f"--input {source}")
            paths = [p for p in listed if is_data(p, path)]
        elif filesystem.exists(path):
            paths = [path]
        elif GLOB_SIGNS.search(path):
            pattern, named = pattern_of(filesystem, path), path.split("/")
            listed = []
            for place, is_folder in globbed(filesystem, pattern).items():
                listed += files_below(filesystem, place)[0] if is_folder else [place]
            paths = [p for p in dict.fromkeys(listed) if is_data(p, named=named)]
            refuse_tables(filesystem, listed, {p.rpartition("/")[0] for p in paths}, f"--input {source}")
        else:
            store = "" if isinstance(filesystem, LocalFileSystem) else ", or no such bucket"
            raise OperatorError(f"--input {source}: there is no such file or folder{store}")
    if not paths:
        raise OperatorError(f"--input {source}: there are no Parquet files (*.parquet) there")
    return [str(filesystem.unstrip_protocol(p)) for p in sorted(paths)]


def files_below(filesystem: Any, folder: str) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The files below a folder by path, with what the store tells of them, and the links to folders that were
    followed: all but those to a folder that they are in."""
    files: dict[str, Mapping[str, Any]] = {}
    folders = [folder]
    for each in folders:
        for path, info in filesystem.find(each, detail=True).items():
            if not (info.get("islink") and os.path.isdir(path)):
                files[str(path)] = info
            elif os.path.realpath(path) not in map(os.path.realpath, Path(path).parents):
                folders.append(path)
    return files, folders[1:]


def globbed(filesystem: Any, pattern: str) -> dict[str, bool]:
    """What a glob finds, and whether each is a folder. On this machine links to folders are followed, but by `**`,
    which they could send around in circles."""
    if isinstance(filesystem, LocalFileSystem) and "**" not in pattern:
        return {path: os.path.isdir(path) for path in glob.glob(pattern, include_hidden=True)}
    return {str(path): info["type"] == "directory" for path, info in filesystem.glob(pattern, detail=True).items()}


def is_broken_link(url: str) -> bool:
    """Whether a file's URL is that of a link on this machine that leads nowhere."""
    filesystem, path = filesystem_at(url)
    return isinstance(filesystem, LocalFileSystem) and os.path.islink(path) and not os.path.exists(path)


def is_data(path: str, folder: str = "", named: Sequence[str] = ()) -> bool:
    """Whether a file that was found in a folder is meant as input: no part of its path below there is hidden, save
    those that were asked for by name."""
    below = path.removeprefix(folder).split("/")
    return path.lower().endswith(SUFFIXES) and not any(is_hidden(part) for part in below if part not in named)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no data, as Spark has it: unfinished or about the data, unless it is a key's."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def pattern_of(filesystem: Any, path: str) -> str:
    """A glob in which the folders that exist by their names, whatever signs are in these, stand for themselves."""
    parts = path.split("/")
    for end in range(1, len(parts)):
        if GLOB_SIGNS.search(parts[end - 1]):
            if not filesystem.exists("/".join(path.split("/")[:end])):
                break
            parts[end - 1] = re.sub(r"([*?[])", r"[\1]", parts[end - 1])
    return "/".join(parts)


def keys_in(url: str) -> dict[str, str | None]:
    """The keys in a file's path (`company_id=acme/part.parquet`), decoded as those who write them encode them."""
    keys: dict[str, str | None] = {}
    for part in url.split("/")[:-1]:
        match = PATH_KEY.fullmatch(part)
        if match:
            value = unquote(match[2])
            keys[unquote(match[1])] = None if value in ("", NULL_KEY) else value
    return keys


def refuse_tables(filesystem: Any, listed: Sequence[str], folders: Iterable[str], what: str) -> None:
    """Raise OperatorError where an input is in a table: its log is among the files that were listed, or lies at
    or above one of the folders."""
    for path in listed:
        for log, table in TABLE_LOGS.items():
            folder, slash, name = path.rpartition(f"/{log}/")
            if slash and _is_log(table, [name]):
                _refuse(what, folder, table)
    for place in sorted({place for folder in folders for place in _around(folder)}):
        for log, table in TABLE_LOGS.items():
            inner = f"{place}/{log}"
            if filesystem.isdir(inner) and _is_log(table, list(map(str, filesystem.ls(inner, detail=False)))):
                _refuse(what, place, table)


def _around(folder: str) -> set[str]:
    """A folder and the one above it, in either of which a table may begin; keys are within one."""
    folders: set[str] = set()
    while folder and len(folders) < MOST_ABOVE:
        if "=" not in folder.rpartition("/")[2]:
            folders.add(folder)
        folder = folder.rpartition("/")[0]
    return folders


def _is_log(table: str, names: Sequence[str]) -> bool:
    return table != "Iceberg" or any(name.endswith(".metadata.json") for name in names)


def _refuse(what: str, folder: str, table: str) -> NoReturn:
    raise OperatorError(
        f"{what}: {folder} is a {table} table, and its folder also holds files that are no longer in the table. "
        f"Export what is: duckdb -c \"copy (from {EXPORTS[table]}('{folder}')) to 'documents.parquet'\""
    )


def refuse_own_output(inputs: Iterable[str], folder: str | None, flag: str) -> None:
    """Raise OperatorError where an input would take in what runs write to a folder, which a flag gave: a second run
    would read what the first has written."""
    if not folder:
        return
    with explained(f"{flag} {folder} can't be written to"):
        storage = Storage(folder)
    for given in inputs:
        with explained(f"--input {given} can't be opened"):
            within = any(would_read(each, storage, path) for each in (given, *_linked(given)) for path in WRITTEN)
        if within:
            raise OperatorError(
                f"{flag} {folder} is within --input {given}, which would take in the files that a run writes "
                "there: give a place beside the input"
            )


def _linked(source: str) -> list[str]:
    """The folders on this machine that an input takes in by a glob, or by links."""
    filesystem, path = filesystem_at(source)
    if not isinstance(filesystem, LocalFileSystem):
        return []
    matches = {path: True} if filesystem.isdir(path) else globbed(filesystem, pattern_of(filesystem, path))
    folders = [place for place, is_folder in matches.items() if is_folder]
    return [place for folder in folders for place in (folder, *files_below(filesystem, folder)[1])]


def would_read(source: str, storage: Storage, path: str) -> bool:
    """Whether an input would take in a file that is written to a storage."""
    filesystem, place = filesystem_at(source)
    if type(filesystem) is not type(storage.filesystem):
        return False
    file = storage.full(path)
    if isinstance(filesystem, LocalFileSystem):
        place, file = os.path.realpath(place), os.path.realpath(file)
    if filesystem.isdir(place):
        folder = f"{place.rstrip('/')}/"
        return file.startswith(folder) and is_data(file, folder)
    pattern = re.compile(glob_translate(pattern_of(filesystem, place)))
    above = (str(each) for each in (Path(file), *Path(file).parents))  # a folder that it finds is read whole
    return any(map(pattern.match, above)) and is_data(file, named=place.split("/"))
