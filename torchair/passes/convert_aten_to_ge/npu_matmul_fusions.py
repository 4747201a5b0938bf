"""torch_npu's matrix products fused with what surrounds them."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.npu_calls import build, ge_type, listed
from torchair.passes.convert_aten_to_ge.recipes import filled
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_transpose_batchmatmul"))
def npu_transpose_batchmatmul(out: Any, **named: Any) -> Any:
    return build(
        "npu_transpose_batchmatmul",
        "TransposeBatchMatMul",
        named,
        out,
        renamed={"x1": "input", "x2": "weight"},
        perm_x1=named["perm_x1"] or [0, 1, 2],
        perm_x2=named["perm_x2"] or [0, 1, 2],
        perm_y=named["perm_y"] or [1, 0, 2],
    )


@converts(listed("npu_transpose_quant_batchmatmul"))
def npu_transpose_quant_batchmatmul(out: Any, **named: Any) -> Any:
    name = "npu_transpose_quant_batchmatmul"
    return build(name, "TransposeQuantBatchMatMul", named, out, dtype=ge_type(out))


@converts(listed("npu_quant_matmul_dequant"))
def npu_quant_matmul_dequant(out: Any, **named: Any) -> Any:
    names = {"x_quant_mode": "quant_mode"}
    return build("npu_quant_matmul_dequant", "QuantMatmulDequant", named, out, renamed=names)


@converts(listed("npu_quant_grouped_matmul_dequant"))
def npu_quant_grouped_matmul_dequant(out: Any, **named: Any) -> Any:
    return build(
        "npu_quant_grouped_matmul_dequant",
        "QuantGroupedMatmulDequant",
        named,
        out,
        renamed={"x_quant_mode": "quant_mode"},
    )


@converts(listed("npu_quant_matmul_reduce_sum"))
def npu_quant_matmul_reduce_sum(out: Any, **named: Any) -> Any:
    name = "npu_quant_matmul_reduce_sum"
    dims = ge.current().constant([0], interned.i64)
    return build(name, "QuantMatmulReduceSum", named, out, dims=dims, dtype=ge_type(out))


@converts(listed("npu_fused_matmul"))
def npu_fused_matmul(out: Any, **named: Any) -> Any:
    return build("npu_fused_matmul", "FusedMatMul", named, out)


@converts(listed("npu_batch_gather_matmul"))
def npu_batch_gather_matmul(out: Any, **named: Any) -> Any:
    names = {"y": "input", "weightB": "weight_b", "weightA": "weight_a"}
    return build("npu_batch_gather_matmul", "AddLora", named, out, renamed=names)


@converts(listed("npu_batch_gather_matmul_"))
def npu_batch_gather_matmul_(input: Any, out: Any, **named: Any) -> Any:
    found = npu_batch_gather_matmul(out, input=input, **named)
    return ge.Assign(input, found, out=input.type)


@converts(listed("npu_grouped_matmul_finalize_routing"))
def npu_grouped_matmul_finalize_routing(out: Any, **named: Any) -> Any:
    name = "npu_grouped_matmul_finalize_routing"
    return build(name, "GroupedMatmulFinalizeRouting", named, out, dtype=0)


@converts(listed("npu_grouped_matmul_swiglu_quant"))
def npu_grouped_matmul_swiglu_quant(weight: Any, weight_scale: Any, out: Any, **named: Any) -> Any:
    """The second version includes it; its third result has no elements to compute."""
    results = build(
        "npu_grouped_matmul_swiglu_quant",
        "GroupedMatmulSwigluQuantV2",
        named,
        out[:2],
        weight=[weight],
        weight_scale=[weight_scale],
    )
    return *results, filled(0, [], interned.f32)


@converts(listed("npu_grouped_matmul_swiglu_quant_v2"))
def npu_grouped_matmul_swiglu_quant_v2(out: Any, **named: Any) -> Any:
    name = "npu_grouped_matmul_swiglu_quant_v2"
    hints = ("dequant_dtype", "quant_dtype")
    return build(
        name,
        "GroupedMatmulSwigluQuantV2",
        named,
        out,
        ignored=hints,
        dequant_dtype=0,
        quant_dtype=ge_type(out[0]),
    )


@converts(listed("npu_quant_conv2d"))
def npu_quant_conv2d(strides: Any, pads: Any, dilations: Any, out: Any, **named: Any) -> Any:
    return build(
        "npu_quant_conv2d",
        "QuantConv2D",
        named,
        out,
        renamed={"x": "input", "filter": "weight"},
        ignored=("output_dtype",),
        dtype=ge_type(out),
        strides=[1, 1, *strides],
        pads=[pads[0], pads[0], pads[1], pads[1]],
        dilations=[1, 1, *dilations],
        data_format="NCHW",
    )
