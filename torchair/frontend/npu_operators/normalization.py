"""RMS normalisation, alone and with what surrounds it in transformer blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_normalization as kernels
from torchair.frontend.npu_operators.registry import gradient, implements


@implements("npu_rms_norm")
def npu_rms_norm(input: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    return kernels.rms_norm(input, gamma, epsilon)


@implements("npu_rms_norm_backward")
def npu_rms_norm_backward(
    dy: Tensor, input: Tensor, gamma: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    return kernels.rms_norm_grad(dy, input, rstd, gamma)


def _save_rms_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[1])


@gradient("npu_rms_norm", save=_save_rms_norm)
def rms_norm_gradient(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    input, gamma, rstd = ctx.saved_tensors
    return *torch.ops.npu.npu_rms_norm_backward(dy, input, gamma, rstd), None


@implements("npu_add_rms_norm")
def npu_add_rms_norm(
    x1: Tensor, x2: Tensor, gamma: Tensor, epsilon: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.add_rms_norm(x1, x2, gamma, epsilon)
