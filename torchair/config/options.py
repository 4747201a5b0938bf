"""Option kinds: which values an option accepts, how they are stored and how errors name them.

A kind turns what the user assigned into a plain, immutable, hashable value, or raises a ConfigError
that carries the option's path, the allowed values and what was found.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from torchair.errors import ConfigError

INT64_MAX = 2**63 - 1


class ConfigTypeError(ConfigError, TypeError):
    """The value of an option has the wrong type."""


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """The file or directory an option names does not exist."""


class ConfigAttributeError(ConfigError, AttributeError):
    """An option that does not exist was read."""


class FrozenDict(Mapping[object, object]):
    """Immutable, hashable mapping with the content of a dict option."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[object, object]) -> None:
        self._data = dict(data)

    def __getitem__(self, key: object) -> object:
        return self._data[key]

    def __iter__(self) -> Iterator[object]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __hash__(self) -> int:
        return hash(frozenset(self._data.items()))

    def __repr__(self) -> str:
        return repr(self._data)


def freeze(value: object) -> object:
    """Copies nested dicts, lists and sets into immutable ones; returns other values as they are."""
    if isinstance(value, Mapping):
        pairs = cast(Mapping[object, object], value).items()
        return FrozenDict({key: freeze(item) for key, item in pairs})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in cast(list[object], value))
    if isinstance(value, set | frozenset):
        return frozenset(freeze(item) for item in cast(set[object], value))
    return value


def thaw(value: object) -> object:
    """Copies what `freeze` made back into plain dicts and lists, for readers of options."""
    if isinstance(value, FrozenDict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in cast(tuple[object, ...], value)]
    return value


def content_hash(values: Iterable[object]) -> int:
    """Returns a hash of plain values; callables count as alike, since they need not be hashable."""
    return hash(tuple("callable" if callable(value) else value for value in values))


@dataclass(frozen=True)
class Kind(ABC):
    """Accepted values of an option.

    Args:
        none_ok: None is accepted too and means "not set".
    """

    none_ok: bool = False

    @property
    @abstractmethod
    def accepts(self) -> str:
        """What is accepted, None aside, in words fit for messages and documentation."""

    @abstractmethod
    def check(self, raw: object, path: str) -> object:
        """Returns the plain value of `raw`, which is not None, or raises ConfigError."""

    @property
    def allowed(self) -> str:
        """What is accepted, None included."""
        return f"{self.accepts} or None" if self.none_ok else self.accepts

    def parse(self, raw: object, path: str) -> object:
        """Returns the plain value to store for `raw`.

        Raises:
            ConfigError: `raw` is not accepted; the message names `path`. It is a TypeError too when
                the type is wrong, a FileNotFoundError when a file or directory is missing.
        """
        if raw is None and self.none_ok:
            return None
        return self.check(raw, path)

    def text(self, plain: object) -> object:
        """Returns what reading `.value` gives: None, "1"/"0" for a bool, else the value as text."""
        if plain is None:
            return None
        if isinstance(plain, bool):
            return "1" if plain else "0"
        return str(plain)

    def identity(self, plain: object) -> object:
        """Returns what stands for a value that is not None in a cache key, as JSON-able data.

        None means that the value cannot be recognised in another process.
        """
        return _jsonable(plain)

    def wrong_type(self, raw: object, path: str) -> ConfigTypeError:
        found = f"{raw!r} ({type(raw).__name__})"
        return ConfigTypeError(
            f"wrong type of value for option '{path}'", expected=self.allowed, found=found
        )

    def wrong_value(self, raw: object, path: str, hint: str | None = None) -> ConfigError:
        return ConfigError(
            f"wrong value for option '{path}'", expected=self.allowed, found=repr(raw), hint=hint
        )


@dataclass(frozen=True)
class Flag(Kind):
    """True or False; the ints 1 and 0 are taken for them."""

    @property
    def accepts(self) -> str:
        return "True, False"

    def check(self, raw: object, path: str) -> object:
        if isinstance(raw, int) and raw in (0, 1):
            return bool(raw)
        raise self.wrong_value(raw, path)


@dataclass(frozen=True, kw_only=True)
class Choice(Kind):
    """One of a few strings."""

    values: tuple[str, ...]

    @property
    def accepts(self) -> str:
        return ", ".join(repr(value) for value in self.values)

    def check(self, raw: object, path: str) -> object:
        if isinstance(raw, str) and raw in self.values:
            return raw
        raise self.wrong_value(raw, path, closest(str(raw), self.values))


