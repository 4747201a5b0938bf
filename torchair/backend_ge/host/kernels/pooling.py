"""Kernels of pooling, channels first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.errors import EngineError

aten = torch.ops.aten


def _require_channels_first(name: str, data_format: str) -> None:
    if data_format not in ("NCHW", "NCDHW"):
        raise EngineError(
            f"the host kernel of {name} does not implement this data_format",
            expected="NCHW or NCDHW",
            found=data_format,
        )


def _window(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    padding_mode: str,
    pads: list[int],
    global_pooling: bool,
) -> tuple[list[int], list[int], list[int]]:
    """Kernel, strides and pads (before and after each dimension) of GE's pooling attributes."""
    if global_pooling:
        return list(x.shape[2:]), list(x.shape[2:]), [0] * (2 * (x.dim() - 2))
    kernel, steps = ksize[2:], strides[2:]
    if padding_mode == "VALID":
        return kernel, steps, [0] * (2 * len(kernel))
    if padding_mode == "SAME":
        return kernel, steps, _same_pads(x, kernel, steps)
    return kernel, steps, pads


def _same_pads(x: Tensor, kernel: list[int], steps: list[int]) -> list[int]:
    """Pads that make the result ``ceil(size / step)`` long, the larger half behind."""
    pads: list[int] = []
    for size, extent, step in zip(x.shape[2:], kernel, steps, strict=True):
        total = max((-(-size // step) - 1) * step + extent - size, 0)
        pads += [total // 2, total - total // 2]
    return pads


def _padded(
    x: Tensor, kernel: list[int], pads: list[int], number: float
) -> tuple[Tensor, list[int]]:
    """The tensor and the padding left for ATen, which only pads symmetrically, by half a kernel."""
    before, after = pads[::2], pads[1::2]
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        return x, before
    flat = [n for pair in reversed(list(zip(before, after, strict=True))) for n in pair]
    return functional.pad(x, flat, value=number), [0] * len(kernel)


@kernel("MaxPoolV3")
def max_pool_v3(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    padding_mode: str = "CALCULATED",
    pads: list[int] = [0, 0, 0, 0],  # noqa: B006
    data_format: str = "NCHW",
    global_pooling: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    _require_channels_first("MaxPoolV3", data_format)
    size, steps, sides = _window(x, ksize, strides, padding_mode, pads, global_pooling)
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    x, padding = _padded(x, size, sides, lowest)
    return aten.max_pool2d_with_indices(x, size, steps, padding, [1, 1], ceil_mode)[0]


@kernel("MaxPool3DWithArgmaxV2")
def max_pool3d_with_argmax_v2(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    pads: list[int],
    dilation: list[int] = [1, 1, 1],  # noqa: B006
    ceil_mode: bool = False,
    data_format: str = "NCDHW",
    dtype: int = 3,
) -> tuple[Tensor, Tensor]:
    """Maxima and their places in each volume; a depth of 1 is pooled as planes, as eager does."""
    _require_channels_first("MaxPool3DWithArgmaxV2", data_format)
    kind = torch.int64 if dtype == 9 else torch.int32
    if x.shape[2] == ksize[0] == strides[0] == dilation[0] == 1 and pads[0] == 0:
        y, places = aten.max_pool2d_with_indices(
            x.squeeze(2), ksize[1:], strides[1:], pads[1:], dilation[1:], ceil_mode
        )
        return y.unsqueeze(2), places.unsqueeze(2).to(kind)
    y, places = aten.max_pool3d_with_indices(x, ksize, strides, pads, dilation, ceil_mode)
    return y, places.to(kind)


@kernel("MaxPoolWithArgmaxV1")
def max_pool_with_argmax_v1(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    pads: list[int],
    dtype: int = 3,
    dilation: list[int] = [1, 1, 1, 1],  # noqa: B006
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attributes are ``[1, height, width, 1]``. Places are only meant for the gradient below."""
    y, places = aten.max_pool2d_with_indices(
        x, ksize[1:3], strides[1:3], pads[1:3], dilation[1:3], ceil_mode
    )
    return y, places.to(torch.int32)


@kernel("MaxPoolGradWithArgmaxV1")
def max_pool_grad_with_argmax_v1(
    x: Tensor,
    grad: Tensor,
    argmax: Tensor,
    ksize: list[int],
    strides: list[int],
    pads: list[int],
    dtype: int = 3,
    dilation: list[int] = [1, 1, 1, 1],  # noqa: B006
    ceil_mode: bool = False,
) -> Tensor:
    return aten.max_pool2d_with_indices_backward(
        grad, x, ksize[1:3], strides[1:3], pads[1:3], dilation[1:3], ceil_mode, argmax.long()
    )


@kernel("AvgPoolV2")
def avg_pool_v2(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    padding_mode: str = "CALCULATED",
    pads: list[int] = [0, 0, 0, 0],  # noqa: B006
    data_format: str = "NCHW",
    global_pooling: bool = False,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor_override: int = 0,
) -> Tensor:
    _require_channels_first("AvgPoolV2", data_format)
    size, steps, sides = _window(x, ksize, strides, padding_mode, pads, global_pooling)
    _require_even(sides)
    return aten.avg_pool2d(
        x, size, steps, sides[::2], ceil_mode, not exclusive, divisor_override or None
    )


def _require_even(pads: list[int]) -> None:
    if pads[::2] != pads[1::2]:
        raise EngineError("the host kernels of average pooling need symmetric pads", found=pads)


@kernel("AvgPoolV2Grad")
def avg_pool_v2_grad(
    orig_input_shape: Tensor,
    input_grad: Tensor,
    ksize: list[int],
    strides: list[int],
    padding_mode: str = "CALCULATED",
    pads: list[int] = [0, 0, 0, 0],  # noqa: B006
    data_format: str = "NCHW",
    global_pooling: bool = False,
    ceil_mode: bool = False,
    exclusive: bool = True,
    divisor_override: int = 0,
) -> Tensor:
    _require_channels_first("AvgPoolV2Grad", data_format)
    x = input_grad.new_empty(ints(orig_input_shape))
    size, steps, sides = _window(x, ksize, strides, padding_mode, pads, global_pooling)
    _require_even(sides)
    return aten.avg_pool2d_backward(
        input_grad, x, size, steps, sides[::2], ceil_mode, not exclusive, divisor_override or None
    )


def _through_float(x: Tensor) -> Tensor:
    """ATen pools volumes of 16-bit floats on no CPU."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@kernel("AvgPool3D")
def avg_pool3d(
    x: Tensor,
    ksize: list[int],
    strides: list[int],
    pads: list[int],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int = 0,
    data_format: str = "NDHWC",
) -> Tensor:
    _require_channels_first("AvgPool3D", data_format)
    _require_even(pads)
    y = aten.avg_pool3d(
        _through_float(x),
        ksize[2:],
        strides[2:],
        pads[::2],
        ceil_mode,
        count_include_pad,
        divisor_override or None,
    )
    return y.to(x.dtype)


@kernel("AvgPool3DGrad")
def avg_pool3d_grad(
    orig_input_shape: Tensor,
    grads: Tensor,
    ksize: list[int],
    strides: list[int],
    pads: list[int],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int = 0,
    data_format: str = "NDHWC",
) -> Tensor:
    _require_channels_first("AvgPool3DGrad", data_format)
    _require_even(pads)
    dy = _through_float(grads)
    dx = aten.avg_pool3d_backward(
        dy,
        dy.new_empty(ints(orig_input_shape)),
        ksize[2:],
        strides[2:],
        pads[::2],
        ceil_mode,
        count_include_pad,
        divisor_override or None,
    )
    return dx.to(grads.dtype)


@kernel("AdaptiveAvgPool2d")
def adaptive_avg_pool2d(x: Tensor, output_size: list[int]) -> Tensor:
    return aten._adaptive_avg_pool2d(x, output_size)


@kernel("AdaptiveAvgPool2dGrad")
def adaptive_avg_pool2d_grad(input_grad: Tensor, orig_input_shape: list[int]) -> Tensor:
    return aten._adaptive_avg_pool2d_backward(input_grad, input_grad.new_empty(orig_input_shape))


@kernel("AdaptiveMaxPool2d")
def adaptive_max_pool2d(x: Tensor, output_size: list[int]) -> tuple[Tensor, Tensor]:
    return aten.adaptive_max_pool2d(x, output_size)
