"""torch_npu's writes to key and value caches, in place and functional."""

from __future__ import annotations

from typing import Any

from xdsl.ir import SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.passes.convert_aten_to_ge.npu_calls import listed
from torchair.passes.convert_aten_to_ge.recipes import filled
from torchair.passes.convert_aten_to_ge.registry import converts


def moved(value: SSAValue) -> SSAValue:
    """A copy for an operator that writes in place."""
    return ge.TensorMove(value, out=value.type)


@converts(listed("scatter_update"))
def scatter_update(input: Any, indices: Any, updates: Any, axis: Any) -> Any:
    return scatter_update_(moved(input), indices, updates, axis)


@converts(listed("scatter_update_"))
def scatter_update_(input: Any, indices: Any, updates: Any, axis: Any) -> Any:
    updates = ge.cast_to(updates, ge.element(input))
    return ge.Scatter(input, indices, updates, reduce="update", axis=axis, out=input.type)


@converts(listed("npu_scatter_nd_update"))
def npu_scatter_nd_update(input: Any, indices: Any, updates: Any) -> Any:
    return ge.ScatterNdUpdate(moved(input), indices, updates, out=input.type)


@converts(listed("npu_scatter_nd_update_"))
def npu_scatter_nd_update_(input: Any, indices: Any, updates: Any) -> Any:
    return ge.ScatterNdUpdate(input, indices, updates, out=input.type)


@converts(listed("npu_scatter_list"))
def npu_scatter_list(
    input: Any, indices: Any, updates: Any, mask: Any, reduce: Any, axis: Any
) -> Any:
    copies = [moved(v) for v in input]
    types = tuple(v.type for v in input)
    return ge.ScatterList(copies, indices, updates, mask, reduce=reduce, axis=axis, out=types)


@converts(listed("npu_quant_scatter"))
def npu_quant_scatter(input: Any, **named: Any) -> Any:
    return npu_quant_scatter_(moved(input), **named)


@converts(listed("npu_quant_scatter_"))
def npu_quant_scatter_(
    input: Any,
    indices: Any,
    updates: Any,
    quant_scales: Any,
    quant_zero_points: Any,
    dst_type: Any,
    round_mode: Any,
    **attributes: Any,
) -> Any:
    if dst_type not in (None, 1):
        raise ConversionError("npu_quant_scatter writes int8", expected=1, found=dst_type)
    attributes["round_mode"] = round_mode or "rint"
    tensors = (input, indices, updates, quant_scales, quant_zero_points)
    return ge.QuantUpdateScatter(*tensors, out=input.type, **attributes)


@converts(listed("npu_scatter_pa_kv_cache_functional"))
def npu_scatter_pa_kv_cache_functional(key_cache: Any, value_cache: Any, **named: Any) -> Any:
    return _write_pages(key_cache=moved(key_cache), value_cache=moved(value_cache), **named)


@converts(listed("npu_scatter_pa_kv_cache"))
def npu_scatter_pa_kv_cache(**named: Any) -> None:
    _write_pages(**named)


def _write_pages(
    key: Any,
    value: Any,
    key_cache: Any,
    value_cache: Any,
    slot_mapping: Any,
    compress_lens: Any,
    compress_seq_offsets: Any,
    seq_lens: Any,
    cache_mode: Any,
) -> Any:
    return ge.ScatterPaKvCache(
        key,
        key_cache,
        slot_mapping,
        value,
        value_cache,
        compress_lens,
        compress_seq_offsets,
        seq_lens,
        cache_mode=cache_mode or "Norm",
        out=(key_cache.type, value_cache.type),
    )


@converts(listed("npu_gather_backward"))
def npu_gather_backward(
    grad: Any, self_size: Any, dim: Any, index: Any, sparse_grad: Any, out: Any
) -> Any:
    if sparse_grad:
        raise ConversionError("npu_gather_backward gives dense gradients", expected=False)
    zeros = filled(0, self_size, ge.element(grad))
    return ge.ScatterElements(zeros, index, grad, axis=dim, reduction="add", out=out)
