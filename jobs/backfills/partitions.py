"""Partitions: what a pattern such as `s3://bucket/documents/date={date}/` finds, and what is in each.

A placeholder stands for a part of a folder's or file's name. `{date}` is a day, written as 2026-01-31 or as a
format says (`year={date:%Y}/month={date:%m}/day={date:%d}`); any other name is text. A month or day may be written
without its zero (`month=5`), as Spark writes numbers, where no other digit can stand beside it.
"""

import datetime
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from extraction.errors import OperatorError
from jobs.backfills.config import Declaration, Window
from jobs.cli.command import LOG
from jobs.inputs.file_discovery import files_below, globbed, is_data, is_hidden, refuse_tables
from jobs.state.storage import Storage, explained, filesystem_at, in_threads

DATE_PLACEHOLDER, ISO = "date", "%Y-%m-%d"
PLACEHOLDER = re.compile(r"\{(\w+)(?::([^{}]+))?\}")
DIRECTIVES = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}", "%j": r"\d{3}", "%y": r"\d{2}"}
VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "last_modified", "created")  # by store
ALONE = re.compile(r"(?<![\d*}])(?<!%[Ymdjy])%[md](?![\d*{%])")  # a month or day that may have a single digit


@dataclass(frozen=True)
class Partition:
    """One partition: its keys and values in the pattern's order, its day if it has one, and its files by URL, each
    with its version."""

    values: Mapping[str, str]
    day: datetime.date | None
    files: Mapping[str, str]
    bytes: int

    @property
    def path(self) -> str:
        """Its place in the output: `date=2026-01-31/region=eu`."""
        return "/".join(f"{key}={value}" for key, value in self.values.items())

    @cached_property
    def digest(self) -> str:
        """A digest of its input: changes when a file comes, goes, or is written again."""
        files = "\n".join(f"{url}\t{version}" for url, version in sorted(self.files.items()))
        return hashlib.sha256(files.encode()).hexdigest()


class Pattern:
    """A path or URL with placeholders. Raises OperatorError for one without, or one that can't be read."""

    def __init__(self, text: str) -> None:
        self.text = text
        with explained(f"input: {text} can't be opened"):
            self._filesystem, path = filesystem_at(text)
        self._path = str(path).rstrip("/")
        self._formats = [(match[1], match[2]) for match in PLACEHOLDER.finditer(self._path)]
        if not self._formats:
            raise OperatorError(f"input: {text} has no placeholder such as {{date}}: extract.py is for one input")
        named = [name for name, _ in self._formats]
        for name in set(named) - {DATE_PLACEHOLDER}:
            if named.count(name) > 1 or dict(self._formats)[name]:
                raise OperatorError(f"input: {{{name}}} of {text} may stand once, without a format: it is no date")
        self._regex, self._fields = self._compiled()
        if self.dated and not {"%Y", "%y"} & set(self._fields):
            raise OperatorError(f"input: the {{date}} of {text} has no year: %Y or %y has to be in its format")

    @property
    def dated(self) -> bool:
        """Whether partitions have a day."""
        return any(name == DATE_PLACEHOLDER for name, _ in self._formats)

    def partitions(self) -> list[Partition]:
        """All partitions that hold a Parquet file, in order of their paths. Raises OperatorError where there is
        none, or the store can't be listed."""
        with explained(f"input: {self.text} can't be listed"):
            self._filesystem.invalidate_cache()
            roots: dict[tuple[tuple[str, str], ...], list[str]] = {}
            unfit: list[str] = []
            for path in globbed(self._filesystem, self._glob):
                values = self._values(path.rstrip("/"))
                if values:
                    roots.setdefault(tuple(values.items()), []).append(path)
                elif values is not None:
                    unfit.append(path)
            listed = in_threads(lambda item: self._partition(dict(item[0]), item[1]), roots.items())
            partitions = sorted((each for each in listed if each.files), key=lambda each: each.path)
            folders = {path.rstrip("/") for some in roots.values() for path in some}
            refuse_tables(self._filesystem, [], folders, f"input: {self.text}")
            files_within = zip(unfit, in_threads(self._data_in, unfit), strict=True)
            unfit = [path for path, files in files_within if any(is_data(file, path) for file in files)]
        example = min(unfit, default="")
        count = f"{len(unfit):,} with Parquet files have no such day or value in their names, such as {example}"
        if not partitions:
            also = f": {count}" if unfit else ""
            raise OperatorError(f"input: {self.text} finds no partition with Parquet files (*.parquet){also}")
        if unfit:
            LOG.print(f"note     input: of what {self.text} finds, {count}: they are left out")
        return partitions

    def would_read(self, storage: Storage, path: str) -> bool:
        """Whether a file that is written to a storage would be in a partition."""
        if type(self._filesystem) is not type(storage.filesystem):
            return False
        parts = storage.full(path).split("/")
        return any(self._values("/".join(parts[:n])) for n in range(1, len(parts) + 1))

    @cached_property
    def _glob(self) -> str:
        text = "".join(_starred(form) if name else _escaped(literal) for literal, name, form, _ in self._pieces())
        return re.sub(r"\*+", "*", text)

    def _compiled(self) -> tuple[re.Pattern[str], list[str]]:
        """What matches the paths of partitions, and what each of its groups is: a placeholder's name, or a
        directive of a date."""
        regex = ""
        fields: list[str] = []
        for literal, name, form, beside in self._pieces():
            if name == DATE_PLACEHOLDER:
                fields += _directives(form)
                regex += _matching(form, beside)
            elif name:
                regex += "([^/]+)"
                fields.append(name)
            else:
                regex += re.escape(literal).replace(r"\*", "[^/]*")
        return re.compile(regex), fields

    def _pieces(self) -> Iterator[tuple[str, str, str | None, str]]:
        """What stands between placeholders as (text, "", None, ""), and the placeholders as ("", name, format, the
        characters before and behind)."""
        end, path = 0, f"/{self._path}/"
        for match in PLACEHOLDER.finditer(self._path):
            yield self._path[end : match.start()], "", None, ""
            end = match.end()
            yield "", match[1], match[2], path[match.start()] + path[end + 1]
        yield self._path[end:], "", None, ""

    def _values(self, path: str) -> dict[str, str] | None:
        """The values in a path; None where it is none of the pattern's, none where they are no day."""
        if _strays(path, self._glob):
            return None
        match = self._regex.fullmatch(path)
        if match is None:
            return {}
        values: dict[str, str] = {}
        date: dict[str, str] = {}  # by directive
        for field, text in zip(self._fields, match.groups(), strict=True):
            if field not in DIRECTIVES:
                values[field] = text
            elif date.setdefault(field, text.zfill(2)) == text.zfill(2):
                values.setdefault(DATE_PLACEHOLDER, "")  # its place among the keys
            else:
                return {}
        if any(value.startswith(".") for value in values.values()):
            return None
        if date:
            day = _day(date)
            if day is None:
                return {}
            values[DATE_PLACEHOLDER] = day.isoformat()
        return values

    def _data_in(self, root: str) -> dict[str, Mapping[str, Any]]:
        """The files of a partition's folder, or the file that it is, with what the store tells of them."""
        files, _ = files_below(self._filesystem, root)
        return {path: info for path, info in files.items() if path == root or is_data(path, root)}

    def _partition(self, values: dict[str, str], roots: Sequence[str]) -> Partition:
        files: dict[str, str] = {}
        size = 0
        for root in roots:
            for path, info in self._data_in(root).items():
                files[str(self._filesystem.unstrip_protocol(path))] = _version(info)
                size += info["size"] or 0
        day = datetime.date.fromisoformat(values[DATE_PLACEHOLDER]) if self.dated else None
        return Partition(values, day, files, size)


