"""Snapshot: the frozen, hashable view of a configuration that the compiler and the caches read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torchair.config.option_group import OptionGroup, nearest_path
from torchair.config.options import ConfigAttributeError, content_hash
from torchair.errors import ConfigError


class Snapshot:
    """Plain values of a group and its subgroups at one moment: `snapshot.debug.graph_dump.type`.

    Equal content gives equal snapshots with equal hashes. Assigning raises ConfigError.
    """

    __slots__ = ("_group_class", "_hash", "_members", "_path")
    _group_class: type[OptionGroup]
    _hash: int
    _members: dict[str, object]
    _path: str

    def __init__(
        self, group_class: type[OptionGroup], members: Mapping[str, object], path: str = ""
    ) -> None:
        object.__setattr__(self, "_group_class", group_class)
        object.__setattr__(self, "_members", dict(members))
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_hash", content_hash((group_class.__name__, *members.values())))

    @staticmethod
    def of(group: OptionGroup) -> Snapshot:
        """Returns the snapshot of a group as it is now."""
        members: dict[str, object] = dict(group.plain_values())
        members.update({name: Snapshot.of(child) for name, child in group.children().items()})
        return Snapshot(type(group), members, group.path_of(""))

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Returns the dotted path and the plain value of every option, in declaration order."""
        return tuple((path, self[path]) for path in self._group_class.paths())

    def cache_identity(self) -> str | None:
        """Returns canonical JSON of the options that can change what is compiled, for keys on disk.

        A file is represented by the digest of its content as it is now, a callable by what its
        method `uuid()` returns. None means that a callable without that method is set: nothing
        tells whether it is the same in another process, so do not cache.
        """
        identity: dict[str, object] = {}
        for path, option in self._group_class.walk():
            if not option.in_cache_key:
                continue
            value = self[path]
            identity[path] = None if value is None else option.kind.identity(value)
            if value is not None and identity[path] is None:
                return None
        return json.dumps(identity, sort_keys=True, separators=(",", ":"))

    def __getitem__(self, path: str) -> Any:
        """Returns the plain value at a dotted path."""
        value: Any = self
        for name in path.split("."):
            value = getattr(value, name)
        return value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._members[name]
        except KeyError:
            near = nearest_path(name, tuple(self._group_class.paths()))
            raise ConfigAttributeError(
                f"no option '{self._path}{name}'",
                expected=f"one of {', '.join(self._members)}",
                found=name,
                hint=f"'{self._path}{near}' (did you mean that?)" if near else None,
            ) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise ConfigError(
            f"cannot set '{self._path}{name}': a snapshot is frozen",
            hint="set the option on a CompilerConfig and take a new snapshot",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Snapshot, (self._group_class, self._members, self._path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return self._group_class is other._group_class and self._members == other._members

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        defaults = {path: option.default for path, option in self._group_class.walk()}
        changed = [f"{path}={v!r}" for path, v in self.items() if v != defaults[path]]
        return f"Snapshot({', '.join(changed)})"
