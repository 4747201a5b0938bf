"""Kernels of quantised and fused matrix products, after the definitions of the GE operators.

Products of integers are exact; scales are float32; results are rounded once, where nothing else is
said.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_grouped_rows import row_groups
from torchair.backend_ge.host.kernels.npu_quantization_values import dequant_factor, dequant_offset
from torchair.backend_ge.host.kernels.registry import kernel, torch_dtype
from torchair.backend_ge.host.narrow_types import dequantized, is_four_bit, quantized
from torchair.errors import EngineError


def product(x1: Tensor, x2: Tensor) -> Tensor:
    """Matrix product: exact, in float64, of integers; else in float32."""
    if (not x1.is_floating_point() and not x2.is_floating_point()) or is_four_bit(x2.dtype):
        return torch.matmul(_numbers(x1).double(), _numbers(x2).double())
    return torch.matmul(x1.float(), x2.float())


def _numbers(x: Tensor) -> Tensor:
    return dequantized(x) if is_four_bit(x.dtype) else x


def _turned(x: Tensor, is_turned: bool) -> Tensor:
    return x.mT if is_turned else x


@kernel("QuantBatchMatmulV3")
def quant_batch_matmul_v3(
    x1: Tensor,
    x2: Tensor,
    scale: Tensor,
    offset: Tensor | None = None,
    bias: Tensor | None = None,
    pertoken_scale: Tensor | None = None,
    *,
    dtype: int,
    transpose_x1: bool = False,
    transpose_x2: bool = False,
) -> Tensor:
    """``(x1 x2 + bias) scale pertoken_scale + offset``; a float bias is added after the scales.

    Args:
        x1, x2: int8 or int4 matrices or batches of them.
        scale: one or one per column, float or packed (``TransQuantParamV2``).
        offset: of int8 results, one or one per column.
        bias: int32 or float, per column.
        pertoken_scale: one per row.
        dtype: ``ge::DataType`` number of the result.
    """
    found = product(_turned(x1, transpose_x1), _turned(x2, transpose_x2))
    wanted = torch_dtype(dtype)
    if bias is not None and not bias.is_floating_point():
        found = found + bias.double()
    if wanted is torch.int32:
        return found.to(torch.int32)
    found = found.float() * dequant_factor(scale)
    if pertoken_scale is not None:
        found = found * pertoken_scale.float()[..., None]
    if bias is not None and bias.is_floating_point():
        found = found + bias.float()
    if wanted is not torch.int8:
        return found.to(wanted)
    shift = dequant_offset(scale) if offset is None else offset.float()
    return quantized(found if shift is None else found + shift, torch.int8)


@kernel("WeightQuantBatchMatmulV2")
def weight_quant_batch_matmul_v2(
    x: Tensor,
    weight: Tensor,
    antiquant_scale: Tensor,
    antiquant_offset: Tensor | None = None,
    quant_scale: Tensor | None = None,
    quant_offset: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    transpose_x: bool = False,
    transpose_weight: bool = False,
    antiquant_group_size: int = 0,
    dtype: int = -1,
    inner_precise: int = 0,
) -> Tensor:
    """``x ((weight + antiquant_offset) antiquant_scale) + bias``.

    The result is int8 when ``quant_scale`` is given. Scales and offsets are one number, one per
    column, or ``[groups, columns]`` of ``antiquant_group_size`` rows of the weight each.
    """
    wide = antiquant(
        _turned(weight, transpose_weight), antiquant_scale, antiquant_offset, antiquant_group_size
    )
    found = torch.matmul(_turned(x, transpose_x).float(), wide)
    if bias is not None:
        found = found + bias.float()
    if quant_scale is None:
        return found.to(x.dtype)
    found = found * dequant_factor(quant_scale)
    if quant_offset is not None:
        found = found + quant_offset.float()
    return quantized(found, torch.int8)


def antiquant(weight: Tensor, scale: Tensor, offset: Tensor | None, group: int = 0) -> Tensor:
    """A quantised weight ``[..., rows, columns]`` in float32."""
    rows = weight.shape[-2]

    def spread(factors: Tensor) -> Tensor:
        wide = factors if factors.is_floating_point() else dequant_factor(factors)
        if group and wide.dim() >= 2 and wide.shape[-2] > 1:
            wide = torch.repeat_interleave(wide.float(), group, -2)[..., :rows, :]
        return wide.float()

    wide = _numbers(weight).float()
    if offset is not None:
        wide = wide + (spread(offset) if offset.is_floating_point() else offset.float())
    return wide * spread(scale)


def activated(x: Tensor, name: str) -> Tensor:
    """A float32 activation by the name that FFN has for it.

    Raises:
        EngineError: unknown name.
    """
    known = name.lower().replace("_", "")
    halves = x.chunk(2, -1)
    if known == "relu":
        return torch.relu(x)
    if known == "gelu":
        return torch.nn.functional.gelu(x)
    if known == "fastgelu":
        return fast_gelu(x)
    if known == "silu":
        return torch.nn.functional.silu(x)
    if known == "geglu":
        return torch.nn.functional.gelu(halves[0]) * halves[1]
    if known == "swiglu":
        return torch.nn.functional.silu(halves[0]) * halves[1]
    if known == "reglu":
        return torch.relu(halves[0]) * halves[1]
    raise EngineError(
        f"FFN has no activation '{name}'",
        expected="relu, gelu, fastgelu, silu, geglu, swiglu, reglu",
    )


def fast_gelu(x: Tensor) -> Tensor:
    """``x / (1 + exp(-1.702 x))``."""
    return x * torch.sigmoid(1.702 * x)


@kernel("FFN")
def ffn(
    x: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    expert_tokens: Tensor | None = None,
    bias1: Tensor | None = None,
    bias2: Tensor | None = None,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    deq_scale1: Tensor | None = None,
    deq_scale2: Tensor | None = None,
    antiquant_scale1: Tensor | None = None,
    antiquant_scale2: Tensor | None = None,
    antiquant_offset1: Tensor | None = None,
    antiquant_offset2: Tensor | None = None,
    *,
    activation: str,
    inner_precise: int = 0,
    output_dtype: int = -1,
    tokens_index_flag: bool = False,
) -> Tensor:
    """``activation(x weight1 + bias1) weight2 + bias2``, per expert when there are experts.

    Args:
        x: ``[..., rows, hidden]`` float, or int8 with ``scale`` and ``deq_scale1/2``: what is
            between the products is then quantised with scale and offset.
        weight1, weight2: matrices, or ``[experts, ...]``.
        expert_tokens: rows per expert, or where each one's end (``tokens_index_flag``).
        output_dtype: of int8 inputs, 0 float16, 1 bfloat16.
    """
    rows = x.reshape(-1, x.shape[-1])
    ends = _ends(expert_tokens, tokens_index_flag, weight1)
    between = _layer(rows, weight1, (antiquant_scale1, antiquant_offset1), bias1, deq_scale1, ends)
    between = activated(between, activation)
    if x.dtype is torch.int8 and scale is not None:
        between = between * _per_row(scale.float(), ends, rows)
        if offset is not None:
            between = between + _per_row(offset.float(), ends, rows)
        between = quantized(between, torch.int8)
    else:
        between = between.to(x.dtype)
    scales = (antiquant_scale2, antiquant_offset2)
    found = _layer(between, weight2, scales, bias2, deq_scale2, ends)
    wanted = x.dtype
    if x.dtype is torch.int8:
        wanted = torch.bfloat16 if output_dtype == 1 else torch.float16
    return found.to(wanted).reshape(*x.shape[:-1], found.shape[-1])


def _ends(tokens: Tensor | None, is_index: bool, weight: Tensor) -> Tensor | None:
    """Where the rows of each expert end; None without experts."""
    if weight.dim() == 2:
        return None
    if tokens is None:
        raise EngineError("FFN with experts needs expert_tokens or expert_tokens_index")
    return tokens.long() if is_index else tokens.long().cumsum(0)


def _layer(
    x: Tensor,
    weight: Tensor,
    antiquants: tuple[Tensor | None, Tensor | None],
    bias: Tensor | None,
    scale: Tensor | None,
    ends: Tensor | None,
) -> Tensor:
    """One product with its bias and dequantisation, float32."""
    if antiquants[0] is not None:
        wide: list[Any] = [_wide(t, weight) for t in antiquants]
        weight = antiquant(weight, *wide)
    found = product(x, weight) if ends is None else row_groups(x, weight, ends)
    if bias is not None:
        found = found + _per_row(bias.to(found.dtype), ends, x)
    found = found.float()
    return found if scale is None else found * _per_row(dequant_factor(scale), ends, x)


def _wide(factors: Tensor | None, weight: Tensor) -> Tensor | None:
    """Factors ``[experts, columns]`` for weights ``[experts, rows, columns]``."""
    if factors is None or weight.dim() == 2:
        return factors
    return factors[..., None, :]


def _per_row(values: Tensor, ends: Tensor | None, x: Tensor) -> Tensor:
    """Numbers per expert, one or one per column each, for every row."""
    if ends is None or (values.dim() < 2 and values.shape[0] != ends.shape[0]):
        return values
    places = torch.arange(x.shape[0], device=x.device)
    expert = torch.searchsorted(ends, places, right=True).clamp_max(ends.shape[0] - 1)
    return values.reshape(ends.shape[0], -1)[expert]
