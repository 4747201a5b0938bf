"""Compiled results against eager's: structure, shapes, dtypes and values, or distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

UNDEFINED = frozenset(
    (
        "empty",
        "empty_like",
        "empty_strided",
        "empty_permuted",
        "new_empty",
        "new_empty_strided",
    )
)
"""Operators whose values are not defined: only shapes and dtypes are compared."""

_DRAWS = 4000
_MAX_RUNS = 64
_SIGMAS = 6.0


class Mismatch(AssertionError):
    """The compiled result differs from eager's.

    Attributes:
        kind: what differs: ``count``, ``type``, ``dtype``, ``shape``, ``layout``, ``values``,
            ``mean`` or ``spread``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def compare(found: Any, wanted: Any, tolerance: dict[str, float], values: bool = True) -> None:
    """Compare two results.

    Args:
        found: what the compiled function returned, any pytree.
        wanted: what eager returned.
        tolerance: ``rtol`` and ``atol``, or empty for PyTorch's defaults.
        values: compare values too, not only shapes and dtypes.

    Raises:
        Mismatch: naming the leaf.
    """
    ours, theirs = tree_leaves(found), tree_leaves(wanted)
    if len(ours) != len(theirs):
        raise Mismatch("count", f"{len(ours)} results, eager has {len(theirs)}")
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        _compare_leaf(index, one, other, tolerance, values)


def _compare_leaf(
    index: int, one: Any, other: Any, tolerance: dict[str, float], values: bool
) -> None:
    if not isinstance(other, torch.Tensor):
        if isinstance(other, float | complex):
            one, other = torch.tensor(one), torch.tensor(other)
        elif isinstance(other, torch.Generator) or one == other:
            return
        else:
            raise Mismatch("values", f"result {index} is {one!r}, eager has {other!r}")
    if not isinstance(one, torch.Tensor):
        raise Mismatch("type", f"result {index} is a {type(one).__name__}, eager has a tensor")
    for name in ("dtype", "shape", "layout"):
        if getattr(one, name) != getattr(other, name):
            ours, theirs = getattr(one, name), getattr(other, name)
            raise Mismatch(name, f"result {index} has {name} {ours}, eager {theirs}")
    if not values:
        return
    try:
        rtol, atol = tolerance.get("rtol"), tolerance.get("atol")
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol, equal_nan=True)
    except AssertionError as error:
        raise Mismatch("values", f"result {index}: {error}") from None


def are_as_accurate(ours: list[Any], theirs: list[Any], exact: list[Any]) -> bool:
    """Whether every tensor of ``ours`` is at most twice as far from ``exact`` as ``theirs`` is.

    The type, shape and non-finite places must be eager's, except where only eager's computation
    overflows: there ours must be close to the exact value. The distance is the greatest absolute
    difference.
    """
    if not len(ours) == len(theirs) == len(exact):
        return False
    return all(map(_is_as_accurate, ours, theirs, exact))


def _is_as_accurate(one: Any, other: Any, exact: Any) -> bool:
    if not all(isinstance(x, torch.Tensor) for x in (one, other, exact)):
        return one == other
    if one.dtype != other.dtype or one.shape != other.shape or other.shape != exact.shape:
        return False
    if not other.is_floating_point():
        return torch.equal(one, other)
    finite = other.isfinite()
    overflown = ~finite & exact.to(other.dtype).isfinite() & one.isfinite()
    if not torch.allclose(one[overflown].double(), exact[overflown].double(), rtol=2**-7):
        return False
    one, other = (torch.where(overflown, exact.to(other.dtype), x) for x in (one, other))
    finite = other.isfinite()
    if not torch.equal(finite, one.isfinite()):
        return False
    if not torch.allclose(one[~finite], other[~finite], equal_nan=True):
        return False
    off, allowed = ((x.double() - exact)[finite].abs() for x in (one, other))
    return finite.sum() == 0 or bool(off.max() <= 2 * allowed.max())


def is_random(run: Callable[[int], Any]) -> bool:
    """Whether a function of a seed gives different values under different seeds."""
    first = tree_leaves(run(1))
    for value in (2, 3, 4):
        for one, other in zip(first, tree_leaves(run(value)), strict=True):
            if isinstance(one, torch.Tensor) and not _same(one, other):
                return True
    return False


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, equal_nan=True)


def compare_distributions(ours: Callable[[int], Any], theirs: Callable[[int], Any]) -> None:
    """Mean and standard deviation of every tensor result, pooled over seeds.

    The bound is six standard errors: a right implementation fails once in 10^8 comparisons.

    Raises:
        Mismatch: naming the leaf.
    """
    wanted = tree_leaves(theirs(0))
    numel = max((x.numel() for x in wanted if isinstance(x, torch.Tensor)), default=1)
    runs = min(_MAX_RUNS, max(2, math.ceil(_DRAWS / max(1, numel))))
    compiled = [tree_leaves(ours(i)) for i in range(runs)]
    eager = [tree_leaves(theirs(1000 + i)) for i in range(runs)]
    compare(compiled[0], wanted, {}, values=False)
    for index, leaf in enumerate(wanted):
        if isinstance(leaf, torch.Tensor) and leaf.numel() > 0:
            _compare_moments(
                index,
                torch.stack([_real(r[index]) for r in compiled]).flatten(),
                torch.stack([_real(r[index]) for r in eager]).flatten(),
            )


def _compare_moments(index: int, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    spread = theirs.std().item()
    error = _SIGMAS * math.sqrt(2.0 / ours.numel()) * max(spread, 1e-6) + 1e-6
    off = abs(ours.mean().item() - theirs.mean().item())
    if not off <= error:
        raise Mismatch("mean", f"result {index}: means differ by {off:.4g}, allowed {error:.4g}")
    kurtosis = ((theirs - theirs.mean()) ** 4).mean().item() / max(spread, 1e-6) ** 4
    allowed = error * math.sqrt(max(1.0, kurtosis))
    off = abs(ours.std().item() - spread)
    if not off <= allowed:
        raise Mismatch(
            "spread", f"result {index}: spreads differ by {off:.4g}, allowed {allowed:.4g}"
        )


def _real(value: torch.Tensor) -> torch.Tensor:
    return (torch.view_as_real(value) if value.is_complex() else value).double()
