"""Gears: the few sizes that a dynamic dimension may have, declared by the user.

``set_dim_gears(x, {0: [8, 16]})`` makes one graph for exactly these sizes. In the capture modes
every combination is captured at the first call, so that no later call waits for a capture.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch.fx import GraphModule

from torchair.backend_ge.runtime.specialise import TensorSpec
from torchair.errors import ConfigError

MOST_COMBINATIONS = 100
"""Limit of public TorchAir and of GE."""
_ATTRIBUTE = "dim_gears"


def set_dim_gears(t: torch.Tensor, dim_gears: dict[int, list[int]]) -> None:
    """Declare the sizes that dimensions of a graph input may have; call it before the first call.

    Args:
        t: the input; its marked dimensions become dynamic.
        dim_gears: per dimension, 2 to 100 sizes, none of them 0.

    Raises:
        ConfigError: a dimension or size is illegal, or other gears were set before.
    """
    known = getattr(t, _ATTRIBUTE, None)
    if known is not None and known != dim_gears:
        raise ConfigError(
            "the gears of this tensor are set already", expected=str(known), found=str(dim_gears)
        )
    for dim, gears in dim_gears.items():
        _check_gears(t, dim, gears)
    for dim in dim_gears:
        torch._dynamo.mark_dynamic(t, dim)
    setattr(t, _ATTRIBUTE, {dim: list(gears) for dim, gears in dim_gears.items()})


def _check_gears(t: torch.Tensor, dim: Any, gears: Any) -> None:
    if type(dim) is not int or not 0 <= dim < t.dim():
        raise ConfigError(
            "gears are set for a dimension that the tensor does not have",
            expected=f"0 to {t.dim() - 1}",
            found=repr(dim),
        )
    if not isinstance(gears, list | tuple) or any(type(gear) is not int for gear in gears):
        raise ConfigError("gears must be a list of ints", found=repr(gears))
    if not 2 <= len(gears) <= MOST_COMBINATIONS or min(gears) < 1:
        raise ConfigError(
            f"gears of dimension {dim} are illegal",
            expected=f"2 to {MOST_COMBINATIONS} positive sizes",
            found=str(gears),
        )


@dataclass(frozen=True, slots=True)
class Gears:
    """The gears of one graph.

    Args:
        sizes: symbol of a dimension -> its gears.
        policy: ``zip``: the n-th gears belong together; ``product``: every combination.
    """

    sizes: dict[sympy.Symbol, tuple[int, ...]]
    policy: str

    def combinations(self) -> list[dict[sympy.Symbol, int]]:
        """Every assignment of sizes to symbols, without duplicates.

        Raises:
            ConfigError: lists of different lengths under ``zip``, or more than 100 combinations.
        """
        lists = list(self.sizes.values())
        if self.policy == "zip" and len({len(gears) for gears in lists}) > 1:
            raise ConfigError(
                "dynamic_gears_merge_policy 'zip' needs as many gears for every dimension",
                found=", ".join(f"{s}: {list(g)}" for s, g in self.sizes.items()),
                hint="config.inference_config.dynamic_gears_merge_policy = 'product'",
            )
        merged = zip(*lists, strict=True) if self.policy == "zip" else itertools.product(*lists)
        unique = list(dict.fromkeys(merged))
        if len(unique) > MOST_COMBINATIONS:
            raise ConfigError(
                "too many combinations of gears",
                expected=f"at most {MOST_COMBINATIONS}",
                found=str(len(unique)),
            )
        return [dict(zip(self.sizes, sizes, strict=True)) for sizes in unique]


def guard_gears(gm: GraphModule, inputs: Sequence[Any], policy: str) -> Gears | None:
    """Restrict a dynamo graph to the gears of its inputs; every other dimension becomes static.

    Args:
        gm: the graph.
        inputs: its example inputs; tensors may carry gears.
        policy: how gears of several dimensions combine.

    Returns:
        The gears, None when no input has any.

    Raises:
        ConfigError: a size is none of its gears.
    """
    placeholders = [node for node in gm.graph.nodes if node.op == "placeholder"]
    if not any(hasattr(value, _ATTRIBUTE) for value in inputs):
        return None
    sizes: dict[sympy.Symbol, tuple[int, ...]] = {}
    fakes = [node.meta.get("example_value") for node in placeholders]
    for node, given, fake in zip(placeholders, inputs, fakes, strict=True):
        for dim, gears in getattr(given, _ATTRIBUTE, {}).items():
            _guard_dim(node.name, dim, fake.shape[dim], sorted(gears))
            if isinstance(fake.shape[dim], torch.SymInt):
                sizes[fake.shape[dim].node.expr] = tuple(gears)
    for fake in fakes:
        for size in fake.shape if isinstance(fake, torch.Tensor) else ():
            if isinstance(size, torch.SymInt) and not size.node.expr.free_symbols <= set(sizes):
                int(size)  # specialises the dimension
    gears = Gears(sizes, policy)
    gears.combinations()
    return gears


def _guard_dim(name: str, dim: int, size: Any, gears: list[int]) -> None:
    found = size.node.hint if isinstance(size, torch.SymInt) else size
    if found not in gears:
        raise ConfigError(
            f"size {found} of dimension {dim} of input '{name}' is not one of its gears",
            expected=str(gears),
            found=str(found),
            hint="pad the input to the next gear, or add the size to set_dim_gears",
        )
    bool(size >= gears[0])
    bool(size <= gears[-1])
    for low, high in itertools.pairwise(gears):
        bool((size <= low) | (size >= high))


_current: ContextVar[Gears | None] = ContextVar("gears", default=None)


@contextmanager
def gears_of_graph(gears: Gears | None) -> Iterator[None]:
    """Make gears known to the compilers that AOT autograd calls."""
    token = _current.set(gears)
    try:
        yield
    finally:
        _current.reset(token)


def current_gears() -> Gears | None:
    """The gears of the graph being compiled."""
    return _current.get()


def arguments_for(
    values: Sequence[Any], sizes: dict[sympy.Symbol, int], given: Sequence[Any]
) -> list[Any] | None:
    """The arguments of a call with other sizes, tensors as their geometry.

    Args:
        values: what the compiler knows of each argument: a fake tensor or a number.
        sizes: the size of each symbol.
        given: the arguments of a real call.

    Returns:
        None when a tensor with other sizes is not contiguous: its strides are anybody's guess.
    """
    made: list[Any] = []
    for value, real in zip(values, given, strict=False):
        if not isinstance(real, torch.Tensor):
            made.append(_evaluate(value, sizes) if isinstance(value, torch.SymInt) else real)
            continue
        spec = _resized(real, tuple(_evaluate(size, sizes) for size in value.shape))
        if spec is None:
            return None
        made.append(spec)
    return made + [TensorSpec.of(constant) for constant in given[len(values) :]]


def gear_shapes(
    values: Sequence[Any], gears: Gears, positions: Sequence[int]
) -> list[dict[int, list[int]]]:
    """For each combination of gears, the shape of each graph input that depends on them.

    Args:
        values: what the compiler knows of each argument: a fake tensor or a number.
        gears: of the graph.
        positions: the argument of each graph input; those behind ``values`` are constants.
    """
    return [
        {
            index: [_evaluate(size, sizes) for size in values[position].shape]
            for index, position in enumerate(positions)
            if position < len(values)
            and isinstance(values[position], torch.Tensor)
            and any(isinstance(size, torch.SymInt) for size in values[position].shape)
        }
        for sizes in gears.combinations()
    ]


def _resized(tensor: torch.Tensor, shape: tuple[int, ...]) -> TensorSpec | None:
    """Geometry of a tensor of another shape; None when its strides do not follow from the shape."""
    if shape == tuple(tensor.shape):
        return TensorSpec.of(tensor)
    if not tensor.is_contiguous():
        return None
    return TensorSpec(shape, _contiguous(shape), tensor.dtype, tensor.device)


def _evaluate(size: Any, sizes: dict[sympy.Symbol, int]) -> Any:
    if not isinstance(size, torch.SymInt):
        return size
    known = size.node.expr.xreplace({s: sympy.Integer(v) for s, v in sizes.items()})
    return int(known) if known.is_Integer else size.node.hint


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(1, size)
    return tuple(reversed(strides))
