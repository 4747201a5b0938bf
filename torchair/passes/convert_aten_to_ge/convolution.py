"""Convolutions and their gradients, channels first; one-dimensional ones run as two-dimensional.

GE's transposed convolution is float16; in other types it is written as what it is, the gradient of
a convolution with respect to its input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import Size, rank, shape
from torchair.passes.convert_aten_to_ge.recipes import (
    element_name,
    like,
    require,
    static_ints,
    unsqueeze,
    with_ones,
)
from torchair.passes.convert_aten_to_ge.registry import converts


@dataclass(frozen=True)
class _Window:
    """Geometry of a convolution, lifted to at least two spatial dimensions.

    Args:
        stride, padding, dilation, output_padding: one number per spatial dimension.
        groups: number of groups of channels.
        lifted: whether the first spatial dimension was added.
    """

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    output_padding: list[int]
    groups: int
    lifted: bool

    @property
    def operator(self) -> str:
        """``Conv2D`` or ``Conv3D``."""
        return f"Conv{len(self.stride)}D"

    @property
    def attributes(self) -> dict[str, Any]:
        """GE attributes of every convolution operator."""
        return {
            "strides": [1, 1, *self.stride],
            "pads": [p for p in self.padding for _ in range(2)],
            "dilations": [1, 1, *self.dilation],
            "groups": self.groups,
            "data_format": "NCHW" if len(self.stride) == 2 else "NCDHW",
        }

    def lift(self, value: SSAValue) -> SSAValue:
        """A one-dimensional tensor with a height of 1."""
        return unsqueeze(value, [2]) if self.lifted else value

    def lift_type(self, type_: Attribute) -> Attribute:
        """The type of a lifted tensor."""
        return like(type_, with_ones(shape(type_), [2])) if self.lifted else type_

    def lower(self, value: SSAValue, type_: Attribute) -> SSAValue:
        """The inverse of ``lift``."""
        return ge.Squeeze(value, axis=[2], out=type_) if self.lifted else value


def _make_window(
    spatial: int, stride: Any, padding: Any, dilation: Any, output_padding: Any, groups: Any
) -> _Window:
    if spatial not in (1, 2, 3):
        raise ConversionError(
            "convolution over this many dimensions", expected="1 to 3", found=spatial
        )
    lists = {
        "stride": (stride, 1),
        "padding": (padding, 0),
        "dilation": (dilation, 1),
        "output_padding": (output_padding, 0),
    }
    full: dict[str, list[int]] = {}
    for name, (values, neutral) in lists.items():
        numbers = static_ints(values, f"{name} of a convolution")
        numbers = numbers * spatial if len(numbers) == 1 else numbers
        full[name] = [neutral, *numbers] if spatial == 1 else numbers
    return _Window(groups=static_ints([groups], "groups of a convolution")[0],
                   lifted=spatial == 1, **full)  # fmt: skip


@converts(
    "convolution(Tensor input, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, "
    "SymInt[] dilation, bool transposed, SymInt[] output_padding, SymInt groups) -> Tensor"
)
def convolution(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    output_padding: Any,
    groups: Any,
    out: Any,
) -> Any:
    window = _make_window(rank(weight) - 2, stride, padding, dilation, output_padding, groups)
    x, w = window.lift(input), window.lift(weight)
    compute = _transposed if transposed else _forward
    return window.lower(compute(x, w, bias, window, window.lift_type(out)), out)


def _forward(
    x: SSAValue, w: SSAValue, bias: SSAValue | None, window: _Window, out: Attribute
) -> SSAValue:
    require(window.operator, x, w)
    return ge.call(
        window.operator, x, w, _bias(window.operator, bias), out=out, **window.attributes
    )


def _bias(operator: str, bias: SSAValue | None) -> SSAValue | None:
    """The bias in a type that the operator takes."""
    if bias is None:
        return None
    spec = ge.op_class(operator).spec
    allowed = spec.inputs[spec.input_index["bias"]].dtypes
    return bias if element_name(bias) in allowed else ge.cast_to(bias, interned.f32)


def _transposed(
    x: SSAValue, w: SSAValue, bias: SSAValue | None, window: _Window, out: Attribute
) -> SSAValue:
    size = _transposed_size(x, w, window, out)
    operator = f"{window.operator}Transpose"
    spec = ge.op_class(operator).spec
    if element_name(x) in spec.inputs[spec.input_index["x"]].dtypes:
        padding = [0, 0, *window.output_padding]
        more = {"output_padding": padding} if any(padding) else {}
        return ge.call(
            operator, size, x, w, _bias(operator, bias), out=out, **window.attributes, **more
        )
    y = _input_gradient(size, w, x, window, out)
    if bias is None:
        return y
    return ge.BiasAdd(y, bias, data_format=window.attributes["data_format"], out=out)


def _transposed_size(x: SSAValue, w: SSAValue, window: _Window, out: Attribute) -> list[Size]:
    """Sizes of the result: ``(n - 1) * stride - 2 * padding + dilation * (k - 1) + extra + 1``."""
    known, padding = shape(out), window.padding
    size: list[Size] = [ge.size(x, 0), known[1]]
    if known[1] == interned.DYNAMIC:
        size[1] = _times(ge.size(w, 1), window.groups)
    for i, stride in enumerate(window.stride):
        if known[i + 2] != interned.DYNAMIC:
            size.append(known[i + 2])
            continue
        extent = _times(ge.size(x, i + 2), stride)
        reach = _times(ge.size(w, i + 2), window.dilation[i])
        fixed = window.output_padding[i] + 1 - stride - 2 * padding[i] - window.dilation[i]
        size.append(_plus(_plus(extent, reach), fixed))
    return size


def _times(size: Size, factor: int) -> Size:
    if isinstance(size, int) or factor == 1:
        return size * factor if isinstance(size, int) else size
    return ge.Mul(size, factor, out=size.type)


def _plus(size: Size, addend: Size) -> Size:
    if isinstance(size, int) and isinstance(addend, int):
        return size + addend
    if isinstance(size, int):
        size, addend = addend, size
    assert isinstance(size, SSAValue), "one of the two is symbolic"
    return size if isinstance(addend, int) and addend == 0 else ge.Add(size, addend, out=size.type)


def _input_gradient(
    size: Any, w: SSAValue, grad: SSAValue, window: _Window, out: Attribute
) -> SSAValue:
    operator = f"{window.operator}BackpropInput"
    require(operator, w, grad, port=1)
    return ge.call(operator, size, w, grad, out=out, **window.attributes)


def _size_operand(value: SSAValue) -> Any:
    """The sizes of a value as an int32 operand."""
    sizes = shape(value)
    return ge.shape(value, interned.i32) if interned.DYNAMIC in sizes else list(sizes)


@converts(
    "convolution_backward(Tensor grad_output, Tensor input, Tensor weight, SymInt[]? bias_sizes, "
    "SymInt[] stride, SymInt[] padding, SymInt[] dilation, bool transposed, "
    "SymInt[] output_padding, SymInt groups, bool[3] output_mask) -> (Tensor, Tensor, Tensor)"
)
def convolution_backward(
    grad_output: Any,
    input: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    output_padding: Any,
    groups: Any,
    output_mask: Any,
    out: Any,
) -> Any:
    window = _make_window(rank(weight) - 2, stride, padding, dilation, output_padding, groups)
    grad, x, w = (window.lift(v) for v in (grad_output, input, weight))
    filter_operator = f"{window.operator}BackpropFilter"
    dx = dw = db = None
    if output_mask[0]:
        type_ = x.type
        if transposed:
            dx = _forward(grad, w, None, window, type_)
        else:
            dx = _input_gradient(_size_operand(x), w, grad, window, type_)
        dx = window.lower(dx, out[0])
    if output_mask[1]:
        small, large = (x, grad) if transposed else (grad, x)
        size = _size_operand(w)
        require(filter_operator, x, grad)
        dw = ge.call(filter_operator, large, size, small, out=w.type, **window.attributes)
        dw = window.lower(dw, out[1])
    if output_mask[2]:
        axes = [0, *range(2, rank(grad_output))]
        db = ge.ReduceSum(grad_output, axes, out=out[2])
    return [dx, dw, db]
