"""torch_npu's quantised and fused matrix products."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import rank, shape, symbols
from torchair.passes.convert_aten_to_ge.npu_calls import build, ge_type, listed
from torchair.passes.convert_aten_to_ge.npu_packing import unpacked
from torchair.passes.convert_aten_to_ge.recipes import like, untransposed
from torchair.passes.convert_aten_to_ge.registry import converts


def four_bits(x: SSAValue) -> SSAValue:
    """The int4 elements that an int32 tensor holds; other tensors as they are."""
    return unpacked(x, "int4") if ge.element(x) == interned.i32 else x


def turned(x: SSAValue) -> SSAValue:
    """The last two dimensions swapped."""
    order = list(range(rank(x)))
    order[-2:] = order[-1], order[-2]
    sizes = shape(x)
    return ge.Transpose(x, order, out=like(x.type, [sizes[i] for i in order]))


def four_bit_matrix(x: SSAValue, is_packed_by_rows: bool) -> tuple[SSAValue, bool]:
    """A weight with its int4 elements apart, and whether it is transposed now."""
    if ge.element(x) == interned.i32 and is_packed_by_rows:
        return unpacked(turned(x), "int4"), True
    return four_bits(x), False


@converts(listed("npu_linear"))
def npu_linear(input: Any, weight: Any, bias: Any, out: Any) -> Any:
    return ge.MatMul(input, weight, bias, transpose_x2=True, out=out)


@converts(listed("npu_linear_backward"))
def npu_linear_backward(grad: Any, input: Any, weight: Any, out: Any) -> Any:
    return (
        ge.MatMul(grad, weight, out=out[0]),
        ge.MatMul(grad, input, transpose_x1=True, out=out[1]),
    )


@converts(listed("npu_quant_matmul"))
def npu_quant_matmul(x1: Any, x2: Any, out: Any, **named: Any) -> Any:
    by_rows = ge.element(x1) == interned.i32 and symbols(x1)[-1] == symbols(x2)[-2]
    matrix, is_turned = four_bit_matrix(x2, by_rows)
    if not is_turned:
        matrix, is_turned = untransposed(matrix)
    return build(
        "npu_quant_matmul",
        "QuantBatchMatmulV3",
        named,
        out,
        ignored=("output_dtype", "group_sizes") if not any(named["group_sizes"] or ()) else (),
        x1=four_bits(x1),
        x2=matrix,
        transpose_x2=is_turned,
        dtype=ge_type(out),
    )


@converts(listed("npu_weight_quant_batchmatmul"))
def npu_weight_quant_batchmatmul(weight: Any, out: Any, **named: Any) -> Any:
    matrix, is_turned = four_bit_matrix(weight, symbols(weight)[-1] == symbols(out)[-1])
    if not is_turned and not named["antiquant_group_size"]:
        matrix, is_turned = untransposed(matrix)
    return build(
        "npu_weight_quant_batchmatmul",
        "WeightQuantBatchMatmulV2",
        named,
        out,
        weight=matrix,
        transpose_weight=is_turned,
        dtype=ge_type(out) if named["quant_scale"] is not None else -1,
    )


@converts(listed("npu_ffn"))
def npu_ffn(weight1: Any, weight2: Any, out: Any, **named: Any) -> Any:
    tokens, index = named["expert_tokens"], named["expert_tokens_index"]
    if tokens is not None and index is not None:
        raise ConversionError("npu_ffn takes expert_tokens or expert_tokens_index, not both")
    return build(
        "npu_ffn",
        "FFN",
        named,
        out,
        ignored=("expert_tokens_index",),
        weight1=four_bits(weight1),
        weight2=four_bits(weight2),
        expert_tokens=index if tokens is None else tokens,
        inner_precise=named["inner_precise"] or 0,
        output_dtype=_ffn_result(named["x"], out),
        tokens_index_flag=tokens is None and index is not None,
    )


def _ffn_result(x: SSAValue, out: Any) -> int:
    """-1 for float inputs; of int8 ones 0 is float16 and 1 bfloat16."""
    if ge.element(x) != interned.i8:
        return -1
    return 1 if interned.element_type(out) == interned.bf16 else 0
