"""torch_npu's products of 8-bit floats that are added to a tensor."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.dialects.ge.npu_types import packed_group_sizes, type_name
from torchair.errors import ConversionError
from torchair.passes.convert_aten_to_ge.npu_calls import listed
from torchair.passes.convert_aten_to_ge.npu_kv_cache import moved
from torchair.passes.convert_aten_to_ge.npu_packing import unpacked
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_add_quant_matmul"))
def npu_add_quant_matmul(input: Any, **named: Any) -> Any:
    return npu_add_quant_matmul_(moved(input), **named)


@converts(listed("npu_add_quant_matmul_"))
def npu_add_quant_matmul_(input: Any, group_sizes: Any, **named: Any) -> Any:
    name = "npu_add_quant_matmul"
    return ge.QuantBatchMatmulInplaceAdd(
        _typed(name, "x1", named),
        _typed(name, "x2", named),
        _typed(name, "x2_scale", named),
        input,
        _typed(name, "x1_scale", named),
        group_size=packed_group_sizes(group_sizes, name),
        out=input.type,
    )


@converts(listed("npu_add_quant_gmm"))
def npu_add_quant_gmm(input: Any, **named: Any) -> Any:
    return npu_add_quant_gmm_(moved(input), **named)


@converts(listed("npu_add_quant_gmm_"))
def npu_add_quant_gmm_(
    input: Any, group_list: Any, group_list_type: Any, group_sizes: Any, **named: Any
) -> Any:
    name = "npu_add_quant_gmm"
    if group_sizes is not None:
        raise ConversionError(f"{name} takes no group_sizes", hint="leave group_sizes out")
    return ge.QuantGroupedMatmulInplaceAdd(
        _typed(name, "x1", named),
        _typed(name, "x2", named),
        _typed(name, "x2_scale", named),
        group_list,
        input,
        _typed(name, "x1_scale", named),
        group_list_type=group_list_type or 0,
        out=input.type,
    )


def _typed(name: str, argument: str, named: dict[str, Any]) -> Any:
    """A tensor under the element type that its type number names."""
    value, number = named[argument], named[f"{argument}_dtype"]
    return value if value is None or number is None else unpacked(value, type_name(number, name))