@dataclass(frozen=True, kw_only=True)
class IntRange(Kind):
    """An int in [low, high]; a bool is no int here."""

    low: int
    high: int

    @property
    def accepts(self) -> str:
        high = "2**63 - 1" if self.high == INT64_MAX else self.high
        return f"int in [{self.low}, {high}]"

    def check(self, raw: object, path: str) -> object:
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise self.wrong_type(raw, path)
        if not self.low <= raw <= self.high:
            raise self.wrong_value(raw, path)
        return raw


@dataclass(frozen=True, kw_only=True)
class ChoiceOrInt(Kind):
    """One of a few strings, or an int in [low, high]."""

    choice: Choice
    number: IntRange

    @property
    def accepts(self) -> str:
        return f"{self.choice.accepts}, {self.number.accepts}"

    def check(self, raw: object, path: str) -> object:
        if isinstance(raw, str) and raw in self.choice.values:
            return raw
        if isinstance(raw, str):
            raise self.wrong_value(raw, path, closest(raw, self.choice.values))
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise self.wrong_type(raw, path)
        if not self.number.low <= raw <= self.number.high:
            raise self.wrong_value(raw, path)
        return raw


@dataclass(frozen=True)
class IntList(Kind):
    """A list or tuple of ints, stored as a tuple."""

    @property
    def accepts(self) -> str:
        return "list of int"

    def check(self, raw: object, path: str) -> object:
        items = _as_tuple(raw)
        if items is None or not all(
            isinstance(item, int) and not isinstance(item, bool) for item in items
        ):
            raise self.wrong_type(raw, path)
        return items

    def text(self, plain: object) -> object:
        return thaw(plain)


@dataclass(frozen=True, kw_only=True)
class Text(Kind):
    """A string, which matches all of `pattern` if one is given; `example` explains it."""

    pattern: str = ""
    example: str = ""

    @property
    def accepts(self) -> str:
        return f"str such as {self.example!r}" if self.example else "str"

    def check(self, raw: object, path: str) -> object:
        if not isinstance(raw, str):
            raise self.wrong_type(raw, path)
        if self.pattern and re.fullmatch(self.pattern, raw) is None:
            raise self.wrong_value(raw, path)
        return raw


@dataclass(frozen=True)
class Dictionary(Kind):
    """A dict, copied and frozen when it is assigned."""

    @property
    def accepts(self) -> str:
        return "dict"

    def check(self, raw: object, path: str) -> object:
        frozen = freeze(raw)
        if not isinstance(frozen, FrozenDict):
            raise self.wrong_type(raw, path)
        try:
            hash(frozen)
        except TypeError:
            raise self.wrong_value(raw, path, "numbers, strings, lists and dicts only") from None
        return frozen

    def text(self, plain: object) -> object:
        return thaw(plain)


@dataclass(frozen=True)
class Function(Kind):
    """A callable."""

    @property
    def accepts(self) -> str:
        return "callable"

    def check(self, raw: object, path: str) -> object:
        if not callable(raw):
            raise self.wrong_type(raw, path)
        return raw

    def text(self, plain: object) -> object:
        return plain

    def identity(self, plain: object) -> object:
        uuid = getattr(plain, "uuid", None)
        return str(uuid()) if callable(uuid) else None


@dataclass(frozen=True)
class PassNames(Kind):
    """A list of pass names, stored as a tuple; the compiler checks that the passes exist."""

    @property
    def accepts(self) -> str:
        return "list of pass names"

    def check(self, raw: object, path: str) -> object:
        items = _as_tuple(raw)
        if items is None or not all(isinstance(item, str) for item in items):
            raise self.wrong_type(raw, path)
        return items

    def text(self, plain: object) -> object:
        return thaw(plain)


