"""Up- and downsampling of images: interpolation, pixel shuffle, grid sampling.

PyTorch samples either by the ratio of the sizes or, when scale factors are given, by the factors.
GE's dedicated operators know only the ratio; ``Resize`` knows both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.interned import round_to_single
from torchair.passes.convert_aten_to_ge.geometry import all_sizes, rank, shape
from torchair.passes.convert_aten_to_ge.recipes import (
    filled,
    has_type,
    like,
    require,
    static_ints,
    unsqueeze,
    with_ones,
)
from torchair.passes.convert_aten_to_ge.registry import converts

_INTERPOLATIONS = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _follows_ratio(sizes: Sequence[int], results: Sequence[int], scales: Sequence[Any]) -> bool:
    """Whether sampling by the scale factors is sampling by the ratio of the sizes."""
    for size, result, scale in zip(sizes, results, scales, strict=True):
        if scale is None:
            continue
        if not isinstance(scale, int | float):
            return False
        if interned.DYNAMIC in (size, result):
            if scale < 1 or scale != int(scale):
                return False
        elif result == 0 or round_to_single(1 / scale) != round_to_single(size / result):
            return False
    return True


def _resize(
    x: SSAValue, size: Any, scales: Sequence[Any], out: Attribute, **attributes: Any
) -> SSAValue:
    """``Resize`` by the scale factors where they matter, else to a size."""
    wide = x if has_type("Resize", ge.element(x)) else ge.cast_to(x, interned.f32)
    type_ = interned.tensor(shape(out), ge.element(wide))
    spatial = len(scales)
    if _follows_ratio(shape(x)[-spatial:], shape(out)[-spatial:], scales):
        target = ge.sizes([*all_sizes(x)[:-spatial], *size])
        y = ge.Resize(wide, None, None, target, out=type_, **attributes)
    else:
        factors = _factors(x, scales, out)
        y = ge.Resize(wide, None, factors, None, out=type_, **attributes)
    return ge.cast_to(y, interned.element_type(out))


def _factors(x: SSAValue, scales: Sequence[Any], out: Attribute) -> SSAValue:
    """Scale factors of all dimensions as a constant.

    Raises:
        ConversionError: they are symbolic, or do not lead to the size of the result.
    """
    spatial = len(scales)
    pairs = zip(shape(x)[-spatial:], shape(out)[-spatial:], scales, strict=True)
    for size, result, scale in pairs:
        known = isinstance(scale, int | float)
        static = interned.DYNAMIC not in (size, result)
        if not known or (static and math.floor(size * scale) != result):
            raise ConversionError(
                "an interpolation whose scale factors do not lead to the size of its result",
                expected=f"size {result} from {size}",
                found=f"factor {scale}",
                hint="give the size alone, or recompute_scale_factor=True",
            )
    return ge.current().constant(
        [1.0] * (rank(x) - spatial) + [float(s) for s in scales], interned.f32
    )


@converts(
    "upsample_nearest2d(Tensor self, SymInt[2] output_size, float? scales_h=None, "
    "float? scales_w=None) -> Tensor"
)
def upsample_nearest2d(
    self: Any, output_size: Any, out: Any, scales_h: Any = None, scales_w: Any = None
) -> Any:
    scales = [scales_h, scales_w]
    if _follows_ratio(shape(self)[2:], shape(out)[2:], scales):
        require("ResizeNearestNeighborV2", self)
        return ge.ResizeNearestNeighborV2(self, list(output_size), out=out)
    return _resize(self, output_size, scales, out, **_NEAREST)


_NEAREST = {
    "coordinate_transformation_mode": "asymmetric",
    "mode": "nearest",
    "nearest_mode": "floor",
}
_NEAREST_EXACT = {"nearest_mode": "round_prefer_ceil"}


@converts("upsample_nearest1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor")
def upsample_nearest1d(self: Any, output_size: Any, out: Any, scales: Any = None) -> Any:
    return _resize(self, output_size, [scales], out, **_NEAREST)


@converts(
    "upsample_nearest3d(Tensor self, SymInt[3] output_size, float? scales_d=None, "
    "float? scales_h=None, float? scales_w=None) -> Tensor"
)
def upsample_nearest3d(
    self: Any,
    output_size: Any,
    out: Any,
    scales_d: Any = None,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    return _resize(self, output_size, [scales_d, scales_h, scales_w], out, **_NEAREST)


@converts(
    "_upsample_nearest_exact2d(Tensor self, SymInt[2] output_size, float? scales_h=None, "
    "float? scales_w=None) -> Tensor"
)
def upsample_nearest_exact2d(
    self: Any, output_size: Any, out: Any, scales_h: Any = None, scales_w: Any = None
) -> Any:
    return _resize(self, output_size, [scales_h, scales_w], out, **_NEAREST_EXACT)


@converts(
    "upsample_bilinear2d(Tensor self, SymInt[2] output_size, bool align_corners, "
    "float? scales_h=None, float? scales_w=None) -> Tensor"
)
def upsample_bilinear2d(
    self: Any,
    output_size: Any,
    align_corners: Any,
    out: Any,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    scales = [None, None] if align_corners else [scales_h, scales_w]
    single = ge.element(self) in (interned.f32, interned.f16)
    if not single or not _follows_ratio(shape(self)[2:], shape(out)[2:], scales):
        return _resize(self, output_size, scales, out, **_linear(align_corners))
    flags = {"align_corners": True} if align_corners else {"half_pixel_centers": True}
    wide = interned.tensor(shape(out), interned.f32)
    y = ge.ResizeBilinearV2(self, list(output_size), out=wide, **flags)
    return ge.cast_to(y, interned.element_type(out))


def _linear(align_corners: bool, mode: str = "linear") -> dict[str, Any]:
    aligned = {"coordinate_transformation_mode": "align_corners"} if align_corners else {}
    return {"mode": mode, **aligned}


@converts(
    "upsample_linear1d(Tensor self, SymInt[1] output_size, bool align_corners, "
    "float? scales=None) -> Tensor"
)
def upsample_linear1d(
    self: Any, output_size: Any, align_corners: Any, out: Any, scales: Any = None
) -> Any:
    factors = [None if align_corners else scales]
    return _resize(self, output_size, factors, out, **_linear(align_corners))


@converts(
    "upsample_trilinear3d(Tensor self, SymInt[3] output_size, bool align_corners, "
    "float? scales_d=None, float? scales_h=None, float? scales_w=None) -> Tensor"
)
def upsample_trilinear3d(
    self: Any,
    output_size: Any,
    align_corners: Any,
    out: Any,
    scales_d: Any = None,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    factors = [None] * 3 if align_corners else [scales_d, scales_h, scales_w]
    return _resize(self, output_size, factors, out, **_linear(align_corners))


@converts(
    "upsample_bicubic2d(Tensor self, SymInt[2] output_size, bool align_corners, "
    "float? scales_h=None, float? scales_w=None) -> Tensor"
)
def upsample_bicubic2d(
    self: Any,
    output_size: Any,
    align_corners: Any,
    out: Any,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    factors = [None] * 2 if align_corners else [scales_h, scales_w]
    return _resize(self, output_size, factors, out, **_linear(align_corners, "cubic"))


def _require_ratio(grad: SSAValue, out: Attribute, scales: Sequence[Any]) -> None:
    if not _follows_ratio(shape(out)[2:], shape(grad)[2:], scales):
        raise ConversionError(
            "the gradient of an interpolation whose scale factors are not the ratio of its sizes",
            found=scales,
            hint="interpolate to a size, or with recompute_scale_factor=True",
        )


@converts(
    "upsample_nearest2d_backward(Tensor grad_output, SymInt[2] output_size, "
    "SymInt[4] input_size, float? scales_h=None, float? scales_w=None) -> Tensor"
)
def upsample_nearest2d_backward(
    grad_output: Any,
    output_size: Any,
    input_size: Any,
    out: Any,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    _require_ratio(grad_output, out, [scales_h, scales_w])
    require("ResizeNearestNeighborV2Grad", grad_output)
    return ge.ResizeNearestNeighborV2Grad(grad_output, list(input_size)[2:], out=out)


@converts(
    "upsample_bilinear2d_backward(Tensor grad_output, SymInt[2] output_size, "
    "SymInt[4] input_size, bool align_corners, float? scales_h=None, float? scales_w=None) "
    "-> Tensor"
)
def upsample_bilinear2d_backward(
    grad_output: Any,
    output_size: Any,
    input_size: Any,
    align_corners: Any,
    out: Any,
    scales_h: Any = None,
    scales_w: Any = None,
) -> Any:
    """GE reads the size of the image from an image, so it is given an empty one of that size."""
    if not align_corners:
        _require_ratio(grad_output, out, [scales_h, scales_w])
    if ge.element(grad_output) == interned.f64:
        require("ResizeBilinearV2Grad", grad_output)
    grad = ge.cast_to(grad_output, interned.f32)
    flags = {"align_corners": True} if align_corners else {"half_pixel_centers": True}
    image = filled(0.0, list(input_size), interned.f32)
    wide = interned.tensor(shape(out), interned.f32)
    dx = ge.ResizeBilinearV2Grad(grad, image, out=wide, **flags)
    return ge.cast_to(dx, interned.element_type(out))


@converts("pixel_shuffle(Tensor self, int upscale_factor) -> Tensor")
def pixel_shuffle(self: Any, upscale_factor: Any, out: Any) -> Any:
    attributes = {"block_size": upscale_factor, "mode": "CRD", "data_format": "NCHW"}
    if rank(self) == 4:
        return ge.DepthToSpace(self, out=out, **attributes)
    if rank(self) == 3:
        wide = like(out, with_ones(shape(out), [0]))
        y = ge.DepthToSpace(unsqueeze(self, [0]), out=wide, **attributes)
        return ge.Squeeze(y, axis=[0], out=out)
    inner = static_ints(all_sizes(self)[-3:], "an image size of pixel_shuffle")
    flat = ge.Reshape(self, [-1, *inner], out=like(out, [interned.DYNAMIC, *inner]))
    images = like(out, [interned.DYNAMIC, *shape(out)[-3:]])
    y = ge.DepthToSpace(flat, out=images, **attributes)
    return ge.Reshape(y, [*all_sizes(self)[:-3], *shape(out)[-3:]], out=out)


def _sampling(interpolation_mode: int, padding_mode: int, align_corners: bool) -> dict[str, Any]:
    return {
        "interpolation_mode": _INTERPOLATIONS[interpolation_mode],
        "padding_mode": _PADDINGS[padding_mode],
        "align_corners": align_corners,
    }


@converts(
    "grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, "
    "bool align_corners) -> Tensor"
)
def grid_sampler_2d(
    input: Any, grid: Any, interpolation_mode: Any, padding_mode: Any, align_corners: Any, out: Any
) -> Any:
    require("GridSampler2D", input)
    attributes = _sampling(interpolation_mode, padding_mode, align_corners)
    return ge.GridSampler2D(input, grid, out=out, **attributes)


@converts(
    "grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, "
    "bool align_corners) -> Tensor"
)
def grid_sampler_3d(
    input: Any, grid: Any, interpolation_mode: Any, padding_mode: Any, align_corners: Any, out: Any
) -> Any:
    require("GridSampler3D", input)
    attributes = _sampling(interpolation_mode, padding_mode, align_corners)
    return ge.GridSampler3D(input, grid, out=out, **attributes)


@converts(
    "grid_sampler_2d_backward(Tensor grad_output, Tensor input, Tensor grid, "
    "int interpolation_mode, int padding_mode, bool align_corners, bool[2] output_mask) "
    "-> (Tensor, Tensor)"
)
def grid_sampler_2d_backward(
    grad_output: Any,
    input: Any,
    grid: Any,
    interpolation_mode: Any,
    padding_mode: Any,
    align_corners: Any,
    output_mask: Any,
) -> Any:
    require("GridSampler2DGrad", input)
    attributes = _sampling(interpolation_mode, padding_mode, align_corners)
    types = (input.type, grid.type)
    grads = ge.GridSampler2DGrad(grad_output, input, grid, out=types, **attributes)
    return [g if wanted else None for g, wanted in zip(grads, output_mask, strict=True)]


@converts(
    "grid_sampler_3d_backward(Tensor grad_output, Tensor input, Tensor grid, "
    "int interpolation_mode, int padding_mode, bool align_corners, bool[2] output_mask) "
    "-> (Tensor, Tensor)"
)
def grid_sampler_3d_backward(
    grad_output: Any,
    input: Any,
    grid: Any,
    interpolation_mode: Any,
    padding_mode: Any,
    align_corners: Any,
    output_mask: Any,
) -> Any:
    require("GridSampler3DGrad", input)
    attributes = _sampling(interpolation_mode, padding_mode, align_corners)
    types = (input.type, grid.type)
    grads = ge.GridSampler3DGrad(grad_output, input, grid, out=types, **attributes)
    return [g if wanted else None for g, wanted in zip(grads, output_mask, strict=True)]
