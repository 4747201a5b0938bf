"""What is swept: groups of OpInfo samples, one per operator, dtype, shape mode and variant."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy
import torch
from torch.testing._internal.common_device_type import toleranceOverride
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_utils import SEED
from torch.utils._pytree import tree_map

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "bool": torch.bool,
    "complex64": torch.complex64,
}
MODES = ("static", "dynamic")
PATHS = ("dynamo", "direct")

_NUMERIC_TESTS = {
    "TestCommon",
    "TestInductorOpInfo",
    "TestConsistency",
    "TestDecomp",
    "TestUnaryUfuncs",
    "TestBinaryUfuncs",
}
"""PyTorch test classes whose tolerance overrides speak of one result against another."""


@dataclass(frozen=True, order=True)
class Group:
    """All samples of one operator that are compiled alike.

    Args:
        op: OpInfo name with its variant, e.g. ``nn.functional.pad.constant``.
        dtype: name of the sample's dtype, e.g. ``float32``.
        mode: ``static`` or ``dynamic`` shapes.
        inplace: the in-place method instead of the function.
    """

    op: str
    dtype: str
    mode: str
    inplace: bool = False

    def __str__(self) -> str:
        return f"{self.op}{' in-place' if self.inplace else ''} {self.dtype} {self.mode}"


def _whole(result: Any) -> Any:
    return result


FREE_SIGNS = frozenset(("linalg.eig", "linalg.eigh", "linalg.svd", "svd"))
"""Operators whose vectors are defined up to a sign or phase, which OpInfo's samples take away."""


FREE_PLACES = {"kthvalue": ("k", "dim", "keepdim"), "mode": ("dim", "keepdim")}
"""Operators that may return the place of any of several equal values, with their parameters."""


@dataclass(frozen=True)
class Sample:
    """One call: ``function(*args, **kwargs)``; never written, use ``fresh``.

    Args:
        defined: maps a result to what the operator defines of it, e.g. vectors without their sign.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    defined: Callable[[Any], Any] = _whole

    def fresh(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments that may be written; strides and aliasing are kept."""
        return copy.deepcopy((self.args, self.kwargs))

    def in_double(self) -> Callable[[], Any]:
        """The call on the same values in float64."""
        args, kwargs = tree_map(_as_double, self.fresh())
        return lambda: self.function(*args, **kwargs)


def _as_double(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        return leaf.double()
    return leaf


@cache
def operators() -> dict[str, Any]:
    """OpInfo objects by full name.

    OpInfo wraps random operators so that they set a fixed seed and restore the generator, which
    dynamo cannot trace and which hides that they are random: the wrapper is replaced.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("torch.testing._internal") and hasattr(module, "wrapper_set_seed"):
            vars(module)["wrapper_set_seed"] = _call
    return {op.full_name: op for op in op_db}


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def dtypes_of(op: Any) -> list[str]:
    """The swept dtypes that eager supports on the CPU."""
    supported = op.supported_dtypes("cpu")
    return [name for name, dtype in DTYPES.items() if dtype in supported]


def groups(
    ops: Iterable[str] | None = None,
    dtypes: Iterable[str] = tuple(DTYPES),
    modes: Iterable[str] = MODES,
) -> list[Group]:
    """Every group of the given operators (all of op_db when None)."""
    wanted_dtypes, wanted_modes = list(dtypes), list(modes)
    found: list[Group] = []
    for name in operators() if ops is None else ops:
        op = operators()[name]
        for dtype in (d for d in dtypes_of(op) if d in wanted_dtypes):
            for mode in wanted_modes:
                found.append(Group(name, dtype, mode))
                if op.inplace_variant is not None:
                    found.append(Group(name, dtype, mode, inplace=True))
    return found


def samples_of(group: Group, limit: int | None = None) -> dict[int, Sample]:
    """Samples by index, at most ``limit`` of them, evenly spread; the same in every run."""
    op = operators()[group.op]
    function = op.inplace_variant if group.inplace else op
    seed()
    found = [
        Sample(function, (s.input, *s.args), dict(s.kwargs), _defined(group, s))
        for s in _drawn(op, DTYPES[group.dtype])
        if not (group.inplace and s.broadcasts_input)
    ]
    count = len(found)
    chosen = range(count)
    if limit is not None and count > limit:
        chosen = sorted({i * (count - 1) // max(1, limit - 1) for i in range(limit)})
    return {i: found[i] for i in chosen}


def _drawn(op: Any, dtype: torch.dtype) -> Iterator[Any]:
    """What ``OpInfo.sample_inputs`` yields, without its search of the stack for a test's name."""
    samples = iter(op.sample_inputs_func(op, "cpu", dtype, False))
    while True:
        seed(SEED)
        try:
            yield next(samples)
        except StopIteration:
            return


def _defined(group: Group, sample: Any) -> Callable[[Any], Any]:
    """What the operator defines of its result."""
    if group.op in FREE_SIGNS:
        return sample.output_process_fn_grad
    if group.op not in FREE_PLACES or sample.input.dim() == 0:
        return _whole
    given = {**dict(zip(FREE_PLACES[group.op], sample.args, strict=False)), **sample.kwargs}
    dim, keepdim = given.get("dim", -1), given.get("keepdim", False)

    def values_and_what_is_there(result: Any) -> Any:
        values, places = result
        return values, sample.input.gather(dim, places if keepdim else places.unsqueeze(dim))

    return values_and_what_is_there


def seed(value: int = 0) -> None:
    """Seed every generator that samples and random operators draw from.

    ``torch.manual_seed`` keeps a stack trace for each kind of device; only the CPU is drawn from.
    """
    torch.default_generator.manual_seed(value)
    random.seed(value)
    numpy.random.seed(value)


def tolerance_of(group: Group) -> dict[str, float]:
    """The loosest ``rtol`` and ``atol`` that OpInfo has for the CPU; empty when it has none."""
    op, dtype = operators()[group.op], DTYPES[group.dtype]
    found: list[tuple[float, float]] = []
    for info in op.decorators:
        if getattr(info, "device_type", None) not in (None, "cpu"):
            continue
        if getattr(info, "cls_name", None) not in {None, *_NUMERIC_TESTS}:
            continue
        for decorator in getattr(info, "decorators", [info]):
            if isinstance(decorator, toleranceOverride) and dtype in decorator.d:
                found.append((decorator.d[dtype].rtol, decorator.d[dtype].atol))
    if not found:
        return {}
    default_rtol, default_atol = _default_tolerance(dtype)
    return {
        "rtol": max(default_rtol, *(r for r, _ in found)),
        "atol": max(default_atol, *(a for _, a in found)),
    }


def _default_tolerance(dtype: torch.dtype) -> tuple[float, float]:
    return torch.testing._comparison.default_tolerances(dtype)
