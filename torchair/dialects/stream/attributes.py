"""Discardable attributes that place an operation, and the node attributes GE has for them.

Modules of aten operations carry the names on the left, ge modules (and GE graphs) GE's own:

    stream.label = "side"             _user_stream_label = "side"
    stream.priority = 1               _user_stream_priority = "1"
    stream.parallel = true            _enable_inner_parallel = true
    stream.aicore = 4                 _op_aicore_num = "4"
    stream.vectorcore = 8             _op_vectorcore_num = "8"
    stream.super_kernel = "attn"      _super_kernel_scope = "attn"
    stream.super_kernel_options = ""  _super_kernel_options = ""
    stream.never_timeout = true       _op_exec_never_timeout = true
    stream.dump                       torchair_enable_data_dump = "True"

``stream.index`` is the physical stream, ``stream.buffers`` names the memory of each result, and
``stream.why`` says why the scheduler put an operation where it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from xdsl.dialects.builtin import IntegerAttr, StringAttr, UnitAttr
from xdsl.ir import Attribute, Operation

from torchair.errors import ConversionError
from torchair.ir import interned

MAIN: Final = ""
"""Label of the stream that the function starts and ends on."""

LABEL: Final = "stream.label"
PRIORITY: Final = "stream.priority"
PARALLEL: Final = "stream.parallel"
AICORE: Final = "stream.aicore"
VECTORCORE: Final = "stream.vectorcore"
SUPER_KERNEL: Final = "stream.super_kernel"
SUPER_KERNEL_OPTIONS: Final = "stream.super_kernel_options"
NEVER_TIMEOUT: Final = "stream.never_timeout"
DUMP: Final = "stream.dump"
INDEX: Final = "stream.index"
BUFFERS: Final = "stream.buffers"
WHY: Final = "stream.why"
SYNC: Final = "stream.sync"
"""Attribute of a module: ``events`` when only events order streams, ``data`` when the engine orders
every use after its producer by itself, as GE does. ge modules have ``data`` without saying so."""

GE_LABEL: Final = "_user_stream_label"
GE_NAMES: Final[Mapping[str, str]] = {
    LABEL: GE_LABEL,
    PRIORITY: "_user_stream_priority",
    PARALLEL: "_enable_inner_parallel",
    AICORE: "_op_aicore_num",
    VECTORCORE: "_op_vectorcore_num",
    SUPER_KERNEL: "_super_kernel_scope",
    SUPER_KERNEL_OPTIONS: "_super_kernel_options",
    NEVER_TIMEOUT: "_op_exec_never_timeout",
    DUMP: "torchair_enable_data_dump",
}
"""Attribute -> name of the node attribute."""
SCOPE_KEYS: Final[Mapping[str, str]] = {name: key for key, name in GE_NAMES.items()}
"""Key of a scope (GE's names) -> attribute."""

_AS_TEXT: Final = frozenset((PRIORITY, AICORE, VECTORCORE))
"""Numbers that GE keeps as decimal text."""
_PLAIN_PREFIX: Final = "ge.attr."


def label_of(op: Operation) -> str:
    """Label of an operation's stream; ``MAIN`` when it has none."""
    attributes = op.attributes
    if not attributes:
        return MAIN
    found = attributes.get(LABEL) or attributes.get(GE_LABEL)
    return found.data if isinstance(found, StringAttr) else MAIN


def stream_of(op: Operation) -> int | str:
    """What tells streams apart: the physical stream when one is assigned, else the label."""
    if not op.attributes:
        return 0
    index = op.attributes.get(INDEX)
    if isinstance(index, IntegerAttr):
        return cast("IntegerAttr[Any]", index).value.data
    return label_of(op) or 0


def torch_stream_label(number: int) -> str:
    """Label of a ``torch.Stream`` by the number that dynamo gave it."""
    return f"torch_stream_{number}"


def cores_of(op: Operation, key: str) -> int | None:
    """``AICORE`` or ``VECTORCORE`` of an operation, by our name or GE's; None without a limit."""
    value = op.attributes.get(key) or op.attributes.get(GE_NAMES[key]) if op.attributes else None
    if isinstance(value, StringAttr):
        return int(value.data) if value.data.isdecimal() else None
    if isinstance(value, IntegerAttr):
        return cast("IntegerAttr[Any]", value).value.data
    return None


_PLACEMENT: Final = frozenset((*GE_NAMES, *GE_NAMES.values(), INDEX, BUFFERS))


def has_placement(op: Operation) -> bool:
    """Whether an operation has any attribute of this dialect, by its own name or GE's."""
    return not _PLACEMENT.isdisjoint(op.attributes)


def ge_attributes(op: Operation) -> dict[str, Attribute]:
    """Node attributes of GE for the scheduling attributes of an operation."""
    found: dict[str, Attribute] = {}
    if not op.attributes:
        return found
    for key, name in GE_NAMES.items():
        value = op.attributes.get(key)
        if value is None:
            continue
        if key in _AS_TEXT and isinstance(value, IntegerAttr):
            value = interned.string(str(cast("IntegerAttr[Any]", value).value.data))
        elif isinstance(value, UnitAttr):
            value = interned.string("True")
        found[name if name.startswith("_") else _PLAIN_PREFIX + name] = value
    return found


def scope_attributes(keys: Sequence[str], values: Sequence[str]) -> dict[str, Attribute]:
    """Attributes of what stands inside a scope.

    Args:
        keys: GE's names, as ``scope_enter`` has them.
        values: one text per key.

    Raises:
        ConversionError: an unknown key, or a value that its key does not take.
    """
    if len(keys) != len(values):
        raise ConversionError("a scope has as many keys as values", found=f"{keys} and {values}")
    return {_attribute_of(key): _read(key, value) for key, value in zip(keys, values, strict=True)}


def _attribute_of(key: str) -> str:
    found = SCOPE_KEYS.get(key)
    if found is None:
        raise ConversionError(f"unknown scope key '{key}'", expected=", ".join(SCOPE_KEYS))
    return found


def _read(key: str, value: str) -> Attribute:
    attribute = _attribute_of(key)
    if attribute in _READERS:
        return _READERS[attribute](key, value)
    return interned.string(value)


def _number(low: int, high: int) -> Callable[[str, str], Attribute]:
    def read(key: str, value: str) -> Attribute:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ConversionError(
                f"scope value of '{key}' is out of range",
                expected=f"a whole number from {low} to {high}",
                found=repr(value),
            )
        return interned.integer(number)

    return read


def _truth(key: str, value: str) -> Attribute:
    if value not in ("True", "False"):
        raise ConversionError(
            f"scope value of '{key}' is not a truth value", expected="True or False", found=value
        )
    return interned.true if value == "True" else interned.false


def _presence(key: str, value: str) -> Attribute:
    _truth(key, value)
    return interned.unit


def _name(key: str, value: str) -> Attribute:
    if not value:
        raise ConversionError(f"scope value of '{key}' is empty", hint="give the stream a name")
    return interned.string(value)


SUPER_KERNEL_KEYS: Final[Mapping[str, frozenset[str] | None]] = {
    "feed-sync-all": None,
    "stream-fusion": None,
    "strict-scope-check": frozenset(("bypass", "abort")),
    "dcci-before-kernel-start": None,
    "dcci-after-kernel-end": None,
    "dcci-disable-on-kernel": None,
    "debug-aic-num": None,
    "debug-aiv-num": None,
}
"""Known options of super kernels, with their values where these are few."""


def _super_kernel_options(key: str, value: str) -> Attribute:
    for item in value.split(":") if value else ():
        name, equals, chosen = item.partition("=")
        if not (name and equals and chosen):
            raise ConversionError(
                "an option of a super kernel is not key=value",
                expected="key=value, separated by colons",
                found=repr(value),
            )
        _check_super_kernel_option(name, chosen)
    return interned.string(value)


def _check_super_kernel_option(name: str, chosen: str) -> None:
    """Wrong values and misspelt names are refused; names that nothing is like may be new in GE."""
    values = SUPER_KERNEL_KEYS.get(name)
    if values is not None and chosen not in values:
        raise ConversionError(
            f"super kernel option '{name}' does not take this value",
            expected=" or ".join(sorted(values)),
            found=repr(chosen),
        )
    close = difflib.get_close_matches(name, SUPER_KERNEL_KEYS, n=1, cutoff=0.85)
    if close and close[0] != name:
        raise ConversionError(
            f"unknown super kernel option '{name}'", expected=f"'{close[0]}' is alike"
        )


MAX_CORES: Final = 1024
"""Above every device; the device's own count is checked against its limits."""
_READERS: Final[Mapping[str, Callable[[str, str], Attribute]]] = {
    LABEL: _name,
    PRIORITY: _number(-8, 8),
    PARALLEL: _truth,
    AICORE: _number(1, MAX_CORES),
    VECTORCORE: _number(0, MAX_CORES),
    NEVER_TIMEOUT: _truth,
    SUPER_KERNEL_OPTIONS: _super_kernel_options,
    DUMP: _presence,
}
