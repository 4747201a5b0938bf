"""Kernels of interpolation, depth to space and grid sampling, channels first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.backend_ge.host.tracing import known_tensor
from torchair.errors import EngineError
from torchair.ir.interned import round_to_single

aten = torch.ops.aten

_NEAREST = (aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)
_EXACT = (
    aten._upsample_nearest_exact1d,
    aten._upsample_nearest_exact2d,
    aten._upsample_nearest_exact3d,
)
_LINEAR = (aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d)
_INTERPOLATIONS = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


@kernel("Resize")
def resize(
    x: Tensor,
    roi: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor | None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Resizes the dimensions after the second, to sizes or by scales (those of all dimensions)."""
    spatial = x.dim() - 2
    if sizes is not None:
        size, factors = ints(sizes)[2:], [None] * spatial
    elif scales is not None:
        factors = [_decimal(f) for f in known_tensor(scales).tolist()[2:]]
        size = [int(n * f) for n, f in zip(x.shape[2:], factors, strict=True)]
    else:
        raise EngineError("Resize needs scales or sizes")
    operator = _operator(spatial, mode, coordinate_transformation_mode, nearest_mode)
    if abs(cubic_coeff_a + 0.75) > 1e-6 and mode == "cubic":
        raise EngineError("the host kernel of Resize has one cubic_coeff_a", expected=-0.75)
    return operator(x, size, factors)


def _decimal(factor: float) -> float:
    """The shortest decimal number that a float32 stands for: 1.7, not 1.7000000476837158.

    GE's scales are float32, PyTorch's are double: this is the number that was written.
    """
    for digits in range(1, 9):
        short = float(f"{factor:.{digits}g}")
        if round_to_single(short) == factor:
            return short
    return factor


def _operator(spatial: int, mode: str, coordinates: str, rounding: str) -> Callable[..., Tensor]:
    """The ATen operator with these coordinates, called with tensor, size and scale factors."""
    if mode == "nearest":
        choice = {("asymmetric", "floor"): _NEAREST, ("half_pixel", "round_prefer_ceil"): _EXACT}
        family = choice.get((coordinates, rounding))
        if family is not None:
            return lambda x, size, factors: family[spatial - 1](x, size, *factors)
    elif coordinates in ("half_pixel", "align_corners"):
        aligned = coordinates == "align_corners"
        if mode == "linear":
            linear = _LINEAR[spatial - 1]
            return lambda x, size, factors: linear(x, size, aligned, *factors)
        if mode == "cubic" and spatial == 2:
            return lambda x, size, factors: aten.upsample_bicubic2d(x, size, aligned, *factors)
    raise EngineError(
        "the host kernel of Resize does not implement this combination",
        found=f"mode {mode}, coordinates {coordinates}, rounding {rounding}, {spatial} dimensions",
    )


@kernel("ResizeNearestNeighborV2")
def resize_nearest_neighbor_v2(
    x: Tensor, size: Tensor, align_corners: bool = False, half_pixel_centers: bool = False
) -> Tensor:
    operator = _nearest(align_corners, half_pixel_centers)
    return getattr(aten, operator)(x, ints(size))


@kernel("ResizeNearestNeighborV2Grad")
def resize_nearest_neighbor_v2_grad(
    grads: Tensor, size: Tensor, align_corners: bool = False, half_pixel_centers: bool = False
) -> Tensor:
    operator = _nearest(align_corners, half_pixel_centers)
    full = [*grads.shape[:2], *ints(size)]
    return getattr(aten, f"{operator}_backward")(grads, grads.shape[2:], full)


def _nearest(align_corners: bool, half_pixel_centers: bool) -> str:
    if align_corners:
        raise EngineError("the host kernels of nearest neighbours do not implement align_corners")
    return "_upsample_nearest_exact2d" if half_pixel_centers else "upsample_nearest2d"


@kernel("ResizeBilinearV2")
def resize_bilinear_v2(
    images: Tensor,
    size: Tensor,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The result is float32 (``dtype``) whatever the images are."""
    _require_torch_coordinates(align_corners, half_pixel_centers)
    return aten.upsample_bilinear2d(images.to(dtype), ints(size), align_corners)


@kernel("ResizeBilinearV2Grad")
def resize_bilinear_v2_grad(
    grads: Tensor,
    original_image: Tensor,
    align_corners: bool = False,
    half_pixel_centers: bool = False,
) -> Tensor:
    _require_torch_coordinates(align_corners, half_pixel_centers)
    return aten.upsample_bilinear2d_backward(
        grads, grads.shape[2:], original_image.shape, align_corners
    )


def _require_torch_coordinates(align_corners: bool, half_pixel_centers: bool) -> None:
    if align_corners == half_pixel_centers:
        raise EngineError(
            "the host kernels of ResizeBilinearV2 need align_corners or half_pixel_centers",
            found=f"align_corners = half_pixel_centers = {align_corners}",
        )


@kernel("DepthToSpace")
def depth_to_space(
    x: Tensor, block_size: int, mode: str = "DCR", data_format: str = "NHWC"
) -> Tensor:
    """DCR takes depth as (block, block, channel), CRD as (channel, block, block)."""
    if data_format == "NHWC":
        return depth_to_space(x.movedim(-1, 1), block_size, mode, "NCHW").movedim(1, -1)
    if mode == "CRD":
        return aten.pixel_shuffle(x, block_size)
    batch, depth, height, width = x.shape
    channels = depth // block_size**2
    parts = x.reshape(batch, block_size, block_size, channels, height, width)
    parts = parts.permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, channels, height * block_size, width * block_size)


def _modes(interpolation_mode: str, padding_mode: str) -> tuple[int, int]:
    return _INTERPOLATIONS.index(interpolation_mode), _PADDINGS.index(padding_mode)


@kernel("GridSampler2D")
def grid_sampler_2d(
    x: Tensor,
    grid: Tensor,
    interpolation_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    return aten.grid_sampler_2d(x, grid, *_modes(interpolation_mode, padding_mode), align_corners)


@kernel("GridSampler3D")
def grid_sampler_3d(
    x: Tensor,
    grid: Tensor,
    interpolation_mode: str = "bilinear",
    padding_mode: str = "zeros",
    data_format: str = "NCDHW",
    align_corners: bool = False,
) -> Tensor:
    if data_format != "NCDHW":
        raise EngineError("the host kernel of GridSampler3D needs NCDHW", found=data_format)
    return aten.grid_sampler_3d(x, grid, *_modes(interpolation_mode, padding_mode), align_corners)


def _grid_gradient(operator: Any, grad: Tensor, x: Tensor, grid: Tensor, *modes: Any) -> Any:
    return operator(grad, x, grid, *modes, [True, True])


@kernel("GridSampler2DGrad")
def grid_sampler_2d_grad(
    grad: Tensor,
    x: Tensor,
    grid: Tensor,
    interpolation_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    modes = _modes(interpolation_mode, padding_mode)
    return _grid_gradient(aten.grid_sampler_2d_backward, grad, x, grid, *modes, align_corners)


@kernel("GridSampler3DGrad")
def grid_sampler_3d_grad(
    grad: Tensor,
    x: Tensor,
    grid: Tensor,
    interpolation_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    modes = _modes(interpolation_mode, padding_mode)
    return _grid_gradient(aten.grid_sampler_3d_backward, grad, x, grid, *modes, align_corners)