@dataclass(frozen=True)
class PassInsertions(Kind):
    """A dict of pass name to list of passes, each a name or an instance."""

    @property
    def accepts(self) -> str:
        return "dict of pass name to list of pass names and instances"

    def check(self, raw: object, path: str) -> object:
        frozen = freeze(raw)
        if not isinstance(frozen, FrozenDict):
            raise self.wrong_type(raw, path)
        for name, inserted in frozen.items():
            items = cast(tuple[object, ...], inserted) if isinstance(inserted, tuple) else (None,)
            if not isinstance(name, str) or not all(map(_is_pass, items)):
                raise self.wrong_type(raw, path)
        return frozen

    def text(self, plain: object) -> object:
        return thaw(plain)

    def identity(self, plain: object) -> object:
        """Instances are recognised by their method `uuid()`, like functions."""
        words: list[list[str | None]] = []
        for name, items in cast(FrozenDict, plain).items():
            given = cast(tuple[object, ...], items)
            words.append([str(name), *(_pass_identity(item) for item in given)])
        return None if any(None in entry for entry in words) else sorted(words, key=repr)


def _is_pass(item: object) -> bool:
    return isinstance(item, str) or (
        isinstance(getattr(item, "name", None), str) and callable(getattr(item, "apply", None))
    )


def _pass_identity(item: object) -> str | None:
    uuid = getattr(item, "uuid", None)
    return item if isinstance(item, str) else str(uuid()) if callable(uuid) else None


@dataclass(frozen=True)
class Directory(Kind):
    """A directory that exists."""

    @property
    def accepts(self) -> str:
        return "existing directory"

    def check(self, raw: object, path: str) -> object:
        directory = _path_text(raw)
        if directory is None or not os.path.isdir(directory):
            raise _missing(self, raw, path)
        return directory


@dataclass(frozen=True, kw_only=True)
class File(Kind):
    """A file that exists, with `suffix` when one is given."""

    suffix: str = ""

    @property
    def accepts(self) -> str:
        return f"existing {self.suffix} file" if self.suffix else "existing file"

    def check(self, raw: object, path: str) -> object:
        file = _path_text(raw)
        if file == "":
            raise self.wrong_value(raw, path)
        if file is None or not os.path.isfile(file) or not file.endswith(self.suffix):
            raise _missing(self, raw, path)
        return file

    def identity(self, plain: object) -> object:
        with open(str(plain), "rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}


@dataclass(frozen=True)
class OutputPath(Kind):
    """A directory to write to, made absolute when assigned; it is created when first written to."""

    @property
    def accepts(self) -> str:
        return "directory (created when needed)"

    def check(self, raw: object, path: str) -> object:
        directory = _path_text(raw)
        if directory is None:
            raise self.wrong_type(raw, path)
        if not directory:
            raise self.wrong_value(raw, path)
        return os.path.realpath(directory)


@dataclass(frozen=True)
class GraphPool(Kind):
    """A memory pool handle: two ints of which at least one is 0."""

    @property
    def accepts(self) -> str:
        return "tuple of two ints of which at least one is 0"

    def check(self, raw: object, path: str) -> object:
        handle = _as_tuple(raw) or ()
        ints = [item for item in handle if isinstance(item, int) and not isinstance(item, bool)]
        if len(handle) != 2 or len(ints) != 2 or 0 not in ints:
            raise self.wrong_type(raw, path)
        return tuple(ints)

    def text(self, plain: object) -> object:
        return plain


def closest(name: str, candidates: tuple[str, ...]) -> str | None:
    """Returns a did-you-mean hint for `name`, or None when no candidate is near."""
    matches = get_close_matches(name, candidates, n=1)
    return f"{matches[0]!r} (did you mean that?)" if matches else None


def _jsonable(value: object) -> object:
    if isinstance(value, FrozenDict):
        pairs = [[_jsonable(key), _jsonable(item)] for key, item in value.items()]
        return {"dict": sorted(pairs, key=json.dumps)}
    if isinstance(value, tuple):
        return [_jsonable(item) for item in cast(tuple[object, ...], value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {"repr": repr(value)}


def _path_text(raw: object) -> str | None:
    if isinstance(raw, str):
        return raw
    return os.fspath(cast("os.PathLike[str]", raw)) if isinstance(raw, os.PathLike) else None


def _as_tuple(raw: object) -> tuple[object, ...] | None:
    return tuple(cast(list[object], raw)) if isinstance(raw, list | tuple) else None


def _missing(kind: Kind, raw: object, path: str) -> ConfigFileNotFoundError:
    return ConfigFileNotFoundError(
        f"option '{path}' names nothing that exists", expected=kind.allowed, found=repr(raw)
    )
