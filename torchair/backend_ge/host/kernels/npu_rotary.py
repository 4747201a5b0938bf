"""Kernels of rotary position embedding, after the GE operators' definitions.

``y = x * cos + turned(x) * sin``, computed in float32 and rounded once. How ``turned`` pairs the
elements of the last dimension is the mode:

    half             (x1, x2)         -> (-x2, x1)                halves
    interleave       (x0, x1, ...)    -> (-x1, x0, ...)           neighbours
    quarter          (x1, x2, x3, x4) -> (-x2, x1, -x4, x3)       quarters
    interleave-half  as half, after moving even elements to the front half
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_activation import halves
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError

MODES = ("half", "interleave", "quarter", "interleave-half")
"""Names of ``RotaryPositionEmbedding.mode``, by number."""


def turned(x: Tensor, mode: str) -> Tensor:
    """The quarter turn of each pair of elements.

    Raises:
        EngineError: unknown mode, or a last dimension that the mode cannot pair.
    """
    if mode not in MODES:
        raise EngineError(f"no rotary mode {mode!r}", expected=", ".join(MODES), found=mode)
    if mode == "interleave":
        even, odd = pairs(x)
        return torch.stack((-odd, even), -1).reshape(x.shape)
    if mode == "quarter":
        left, right = halves(x, -1)
        return torch.cat((turned(left, "half"), turned(right, "half")), -1)
    first, second = halves(x, -1)
    return torch.cat((-second, first), -1)


def turned_back(x: Tensor, mode: str) -> Tensor:
    """The inverse turn: a quarter turn is undone by the opposite one."""
    return -turned(x, mode)


def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd elements of the last dimension, of even size."""
    halves(x, -1)
    return x[..., ::2], x[..., 1::2]


def gathered(x: Tensor, mode: str) -> Tensor:
    """The order of elements in which the mode works and in which the result is."""
    return torch.cat(pairs(x), -1) if mode == "interleave-half" else x


def scattered(x: Tensor, mode: str) -> Tensor:
    """Undoes ``gathered``."""
    if mode != "interleave-half":
        return x
    return torch.stack(halves(x, -1), -1).reshape(x.shape)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, mode: str) -> Tensor:
    """The embedding in float32; ``cos`` and ``sin`` broadcast to ``x``."""
    x = gathered(x.float(), mode)
    return x * cos.float() + turned(x, mode) * sin.float()


@kernel("RotaryMul")
def rotary_mul(x: Tensor, r1: Tensor, r2: Tensor) -> Tensor:
    """Mode half; ``r1`` is the cosine, ``r2`` the sine."""
    return rotate(x, r1, r2, "half").to(x.dtype)


@kernel("RotaryMulGrad")
def rotary_mul_grad(
    x: Tensor, r1: Tensor, r2: Tensor, dy: Tensor, need_backward: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, r1 and r2; those of r1 and r2 are zero unless ``need_backward``."""
    dx, dr1, dr2 = rotary_position_embedding_grad(dy, r1, r2, x if need_backward else None)
    return dx, dr1, dr2


@kernel("RotaryPositionEmbedding")
def rotary_position_embedding(
    x: Tensor, cos: Tensor, sin: Tensor, rotate_: Tensor | None = None, mode: int = 0
) -> Tensor:
    """With ``rotate_`` (a square matrix) the turn is ``x @ rotate_``, whatever the mode."""
    if rotate_ is None:
        return rotate(x, cos, sin, _mode_name(mode)).to(x.dtype)
    wide = x.float()
    return (wide * cos.float() + wide @ rotate_.float() * sin.float()).to(x.dtype)


@kernel("RotaryPositionEmbeddingGrad")
def rotary_position_embedding_grad(
    dy: Tensor, cos: Tensor, sin: Tensor, x: Tensor | None = None, mode: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, cos and sin; those of cos and sin are zero without ``x``."""
    name = _mode_name(mode)
    grad = dy.float()
    dx = grad * cos.float() + turned_back(grad * sin.float(), name)
    dx = scattered(dx, name).to(dy.dtype)
    if x is None:
        return dx, torch.zeros_like(cos), torch.zeros_like(sin)
    wide = gathered(x.float(), name)
    dcos = (grad * wide).sum_to_size(cos.shape).to(cos.dtype)
    dsin = (grad * turned(wide, name)).sum_to_size(sin.shape).to(sin.dtype)
    return dx, dcos, dsin


def _mode_name(mode: int) -> str:
    if not 0 <= mode < len(MODES):
        raise EngineError("no such rotary mode", expected="0 to 3", found=mode)
    return MODES[mode]
