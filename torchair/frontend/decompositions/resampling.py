"""Resampling as products with matrices, one per dimension: interpolation with antialiasing, and
gradients of adaptive pooling and nearest interpolation that GE's operators do not compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _antialiased(
    size: int,
    count: int,
    scale: float | None,
    align_corners: bool,
    kernel: Callable[[Tensor], Tensor],
    like: Tensor,
) -> Tensor:
    """Weights [count, size] of a kernel that is stretched when the image shrinks."""
    if align_corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = 1 / scale if scale else size / count
    centre = (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * step
    place = torch.arange(size, dtype=like.dtype, device=like.device) + 0.5
    weights = kernel((place - centre.unsqueeze(-1)) / max(step, 1.0))
    return weights / weights.sum(-1, keepdim=True)


def _upsample(kernel: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def run(
        self: Tensor,
        output_size: Sequence[int],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Tensor:
        """[N, C, H, W] to [N, C, *output_size]."""
        if not self.dtype.is_floating_point:
            return NotImplemented
        sizes = zip(self.shape[-2:], output_size, (scales_h, scales_w), strict=True)
        rows, columns = (
            _antialiased(int(n), int(m), s, align_corners, kernel, self) for n, m, s in sizes
        )
        return rows @ (self @ columns.mT)

    return run


def _averaging(size: int, count: int, like: Tensor) -> Tensor:
    """Weights [count, size] of adaptive average pooling: windows from floor to ceiling."""
    index = torch.arange(count, device=like.device).unsqueeze(-1)
    start, end = index * size // count, ((index + 1) * size + count - 1) // count
    place = torch.arange(size, device=like.device)
    inside = ((place >= start) & (place < end)).to(like.dtype)
    return inside / (end - start).to(like.dtype)


def _adaptive_gradient(spatial: int) -> Callable[..., Tensor]:
    def run(grad_output: Tensor, self: Tensor) -> Tensor:
        """Each mean's gradient goes to its window in equal parts."""
        if not _is_hard(grad_output, self, spatial):
            return NotImplemented
        half = grad_output.dtype in (torch.float16, torch.bfloat16)
        found = grad_output.float() if half else grad_output
        for dim in range(-spatial, 0):
            weights = _averaging(self.shape[dim], grad_output.shape[dim], found)
            found = (found.transpose(dim, -1) @ weights).transpose(dim, -1)
        return found.to(grad_output.dtype)

    return run


def _nearest_gradient(
    grad_output: Tensor,
    output_size: Sequence[int],
    input_size: Sequence[int],
    scales_h: float | None = None,
    scales_w: float | None = None,
) -> Tensor:
    """Each gradient goes to the element it was copied from, when factors that are not the ratio of
    the sizes say which."""
    sizes = list(zip(input_size[2:], output_size, (scales_h, scales_w), strict=True))
    if all(s is None or n * s == m for n, m, s in sizes):
        return NotImplemented
    rows, columns = (_copies(int(n), int(m), s, grad_output) for n, m, s in sizes)
    return rows.mT @ (grad_output @ columns)


def _copies(size: int, count: int, scale: float | None, like: Tensor) -> Tensor:
    """[count, size]: one in each row, at the element that nearest interpolation copies."""
    step = 1 / scale if scale else size / count
    place = (torch.arange(count, device=like.device) * step).floor().clamp(max=size - 1)
    return (place.unsqueeze(-1) == torch.arange(size, device=like.device)).to(like.dtype)


def _is_hard(grad_output: Tensor, self: Tensor, spatial: int) -> bool:
    """Whether GE lacks an operator: windows of several sizes, unless two-dimensional and static."""
    pairs = list(zip(self.shape[-spatial:], grad_output.shape[-spatial:], strict=True))
    if any(isinstance(n, torch.SymInt) for pair in pairs for n in pair):
        return True
    if spatial == 2 and self.dtype is not torch.float64:
        return False
    return any(m == 0 or n % m for n, m in pairs)


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    aten._upsample_bilinear2d_aa.default: _upsample(_triangle),
    aten._upsample_bicubic2d_aa.default: _upsample(_cubic),
}
"""Decompositions by OpOverload."""

GRADIENTS: dict[Any, Callable[..., Any]] = {
    aten._adaptive_avg_pool2d_backward.default: _adaptive_gradient(2),
    aten._adaptive_avg_pool3d_backward.default: _adaptive_gradient(3),
    aten.upsample_nearest2d_backward.default: _nearest_gradient,
}
"""Of operators that have a converter, for the calls that it cannot take."""
