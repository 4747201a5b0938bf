"""Which ATen operators are decomposed before import: all of PyTorch's core decompositions but those
of operators that have a converter, so that the GE graph keeps operators as whole as GE knows
them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions

from torchair.frontend.decompositions.bessel import OWN_DECOMPOSITIONS as BESSEL
from torchair.frontend.decompositions.conditional import conditional_decompositions
from torchair.frontend.decompositions.counting import OWN_DECOMPOSITIONS as COUNTING
from torchair.frontend.decompositions.gradient import OWN_DECOMPOSITIONS as GRADIENTS
from torchair.frontend.decompositions.grouped import transformers_experts
from torchair.frontend.decompositions.linalg import OWN_DECOMPOSITIONS as LINALG
from torchair.frontend.decompositions.model import OWN_DECOMPOSITIONS
from torchair.frontend.decompositions.polynomial import OWN_DECOMPOSITIONS as POLYNOMIALS
from torchair.frontend.decompositions.pooling import OWN_DECOMPOSITIONS as POOLING
from torchair.frontend.decompositions.quantization import OWN_DECOMPOSITIONS as QUANTIZATION
from torchair.frontend.decompositions.quantization import quantized_decomposed
from torchair.frontend.decompositions.resampling import OWN_DECOMPOSITIONS as RESAMPLING
from torchair.frontend.decompositions.segment import OWN_DECOMPOSITIONS as SEGMENTS
from torchair.frontend.decompositions.special import OWN_DECOMPOSITIONS as SPECIAL
from torchair.frontend.fx_import import aten_name
from torchair.passes.convert_aten_to_ge.registry import converters

_EXTRA = [
    torch.ops.aten.native_layer_norm_backward,
    torch.ops.aten.native_batch_norm_backward,
    torch.ops.aten.native_dropout_backward,
    torch.ops.aten._native_batch_norm_legit_functional,
    torch.ops.aten._safe_softmax,
    torch.ops.aten.embedding_dense_backward,
    torch.ops.aten.select_backward,
    torch.ops.aten.slice_backward,
    torch.ops.aten._euclidean_dist,
    # Outside PyTorch's core set, but it has decompositions that end in operators we convert.
    torch.ops.aten._addmm_activation,
    torch.ops.aten._batch_norm_no_update,
    torch.ops.aten._batch_norm_with_update,
    torch.ops.aten._batch_norm_with_update_functional,
    torch.ops.aten._native_batch_norm_legit,
    torch.ops.aten.addmm.dtype,
    torch.ops.aten.alpha_dropout,
    torch.ops.aten.batch_norm_backward,
    torch.ops.aten.bitwise_and.Scalar_Tensor,
    torch.ops.aten.bitwise_left_shift.Scalar_Tensor,
    torch.ops.aten.bitwise_or.Scalar_Tensor,
    torch.ops.aten.bitwise_right_shift.Scalar_Tensor,
    torch.ops.aten.bitwise_xor.Scalar_Tensor,
    torch.ops.aten.cauchy.default,
    torch.ops.aten.dist,
    torch.ops.aten.exponential.default,
    torch.ops.aten.ldexp.Tensor,
    torch.ops.aten.log_normal.default,
    torch.ops.aten.native_batch_norm,
    torch.ops.aten.rrelu_with_noise_backward,
    torch.ops.aten.uniform.default,
]


def _true_divide(self: Tensor, other: Any) -> Tensor:
    return torch.div(self, other)


def _normal(mean: Any, std: Any, generator: torch.Generator | None = None) -> Tensor:
    """``aten::normal`` with a mean or a deviation per element."""
    like = mean if isinstance(mean, Tensor) else std
    if isinstance(mean, Tensor) and isinstance(std, Tensor):
        like = mean + std
    return torch.randn_like(like, dtype=like.dtype) * std + mean


def _normal_of_size(
    mean: float, std: float, size: list[int], *, generator: torch.Generator | None = None, **kw: Any
) -> Tensor:
    return torch.randn(size, **kw) * std + mean


def _geometric(self: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Trials up to the first success; integers are drawn through float32 too."""
    dtype = self.dtype if self.dtype.is_floating_point else torch.float32
    drawn = torch.rand_like(self, dtype=dtype)
    return ((-drawn).log1p() / math.log1p(-p)).floor().add(1).to(self.dtype)


