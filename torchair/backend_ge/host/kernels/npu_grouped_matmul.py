"""Kernels of grouped matrix products, after the definitions of the GE operators."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_grouped_rows import column_groups, row_groups
from torchair.backend_ge.host.kernels.npu_matmul import antiquant, fast_gelu, product
from torchair.backend_ge.host.kernels.npu_quantization_values import dequant_factor
from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.backend_ge.host.narrow_types import dequantized, is_four_bit, quantized
from torchair.errors import EngineError

NO_GROUPS, ROWS, INNER = -1, 0, 2
"""``group_type``: every tensor is a group, groups of rows, groups of the inner dimension."""
RESULT_DTYPES = {-1: torch.int8, 0: torch.float16, 1: torch.bfloat16, 2: torch.int32}
"""``dtype`` of quantised products."""
_ACTIVATIONS = (
    None,
    torch.relu,
    lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    torch.nn.functional.gelu,
    fast_gelu,
    torch.nn.functional.silu,
)


def group_ends(group_list: Tensor, kind: int, groups: int) -> Tensor:
    """Where each group ends.

    Args:
        group_list: ends (kind 0), sizes (1), or ``[groups, 2]`` numbers and sizes (2).
        kind: ``group_list_type``.
        groups: number of groups of kind 2.
    """
    numbers = group_list.long()
    if kind == 0:
        return numbers
    if kind == 1:
        return numbers.cumsum(0)
    sizes = torch.zeros(groups, dtype=torch.int64, device=numbers.device)
    return torch.scatter_add(sizes, 0, numbers[:, 0], numbers[:, 1]).cumsum(0)


@dataclass(frozen=True, slots=True)
class _Factors:
    """What is added to and multiplied with the products, a list of one tensor or one per group."""

    bias: list[Tensor]
    scale: list[Tensor]
    offset: list[Tensor]
    per_token_scale: Tensor | None
    act_type: int
    dtype: torch.dtype

    def finish(self, found: Tensor, pick: int | Tensor | None, rows: slice) -> Tensor:
        """The result of a group (``pick`` is its number) or of rows whose groups are given."""
        bias = _picked(self.bias, pick)
        if bias is not None and not bias.is_floating_point():
            found = found + bias.double()
        if self.dtype is torch.int32:
            return found.to(torch.int32)
        found = found.float()
        scale, offset = _picked(self.scale, pick), _picked(self.offset, pick)
        if scale is not None:
            found = found * dequant_factor(scale)
        if self.per_token_scale is not None:
            found = found * self.per_token_scale.float().reshape(-1, 1)[rows]
        if offset is not None:
            found = found + offset.float()
        if bias is not None and bias.is_floating_point():
            found = found + bias.float()
        activation = _ACTIVATIONS[self.act_type]
        found = found if activation is None else activation(found)
        return quantized(found, torch.int8) if self.dtype is torch.int8 else found.to(self.dtype)


def _picked(values: list[Tensor], pick: int | Tensor | None) -> Tensor | None:
    if not values or pick is None:
        return None
    if isinstance(pick, int):
        if len(values) > 1:
            return values[pick]
        return values[0][pick] if values[0].dim() > 1 else values[0]
    stacked = values[0] if len(values) == 1 else torch.stack(values)
    return stacked[pick] if stacked.dim() > 1 else stacked


@kernel("GroupedMatmul")
def grouped_matmul(
    x: list[Tensor],
    weight: list[Tensor],
    bias: list[Tensor],
    scale: list[Tensor],
    offset: list[Tensor],
    antiquant_scale: list[Tensor],
    antiquant_offset: list[Tensor],
    group_list: Tensor | None = None,
    per_token_scale: Tensor | None = None,
    *,
    split_item: int = 0,
    dtype: int = 0,
    transpose_weight: bool = False,
    transpose_x: bool = False,
    group_type: int = NO_GROUPS,
    group_list_type: int = 0,
    act_type: int = 0,
    tuning_config: list[int] | None = None,
) -> list[Tensor]:
    """Products of groups: ``x_i weight_i + bias_i``, scaled and activated.

    Args:
        x: one tensor ``[rows, inner]``, or one per group.
        weight: ``[groups, inner, columns]``, or one matrix per group.
        bias, scale, offset: per column of each group; scale and ``per_token_scale`` of int8.
        antiquant_scale, antiquant_offset: of int8 and int4 weights, per column or
            ``[groups of rows, columns]``.
        group_list: sizes of groups (see ``group_ends``); None when x and weight are lists.
        split_item: 0 and 1 give one result per group, 2 and 3 one for all.
        dtype: result of int8 inputs (``RESULT_DTYPES``).
    """
    if transpose_x:
        x = [t.mT for t in x]
    if transpose_weight:
        weight = [t.mT for t in weight]
    weights = _weights(weight, antiquant_scale, antiquant_offset)
    is_quantised = x[0].dtype is torch.int8
    wanted = RESULT_DTYPES[dtype] if is_quantised else x[0].dtype
    factors = _Factors(bias, scale, offset, per_token_scale, act_type, wanted)
    if group_type == INNER:
        return _inner_groups(
            x, weights, _required(group_list), group_list_type, split_item, factors
        )
    if len(x) > 1 or group_type == NO_GROUPS:
        return _tensors(x, weights, factors, split_item >= 2)
    stacked = weights[0] if len(weights) == 1 else torch.stack(weights)
    ends = group_ends(_required(group_list), group_list_type, stacked.shape[0])
    found = row_groups(x[0], stacked, ends)
    places = torch.arange(found.shape[0], device=found.device)
    owner = torch.searchsorted(ends, places, right=True).clamp_max(stacked.shape[0] - 1)
    result = factors.finish(found, owner, slice(None))
    if split_item >= 2:
        return [result]
    return list(torch.split(result, _sizes(ends)))


def _required(group_list: Tensor | None) -> Tensor:
    if group_list is None:
        raise EngineError("GroupedMatmul with groups in a tensor needs group_list")
    return group_list


def _sizes(ends: Tensor) -> list[int]:
    known = ints(ends)
    return [end - start for start, end in zip([0, *known], known, strict=False)]


def _weights(weight: list[Tensor], scales: list[Tensor], offsets: list[Tensor]) -> list[Tensor]:
    """Weights in float32 when they are quantised and x is not."""
    results: list[Tensor] = []
    for index, matrix in enumerate(weight):
        if not scales:
            results.append(dequantized(matrix).char() if is_four_bit(matrix.dtype) else matrix)
            continue
        scale, offset = scales[index], offsets[index] if offsets else None
        if matrix.dim() == 3 and scale.dim() == 2:
            scale, offset = scale[:, None], None if offset is None else offset[:, None]
        group = matrix.shape[-2] // scale.shape[-2] if scale.dim() >= 2 else 0
        results.append(antiquant(matrix, scale, offset, group))
    return results


def _tensors(
    x: list[Tensor], weights: list[Tensor], factors: _Factors, is_joined: bool
) -> list[Tensor]:
    """Every tensor is a group."""
    if len(weights) == 1 and weights[0].dim() == 3:
        weights = list(weights[0].unbind())
    results: list[Tensor] = []
    start = 0
    for index, (one, matrix) in enumerate(zip(x, weights, strict=True)):
        rows = slice(start, start + one.shape[0])
        results.append(factors.finish(product(one, matrix), index, rows))
        start = rows.stop
    return [torch.cat(results)] if is_joined else results


def _inner_groups(
    x: list[Tensor],
    weights: list[Tensor],
    group_list: Tensor,
    kind: int,
    split_item: int,
    factors: _Factors,
) -> list[Tensor]:
    if kind == 2:
        raise EngineError("groups of the inner dimension are not listed by number")
    found = column_groups(x[0], weights[0], group_ends(group_list, kind, 0)).to(factors.dtype)
    return [found] if split_item >= 2 else list(found.unbind())
