"""Kernels of convolutions, channels first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from torchair.backend_ge.host.kernels.registry import ints, kernel
from torchair.errors import EngineError

aten = torch.ops.aten


@dataclass(frozen=True)
class _Window:
    """Geometry of a convolution per spatial dimension; pads are (before, after)."""

    strides: list[int]
    pads: list[tuple[int, int]]
    dilations: list[int]
    groups: int

    @property
    def symmetric(self) -> bool:
        """Whether every dimension is padded alike on both sides."""
        return all(before == after for before, after in self.pads)

    @property
    def padding(self) -> list[int]:
        """Padding per dimension.

        Raises:
            EngineError: the two sides differ.
        """
        if not self.symmetric:
            raise EngineError(
                "the host kernels of convolution gradients need symmetric pads", found=self.pads
            )
        return [before for before, _ in self.pads]


def _window(
    strides: list[int], pads: list[int], dilations: list[int], groups: int, data_format: str
) -> _Window:
    if data_format not in ("NCHW", "NCDHW"):
        raise EngineError(
            "the host kernels of convolutions do not implement this data_format",
            expected="NCHW or NCDHW",
            found=data_format,
        )
    pairs = list(zip(pads[::2], pads[1::2], strict=True))
    return _Window(strides[2:], pairs, dilations[2:], groups)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, window: _Window) -> Tensor:
    if x.dtype is torch.int8:
        offset = None if bias is None else bias.double()
        return _convolve(x.double(), weight.double(), offset, window).int()
    if not window.symmetric:
        x = functional.pad(x, [n for pair in reversed(window.pads) for n in pair])
    padding = window.padding if window.symmetric else [0] * len(window.pads)
    zeros = [0] * len(padding)
    offset = None if bias is None else bias.to(x.dtype)
    return aten.convolution(
        x, weight, offset, window.strides, padding, window.dilations, False, zeros, window.groups
    )


def _transposed(
    size: list[int], x: Tensor, weight: Tensor, bias: Tensor | None, window: _Window
) -> Tensor:
    """The transposed convolution with a result of this size."""
    padding = window.padding
    extra = [
        size[i + 2] - ((x.shape[i + 2] - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
        for i, (stride, pad, dilation, kernel) in enumerate(
            zip(window.strides, padding, window.dilations, weight.shape[2:], strict=True)
        )
    ]
    offset = None if bias is None else bias.to(x.dtype)
    return aten.convolution(
        x, weight, offset, window.strides, padding, window.dilations, True, extra, window.groups
    )


def _filter_gradient(x: Tensor, size: list[int], out_backprop: Tensor, window: _Window) -> Tensor:
    weight = x.new_empty(size)
    zeros = [0] * len(window.strides)
    return aten.convolution_backward(
        out_backprop,
        x,
        weight,
        None,
        window.strides,
        window.padding,
        window.dilations,
        False,
        zeros,
        window.groups,
        [False, True, False],
    )[1]


def _refuse_offset(offset_w: Tensor | None) -> None:
    if offset_w is not None:
        raise EngineError("the host kernels of convolutions do not implement offset_w")


@kernel("Conv2D", "Conv3D")
def convolution(
    x: Tensor,
    filter: Tensor,
    bias: Tensor | None,
    offset_w: Tensor | None,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    groups: int = 1,
    data_format: str = "NHWC",
) -> Tensor:
    _refuse_offset(offset_w)
    return _convolve(x, filter, bias, _window(strides, pads, dilations, groups, data_format))


@kernel("Conv2DTranspose", "Conv3DTranspose")
def convolution_transpose(
    input_size: Tensor,
    x: Tensor,
    filter: Tensor,
    bias: Tensor | None,
    offset_w: Tensor | None,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    output_padding: list[int],
    groups: int = 1,
    data_format: str = "NHWC",
) -> Tensor:
    """``input_size`` is the size of the result and includes ``output_padding``."""
    _refuse_offset(offset_w)
    window = _window(strides, pads, dilations, groups, data_format)
    return _transposed(ints(input_size), x, filter, bias, window)


@kernel("Conv2DBackpropInput", "Conv3DBackpropInput")
def convolution_backprop_input(
    input_size: Tensor,
    filter: Tensor,
    out_backprop: Tensor,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    groups: int = 1,
    data_format: str = "NHWC",
) -> Tensor:
    window = _window(strides, pads, dilations, groups, data_format)
    return _transposed(ints(input_size), out_backprop, filter, None, window)


@kernel("Conv2DBackpropFilter", "Conv3DBackpropFilter")
def convolution_backprop_filter(
    x: Tensor,
    filter_size: Tensor,
    out_backprop: Tensor,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    groups: int = 1,
    data_format: str = "NHWC",
) -> Tensor:
    window = _window(strides, pads, dilations, groups, data_format)
    return _filter_gradient(x, ints(filter_size), out_backprop, window)


@kernel("BiasAdd")
def bias_add(x: Tensor, bias: Tensor, data_format: str = "NHWC") -> Tensor:
    if data_format.startswith("NC"):
        return x + bias.reshape(-1, *[1] * (x.dim() - 2))
    return x + bias