def _p_distance(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension, which may be empty."""
    if difference.shape[-1] == 0:
        return difference.sum(-1)
    size = difference.abs()
    if p == 0:
        return (size != 0).to(size.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if p == 2:
        return (size * size).sum(-1).sqrt()
    return size.amax(-1) if p == float("inf") else size.pow(p).sum(-1).pow(1 / p)


def _cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    """Distances of all pairs of rows: [..., m, k] and [..., n, k] to [..., m, n]."""
    return _p_distance(x1.unsqueeze(-2) - x2.unsqueeze(-3), p)


def _pdist(self: Tensor, p: float = 2) -> Tensor:
    """Distances of the pairs i < j of rows: [n, k] to [n (n - 1) / 2]."""
    rows, columns = torch.triu_indices(self.shape[0], self.shape[0], 1, device=self.device)
    return _p_distance(self[rows] - self[columns], p)


def _index_reduce(
    self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Like scatter_reduce with one index per slice of ``dim``."""
    if self.dim() == 0:
        one = self.reshape(1), 0, index.reshape(-1), source.reshape(-1), reduce
        return _index_reduce(*one, include_self=include_self).reshape(())
    shape = [1] * self.dim()
    shape[dim] = -1
    places = index.reshape(shape).expand(source.shape)
    return torch.scatter_reduce(self, dim, places, source, reduce, include_self=include_self)


def _rrelu_with_noise(
    self: Tensor,
    noise: Tensor,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    if not training:
        return torch.where(self > 0, self, self * ((lower + upper) / 2)), noise
    drawn = torch.rand_like(self) * (upper - lower) + lower
    slope = torch.where(self > 0, torch.ones_like(self), drawn)
    return self * slope, slope


def _empty_permuted(size: list[int], physical_layout: list[int], **kw: Any) -> Tensor:
    kept = {k: v for k, v in kw.items() if k in ("dtype", "device") and v is not None}
    places = [physical_layout.index(i) for i in range(len(size))]
    return torch.empty([size[i] for i in physical_layout], **kept).permute(places)


_OWN: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.true_divide.Tensor: _true_divide,
    torch.ops.aten.true_divide.Scalar: _true_divide,
    torch.ops.aten.normal.Tensor_Tensor: _normal,
    torch.ops.aten.normal.Tensor_float: _normal,
    torch.ops.aten.normal.float_Tensor: _normal,
    torch.ops.aten.normal.float_float: _normal_of_size,
    torch.ops.aten.geometric.default: _geometric,
    torch.ops.aten._cdist_forward.default: _cdist,
    torch.ops.aten._pdist_forward.default: _pdist,
    torch.ops.aten.index_reduce.default: _index_reduce,
    torch.ops.aten.rrelu_with_noise_functional.default: _rrelu_with_noise,
    torch.ops.aten.empty_permuted.default: _empty_permuted,
}
"""Where PyTorch has no decomposition; a converter of the operator takes precedence."""


@cache
def _core() -> dict[Any, Callable[..., Any]]:
    return {
        **core_aten_decompositions(),
        **get_decompositions(_EXTRA),
        **_OWN,
        **COUNTING,
        **GRADIENTS,
        **POOLING,
        **QUANTIZATION,
        **RESAMPLING,
        **SEGMENTS,
    }


def default_decompositions() -> dict[Any, Callable[..., Any]]:
    """The decomposition table for AOT autograd."""
    known = converters()
    table = {
        op: function
        for op, function in _core().items()
        if not isinstance(op, torch._ops.OpOverload) or aten_name(op) not in known
    }
    own = {**OWN_DECOMPOSITIONS, **LINALG, **SPECIAL, **BESSEL, **POLYNOMIALS}
    traced = {**quantized_decomposed(), **transformers_experts()}
    return {**table, **conditional_decompositions(), **own, **traced}
