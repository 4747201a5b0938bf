"""Rotary position embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_rotary as kernels
from torchair.errors import ConversionError
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_rotary_mul")
def npu_rotary_mul(
    input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half", rotate: Tensor | None = None
) -> Tensor:
    return kernels.rotary_position_embedding(input, r1, r2, rotate, _mode(rotary_mode))


@implements("npu_rotary_mul_backward")
def npu_rotary_mul_backward(
    grad: Tensor, input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half"
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.rotary_position_embedding_grad(grad, r1, r2, input, _mode(rotary_mode))


def _save_rotary_mul(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    if inputs[4] is not None:
        raise ConversionError(
            "npu_rotary_mul has no gradient when rotate is given",
            hint="leave rotate out, or detach the inputs",
        )
    ctx.save_for_backward(*inputs[:3])
    ctx.rotary_mode = inputs[3]


@gradient("npu_rotary_mul", save=_save_rotary_mul)
def rotary_mul_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    backward = torch.ops.npu.npu_rotary_mul_backward
    return *backward(dy, *ctx.saved_tensors, ctx.rotary_mode), None, None


def _mode(name: str) -> int:
    if name not in kernels.MODES:
        raise ConversionError(
            "npu_rotary_mul has no such mode", expected=", ".join(kernels.MODES), found=name
        )
    return kernels.MODES.index(name)
