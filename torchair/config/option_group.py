"""Groups of options: class attributes declare the options, instances hold their values.

An option is declared once, as an `Option` in a group class. Reading it from an instance gives an
`OptionValue`, a live handle on the stored value; assigning to it parses the new value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

from torchair.config.options import ConfigAttributeError, ConfigTypeError, Kind, content_hash
from torchair.errors import ConfigError

GE_MODE = "max-autotune"
CAPTURE_MODES = ("reduce-overhead", "npugraph_ex")
ALL_MODES = (GE_MODE, *CAPTURE_MODES)


class Option:
    """Declaration of one option.

    Args:
        kind: the accepted values.
        default: the plain value of an option that is not set.
        doc: what it does, one sentence.
        modes: the modes in which it has an effect.
        in_cache_key: whether it can change what is compiled; False for what only observes.
        own: True when the option is torchair's own, absent from the public option tree.
    """

    def __init__(
        self,
        kind: Kind,
        default: object,
        doc: str,
        *,
        modes: tuple[str, ...] = ALL_MODES,
        in_cache_key: bool = True,
        own: bool = False,
    ) -> None:
        self.kind = kind
        self.default = default
        self.doc = doc
        self.modes = modes
        self.in_cache_key = in_cache_key
        self.own = own
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, group: None, owner: type[object]) -> Option: ...

    @overload
    def __get__(self, group: OptionGroup, owner: type[object]) -> OptionValue: ...

    def __get__(self, group: OptionGroup | None, owner: type[object]) -> Option | OptionValue:
        return self if group is None else OptionValue(group, self)

    def __set__(self, group: OptionGroup, value: object) -> None:
        OptionValue(group, self).value = value


class OptionValue:
    """Handle on the value of one option of one group.

    `.value` reads as the public API does (text, "1"/"0" for a bool, None), `.get()` gives the plain
    value. Truth, `str`, `int`, `==` and `hash` are those of the plain value.
    """

    __slots__ = ("_group", "_option")

    def __init__(self, group: OptionGroup, option: Option) -> None:
        self._group = group
        self._option = option

    def get(self) -> Any:
        """Returns the plain value: bool, int, str, tuple, FrozenDict, callable or None."""
        return self._group.plain_values()[self._option.name]

    @property
    def value(self) -> Any:
        """The value as text, for code written against the public API."""
        return self._option.kind.text(self.get())

    @value.setter
    def value(self, raw: object) -> None:
        plain = raw.get() if isinstance(raw, OptionValue) else raw
        self._group.store(self._option.name, self._option.kind.parse(plain, self.path))

    @property
    def path(self) -> str:
        """The full dotted name, e.g. ``debug.graph_dump.type``."""
        return self._group.path_of(self._option.name)

    @property
    def default(self) -> Any:
        """The plain default."""
        return self._option.default

    @property
    def allowed(self) -> str:
        """The accepted values, in words."""
        return self._option.kind.allowed

    def __bool__(self) -> bool:
        return bool(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __repr__(self) -> str:
        return f"<option {self.path} = {self.get()!r}>"

    def __eq__(self, other: object) -> bool:
        return self.get() == (other.get() if isinstance(other, OptionValue) else other)

    def __hash__(self) -> int:
        plain = self.get()
        return content_hash((plain,)) if callable(plain) else hash(plain)


G = TypeVar("G", bound="OptionGroup")


class Subgroup(Generic[G]):
    """Declaration of a group inside a group. Assigning a group of the same class copies it."""

    def __init__(self, group_class: type[G]) -> None:
        self.group_class = group_class
        self.name = ""

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, group: None, owner: type[object]) -> Subgroup[G]: ...

    @overload
    def __get__(self, group: OptionGroup, owner: type[object]) -> G: ...

    def __get__(self, group: OptionGroup | None, owner: type[object]) -> Subgroup[G] | G:
        if group is None:
            return self
        child = group.children()[self.name]
        assert isinstance(child, self.group_class)
        return child

    def __set__(self, group: OptionGroup, value: object) -> None:
        child = group.children()[self.name]
        if type(value) is not type(child):
            raise ConfigTypeError(
                f"'{group.path_of(self.name)}' is a group of options",
                expected=f"a {type(child).__name__}, or assignments to its options",
                found=repr(value),
                hint=f"'{group.path_of(self.name)}.{next(type(child).paths())}' = ...",
            )
        assert isinstance(value, OptionGroup)
        child.assign(value)


class OptionGroup:
    """Base of all option groups. Only declared options can be set."""

    declared_options: ClassVar[Mapping[str, Option]] = MappingProxyType({})
    declared_groups: ClassVar[Mapping[str, Subgroup[Any]]] = MappingProxyType({})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls).items()
        options = {name: item for name, item in own if isinstance(item, Option)}
        groups: dict[str, Subgroup[Any]] = {
            name: cast(Subgroup[Any], item) for name, item in own if isinstance(item, Subgroup)
        }
        cls.declared_options = MappingProxyType({**cls.declared_options, **options})
        cls.declared_groups = MappingProxyType({**cls.declared_groups, **groups})

    def __init__(self, path: str = "", root: type[OptionGroup] | None = None) -> None:
        root = root or type(self)
        values = {name: option.default for name, option in self.declared_options.items()}
        prefix = f"{path}." if path else ""
        groups = {
            name: group.group_class(prefix + name, root)
            for name, group in self.declared_groups.items()
        }
        self.__dict__.update(_prefix=prefix, _root=root, _values=values, _groups=groups)

    @classmethod
    def walk(cls, prefix: str = "") -> Iterator[tuple[str, Option]]:
        """Yields the dotted path and the declaration of every option, subgroups included."""
        for name, option in cls.declared_options.items():
            yield prefix + name, option
        for name, group in cls.declared_groups.items():
            yield from group.group_class.walk(f"{prefix}{name}.")

    @classmethod
    def paths(cls) -> Iterator[str]:
        """Yields the dotted path of every option."""
        for path, _ in cls.walk():
            yield path

    def path_of(self, name: str) -> str:
        """Returns the full dotted path of a member of this group."""
        return f"{self.__dict__['_prefix']}{name}"

    def plain_values(self) -> Mapping[str, Any]:
        """Returns the plain values of this group's own options, by name."""
        return MappingProxyType(self.__dict__["_values"])

    def children(self) -> Mapping[str, OptionGroup]:
        """Returns the subgroups, by name."""
        return MappingProxyType(self.__dict__["_groups"])

    def store(self, name: str, plain: object) -> None:
        """Stores a plain value that the option's kind has parsed already."""
        self.__dict__["_values"][name] = plain

    def assign(self, other: OptionGroup) -> None:
        """Takes over all values of a group of the same class."""
        self.__dict__["_values"].update(other.plain_values())
        for name, child in self.children().items():
            child.assign(other.children()[name])

    def flat_values(self) -> dict[str, Any]:
        """Returns the plain value of every option below this group by its path from here."""
        values = dict(self.plain_values())
        for name, child in self.children().items():
            values.update({f"{name}.{path}": item for path, item in child.flat_values().items()})
        return values

    def changed_values(self) -> dict[str, Any]:
        """Returns the plain values that differ from the default, by path."""
        defaults = {path: option.default for path, option in self.walk()}
        return {path: v for path, v in self.flat_values().items() if v != defaults[path]}

    def copy(self) -> Self:
        """Returns an independent copy."""
        twin = type(self).__new__(type(self))
        groups = {name: child.copy() for name, child in self.children().items()}
        twin.__dict__.update(self.__dict__, _values=dict(self.plain_values()), _groups=groups)
        return twin

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.declared_options and name not in self.declared_groups:
            raise self._unknown(name, ConfigError)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._unknown(name, ConfigAttributeError)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OptionGroup) or type(other) is not type(self):
            return NotImplemented
        return self.flat_values() == other.flat_values()

    def __hash__(self) -> int:
        return content_hash((type(self).__name__, *self.flat_values().values()))

    def __repr__(self) -> str:
        changed = ", ".join(f"{path}={v!r}" for path, v in self.changed_values().items())
        return f"{type(self).__name__}({changed})"

    def _unknown(self, name: str, error: type[ConfigError]) -> ConfigError:
        members = (*self.declared_options, *self.declared_groups)
        root: type[OptionGroup] = self.__dict__["_root"]
        near = get_close_matches(name, members, n=1)
        suggestion = self.path_of(near[0]) if near else nearest_path(name, tuple(root.paths()))
        return error(
            f"no option '{self.path_of(name)}' in {root.__name__}",
            expected=f"one of {', '.join(members)}",
            found=name,
            hint=f"'{suggestion}' (did you mean that?)" if suggestion else None,
        )


def nearest_path(name: str, paths: tuple[str, ...]) -> str | None:
    """Returns the path whose last name is nearest to the last name of `name`, or None."""
    by_leaf = {path.rpartition(".")[2]: path for path in reversed(paths)}
    near = get_close_matches(name.rpartition(".")[2], by_leaf, n=1)
    return by_leaf[near[0]] if near else None