def partitions_in_window(declared: Declaration, today: datetime.date) -> list[Partition]:
    """The partitions of the window, in the order in which they are run."""
    pattern = Pattern(declared.input)
    if not pattern.dated and declared.window != Window():
        raise OperatorError(f"window: {declared.input} has no {{date}} to which it could apply")
    within = [p for p in pattern.partitions() if p.day is None or declared.window.holds(p.day, today)]
    sign = -1 if declared.order == "newest" else 1
    return sorted(within, key=lambda partition: sign * (partition.day or today).toordinal())


def _strays(path: str, glob: str) -> bool:
    """Whether a part of a path is hidden where the pattern did not ask for that."""
    parts = zip(path.split("/"), glob.split("/"), strict=False)
    return any(is_hidden(part) and not asked.startswith(part[0]) for part, asked in parts)


def _escaped(literal: str) -> str:
    """What a glob takes for this text: of its wildcards only `*` is one in a pattern."""
    return re.sub(r"([?[])", r"[\1]", literal)


def _starred(form: str | None) -> str:
    return re.sub(r"(%.)+", "*", _escaped(form)) if form else "*"


def _directives(form: str | None) -> list[str]:
    """The directives of a date's format. Raises OperatorError where one is no day's, or there is none."""
    directives = re.findall("%.", form or ISO)
    unknown = [directive for directive in directives if directive not in DIRECTIVES]
    if unknown or not directives:
        wrong = unknown[0] if unknown else "no directive"
        raise OperatorError(f"input: {{date:{form}}} has {wrong}: of a day there are {', '.join(DIRECTIVES)}")
    return directives


def _matching(form: str | None, beside: str) -> str:
    """What a date's text looks like between two characters, a group a directive."""
    form, regex, end = form or ISO, "", 0
    alone = {match.start() - 1 for match in ALONE.finditer(f"{beside[0]}{form}{beside[1]}")}
    for directive in re.finditer("%.", form):
        digits = r"\d{1,2}" if directive.start() in alone else DIRECTIVES[directive[0]]
        regex += f"{re.escape(form[end : directive.start()])}({digits})"
        end = directive.end()
    return regex + re.escape(form[end:])


def _day(date: Mapping[str, str]) -> datetime.date | None:
    """The day of a date by directive; None where there is no such day, or where they contradict each other."""
    try:
        day = datetime.datetime.strptime(" ".join(date.values()), " ".join(date)).date()
    except ValueError:
        return None
    year = f"{day.year:04}"
    written = {"%Y": year, "%y": year[2:], "%m": f"{day:%m}", "%d": f"{day:%d}", "%j": f"{day:%j}"}
    return day if date.items() <= written.items() else None


def _version(info: Mapping[str, Any]) -> str:
    """The version of a file: its size and, as the store has it, its tag or time."""
    return f"{info['size']} " + next((str(info[key]) for key in VERSIONS if info.get(key)), "")
