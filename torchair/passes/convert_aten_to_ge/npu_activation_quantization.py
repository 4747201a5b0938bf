"""torch_npu's activations that end in quantisation, and quantisation in blocks of a matrix."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge import dtypes
from torchair.ir import element_types, interned
from torchair.passes.convert_aten_to_ge.npu_calls import listed
from torchair.passes.convert_aten_to_ge.npu_packing import hidden, number_type, visible
from torchair.passes.convert_aten_to_ge.registry import converts

_MODES = ("static", "dynamic")
_ROUND_MODES = ("rint", "round", "floor", "ceil", "trunc")


@converts(listed("npu_gelu_quant"))
def npu_gelu_quant(input: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_gelu_quant", dst_type)
    types = (hidden(out[0], name), out[1])
    y, scale = ge.GeluQuant(input, dst_type=number, out=types, **rest)
    return visible(y, out[0]), scale


@converts(listed("npu_swiglu_quant"))
def npu_swiglu_quant(x: Any, quant_mode: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    del dst_type  # the result type says it
    number = dtypes.BY_NAME[element_types.to_name(interned.element_type(out[0]))].ge
    mode = _MODES[int(quant_mode)]
    return ge.SwiGluQuant(x, quant_mode=mode, dst_type=number, out=tuple(out), **rest)


@converts(listed("npu_dequant_swiglu_quant"))
def npu_dequant_swiglu_quant(
    x: Any,
    quant_mode: Any,
    dst_type: Any,
    round_mode: Any,
    activate_dim: Any,
    quant_scale: Any,
    quant_offset: Any,
    out: Any,
    **rest: Any,
) -> Any:
    name, number = number_type("npu_dequant_swiglu_quant", dst_type)
    wide = [None if v is None else ge.cast_to(v, interned.f32) for v in (quant_scale, quant_offset)]
    y, scale = ge.DequantSwigluQuant(
        x,
        quant_mode=_MODES[int(quant_mode)],
        dst_type=number,
        round_mode=_ROUND_MODES[int(round_mode or 0)],
        activate_dim=-1 if activate_dim is None else activate_dim,
        quant_scale=wide[0],
        quant_offset=wide[1],
        out=(hidden(out[0], name), out[1]),
        **rest,
    )
    return visible(y, out[0]), scale


@converts(listed("npu_swiglu_mx_quant"))
def npu_swiglu_mx_quant(x: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_swiglu_mx_quant", dst_type)
    types = (hidden(out[0], name), hidden(out[1], "float8_e8m0"))
    y, scale = ge.SwigluMxQuant(x, dst_type=number, out=types, **rest)
    return visible(y, out[0]), visible(scale, out[1])


@converts(listed("npu_dynamic_block_quant"))
def npu_dynamic_block_quant(x: Any, dst_type: Any, out: Any, **rest: Any) -> Any:
    name, number = number_type("npu_dynamic_block_quant", dst_type)
    types = (hidden(out[0], name), out[1])
    y, scale = ge.DynamicBlockQuant(x, dst_type=number, out=types, **rest)
    return visible(y, out[0]), scale


@converts(listed("npu_grouped_dynamic_block_quant"))
def npu_grouped_dynamic_block_quant(
    x: Any, group_list: Any, dst_type: Any, out: Any, **rest: Any
) -> Any:
    name, number = number_type("npu_grouped_dynamic_block_quant", dst_type)
    types = (hidden(out[0], name), out[1])
    group = ge.cast_to(group_list, interned.i32)
    y, scale = ge.GroupedDynamicBlockQuant(x, group, dst_type=number, out=types, **rest)
    return visible(y, out[0]), scale
