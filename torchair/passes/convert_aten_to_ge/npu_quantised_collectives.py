"""torch_npu's products of quantised tensors fused with an exchange between ranks."""

from __future__ import annotations

from typing import Any

from torchair.errors import ConversionError
from torchair.passes.convert_aten_to_ge.npu_calls import build, ge_type, listed
from torchair.passes.convert_aten_to_ge.registry import converts

_EXCHANGE = {
    "group": "hcom",
    "comm_scale": "common_scale",
    "comm_quant_mode": "common_quant_mode",
}


@converts(listed("npu_quant_matmul_all_to_all"))
def npu_quant_matmul_all_to_all(out: Any, **named: Any) -> Any:
    name = "npu_quant_matmul_all_to_all"
    return build(name, "MatmulAlltoAll", named, out, renamed=_EXCHANGE, y_dtype=ge_type(out))


@converts(listed("npu_all_to_all_quant_matmul"))
def npu_all_to_all_quant_matmul(out: Any, **named: Any) -> Any:
    return build(
        "npu_all_to_all_quant_matmul",
        "AlltoAllMatmul",
        named,
        out,
        renamed={**_EXCHANGE, "alltoall_out_flag": "all2all_out_flag"},
        y_dtype=ge_type(out[0]),
    )


@converts(listed("npu_alltoallv_quant_gmm"))
def npu_alltoallv_quant_gmm(out: Any, **named: Any) -> Any:
    return _experts("npu_alltoallv_quant_gmm", "AlltoAllvQuantGroupedMatMul", named, out)


@converts(listed("npu_quant_gmm_alltoallv"))
def npu_quant_gmm_alltoallv(out: Any, **named: Any) -> Any:
    return _experts("npu_quant_gmm_alltoallv", "QuantGroupedMatMulAlltoAllv", named, out)


def _experts(name: str, op: str, named: dict[str, Any], out: Any) -> Any:
    for mode in ("gmm_x_quant_mode", "gmm_weight_quant_mode"):
        if named[mode] is None:
            raise ConversionError(
                f"GE needs '{mode}' of npu::{name}",
                expected="1 for one scale per operand",
                hint=f"pass {mode}",
            )
    return build(
        name,
        op,
        named,
        out,
        renamed={"group": "hcom"},
        ignored=("gmm_y_dtype", "mm_y_dtype"),
        y_dtype=ge_type(out[0]),
        mm_dtype=ge_type(out[1]),
    )
