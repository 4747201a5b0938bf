"""Quantisation as arithmetic: fake quantisation with its gradients, and the operators of
``quantized_decomposed`` that PyTorch's quantisation flows put into graphs.

GE's ``AscendQuant`` family rounds and scales in other types than PyTorch defines, so it is left to
the ``npu`` operators that stand for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_MODULE = "torch.ao.quantization.fx._decomposed"
"""Registers the namespace; nothing of it is in a graph unless the user's program imported it."""


def _codes(x: Tensor, scale: Tensor, zero_point: Tensor, low: int) -> Tensor:
    """Codes before they are clamped, in float32; NaN counts as below the range, as in eager."""
    codes = torch.round(x.float() * scale.float().reciprocal()) + zero_point
    return torch.where(codes == codes, codes, float(low - 1))


def _faked(
    x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int
) -> tuple[Tensor, Tensor]:
    """Quantised and back, and where nothing was clamped."""
    codes = _codes(x, scale, zero_point, low)
    value = (codes.clamp(low, high) - zero_point) * scale.float()
    return value.to(x.dtype), (codes >= low) & (codes <= high)


def _fake_per_tensor(
    self: Tensor, scale: float, zero_point: int, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    factor = torch.full((), scale, dtype=torch.float32, device=self.device)
    return _faked(self, factor, torch.full_like(factor, zero_point), quant_min, quant_max)


def _fake_by_tensors(
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    fake_quant_enabled: Tensor,
    quant_min: int,
    quant_max: int,
) -> tuple[Tensor, Tensor]:
    """The switch is data: a tensor of one element."""
    point = zero_point.reshape(()).float()
    value, mask = _faked(self, scale.reshape(()), point, quant_min, quant_max)
    is_on = fake_quant_enabled.reshape(()) != 0
    return torch.where(is_on, value, self), mask | ~is_on


def _along(values: Tensor, axis: int, like: Tensor) -> Tensor:
    """One number per channel, shaped to meet the tensor."""
    shape = [1] * like.dim()
    shape[axis] = -1
    return values.reshape(shape)


def _fake_per_channel(
    self: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int, quant_max: int
) -> tuple[Tensor, Tensor]:
    factor, point = (_along(v.float(), axis, self) for v in (scale, zero_point))
    return _faked(self, factor, point, quant_min, quant_max)


def _learnable(
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    point = zero_point.float().round().clamp(quant_min, quant_max).reshape(())
    return _faked(self, scale.reshape(()), point, quant_min, quant_max)[0]


def _learnable_per_channel(
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    point = zero_point.float().round().clamp(quant_min, quant_max)
    return _fake_per_channel(self, scale, point, axis, quant_min, quant_max)[0]


def _learnable_parts(
    grad: Tensor, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients per element of the input, the scale and the zero point (arXiv 1902.08153)."""
    point = zero_point.float().round().clamp(low, high)
    codes = _codes(x, scale, point, low)
    kept = (codes >= low) & (codes <= high)
    clamped = codes.clamp(low, high) - point
    inside = (clamped * scale - x) / scale
    by_scale = grad * torch.where(kept, inside, clamped)
    by_point = grad * torch.where(kept, torch.zeros_like(x), -scale.expand(x.shape))
    return torch.where(kept, grad, torch.zeros_like(grad)), by_scale, by_point


def _learnable_backward(
    grad: Tensor,
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    one = scale.reshape(()), zero_point.reshape(())
    parts = _learnable_parts(grad, self, *one, quant_min, quant_max)
    sums = [(p.sum() * grad_factor).reshape(1) for p in parts[1:]]
    return parts[0], sums[0], sums[1]


def _learnable_per_channel_backward(
    grad: Tensor,
    self: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    scales, points = (_along(v, axis, self) for v in (scale, zero_point))
    parts = _learnable_parts(grad, self, scales, points, quant_min, quant_max)
    others = [d for d in range(self.dim()) if d != axis % self.dim()]
    sums = [p.sum(others) if others else p for p in parts[1:]]
    return parts[0], sums[0] * grad_factor, sums[1] * grad_factor


def _weight_int8pack_mm(self: Tensor, mat2: Tensor, scales: Tensor) -> Tensor:
    """[m, k] times the transpose of int8 [n, k], each column scaled."""
    return torch.mm(self, mat2.to(self.dtype).mT) * scales


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten.fake_quantize_per_tensor_affine_cachemask.default: _fake_per_tensor,
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default: _fake_by_tensors,
    aten.fake_quantize_per_channel_affine_cachemask.default: _fake_per_channel,
    aten._fake_quantize_learnable_per_tensor_affine.default: _learnable,
    aten._fake_quantize_learnable_per_tensor_affine_backward.default: _learnable_backward,
    aten._fake_quantize_learnable_per_channel_affine.default: _learnable_per_channel,
    aten._fake_quantize_learnable_per_channel_affine_backward.default: (
        _learnable_per_channel_backward
    ),
    aten._weight_int8pack_mm.default: _weight_int8pack_mm,
}
"""Decompositions by OpOverload."""


def _like_input(self: Tensor, *rest: Any) -> Tensor:
    return torch.empty_like(self)


def _with_mask(self: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(self), torch.empty_like(self, dtype=torch.bool)


def _three_gradients(
    grad: Tensor, self: Tensor, scale: Tensor, zero_point: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(self), torch.empty_like(scale), torch.empty_like(zero_point)


_SHAPES: dict[str, Callable[..., Any]] = {
    "fake_quantize_per_tensor_affine_cachemask": _with_mask,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": _with_mask,
    "fake_quantize_per_channel_affine_cachemask": _with_mask,
    "_fake_quantize_learnable_per_tensor_affine": _like_input,
    "_fake_quantize_learnable_per_channel_affine": _like_input,
    "_fake_quantize_learnable_per_tensor_affine_backward": _three_gradients,
    "_fake_quantize_learnable_per_channel_affine_backward": _three_gradients,
}
"""Shape functions that PyTorch lacks, without which it captures no call of these operators."""

_library = torch.library.Library("aten", "IMPL", "Meta")
for _name, _shape in _SHAPES.items():
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{_name}", "Meta"):
        _library.impl(_name, _shape)


def _quantized(
    x: Tensor, scale: Tensor, zero_point: Tensor, low: Any, high: Any, dtype: torch.dtype
) -> Tensor:
    """``quantize_per_tensor`` whose parameters are tensors of one element."""
    inverse = scale.reshape(()).double().reciprocal().float()
    codes = torch.round(x.float() * inverse) + zero_point.reshape(())
    ends = [end.reshape(()) if isinstance(end, Tensor) else end for end in (low, high)]
    return codes.clamp(*ends).to(dtype)


def _dequantized(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    low: Any,
    high: Any,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    out = out_dtype or torch.float32
    centred = x.to(out) - zero_point.reshape(()).to(out)
    return (centred.to(torch.promote_types(out, torch.float32)) * scale.reshape(()).float()).to(out)


def _qparams(symmetric: bool) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(
        x: Tensor, low: int, high: int, eps: float, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Scale (float64) and zero point (int64) that cover a tensor and zero, [1] each."""
        least, most = x.amin().clamp(max=0).reshape(1), x.amax().clamp(min=0).reshape(1)
        if symmetric:
            scale = torch.maximum(-least, most) / ((high - low) / 2)
            point = torch.full_like(scale, 128 if dtype is torch.uint8 else 0)
            return scale.float().clamp(min=eps).double(), point.to(torch.int64)
        scale = ((most - least) / float(high - low)).float().clamp(min=eps)
        point = low - torch.round(least / scale).to(torch.int32)
        return scale.double(), point.clamp(low, high).to(torch.int64)

    return run


_TRACEABLE = (
    "quantize_per_tensor",
    "dequantize_per_tensor",
    "quantize_per_channel",
    "dequantize_per_channel",
    "choose_qparams_per_token",
    "choose_qparams_per_token_asymmetric",
    "quantize_per_token",
    "dequantize_per_token",
    "dequantize_per_channel_group",
)
"""Operators whose definition in PyTorch looks at no values."""


def _per_channel_group(
    x: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    low: int,
    high: int,
    dtype: torch.dtype,
    group_size: int = 128,
) -> Tensor:
    """Rows in groups of ``group_size``, each with its scale and zero point."""
    size = x.shape[-1] if scales.shape[-1] == 1 and group_size > x.shape[-1] else group_size
    codes = x.reshape(-1, size) * (1.0 / scales.reshape(-1, 1)) + zero_points.reshape(-1, 1)
    return codes.round().clamp(low, high).to(dtype).reshape(x.shape)


def quantized_decomposed() -> dict[Any, Callable[..., Any]]:
    """Decompositions of the ``quantized_decomposed`` operators, when the program knows them."""
    module = sys.modules.get(_MODULE)
    if module is None:
        return {}
    space = torch.ops.quantized_decomposed
    table: dict[Any, Callable[..., Any]] = {
        getattr(space, name).default: getattr(module, name) for name in _TRACEABLE
    }
    for overload in ("tensor", "tensor2"):
        table[getattr(space.quantize_per_tensor, overload)] = _quantized
        table[getattr(space.dequantize_per_tensor, overload)] = _dequantized
    table[space.choose_qparams.tensor] = _qparams(symmetric=False)
    table[space.choose_qparams_symmetric.tensor] = _qparams(symmetric=True)
    table[space.quantize_per_channel_group.default] = _per_channel_group
    table[space.convert_element_type.no_fuse] = module.convert_element_type
    return table
