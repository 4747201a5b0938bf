"""Collectives: those of torch (``_c10d_functional``), of torch_npu's TorchAir (``npu_define``), and
sums of quantised tensors."""

from __future__ import annotations

from typing import Any, cast

from xdsl.ir import Attribute, SSAValue

from torchair.dialects import npu_groups
from torchair.dialects.aten import table
from torchair.dialects.ge import builder as ge
from torchair.dialects.ge.npu_types import type_name
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.geometry import all_sizes, times
from torchair.passes.convert_aten_to_ge.geometry import shape as _shape
from torchair.passes.convert_aten_to_ge.npu_calls import ge_type, listed
from torchair.passes.convert_aten_to_ge.npu_packing import unpacked
from torchair.passes.convert_aten_to_ge.registry import converts

_REDUCTIONS = {"sum": "sum", "product": "prod", "prod": "prod", "max": "max", "min": "min"}


def _schema(name: str) -> str:
    found = table.find(name)
    if found is None:
        raise ConversionError(f"the schema table has no operator {name}")
    return found.text


def _reduction(name: str) -> str:
    found = _REDUCTIONS.get(name)
    if found is None:
        raise ConversionError(
            f"GE does not reduce over ranks by '{name}'",
            expected=", ".join(dict.fromkeys(_REDUCTIONS)),
            hint="reduce by sum, and divide by the number of ranks for an average",
        )
    return found


def _reducible(x: SSAValue) -> SSAValue:
    """bfloat16 is reduced in float32: GE's operators do not take it."""
    return ge.cast_to(x, interned.f32) if ge.element(x) == interned.bf16 else x


def _reduced(op: str, x: SSAValue, out: Attribute, *others: Any, **attributes: Any) -> Any:
    value = _reducible(x)
    type_ = out if value is x else _as(out, interned.f32)
    found = ge.call(op, value, *others, out=type_, **attributes)
    return ge.cast_to(found, interned.element_type(out))


_CARRIERS: dict[Attribute, Attribute] = {interned.bf16: interned.f32, interned.i1: interned.i8}
"""Types that GE does not send, and those that hold all of their values."""


def _carrier(type_: Attribute) -> Attribute:
    element = interned.element_type(type_)
    return _CARRIERS.get(element, element)


def _as(type_: Attribute, element: Attribute) -> Attribute:
    return interned.tensor(_shape(type_), element)


def _carried(x: SSAValue) -> SSAValue:
    return ge.cast_to(x, _carrier(x.type))


def _exchanged(op: str, x: SSAValue, out: Attribute, *others: Any, **attributes: Any) -> Any:
    """A call that moves elements."""
    type_ = out if _carrier(out) == interned.element_type(out) else _as(out, _carrier(out))
    found = ge.call(op, _carried(x), *others, out=type_, **attributes)
    return ge.cast_to(found, interned.element_type(out))


# ---------------------------------------------------------------- torch


@converts(_schema("_c10d_functional.wait_tensor"))
def wait_tensor(tensor: Any) -> Any:
    """Collectives of a GE graph are complete when their result is read."""
    return tensor


@converts(_schema("_c10d_functional.all_reduce"))
def all_reduce(input: Any, reduce_op: Any, group_name: Any, out: Any) -> Any:
    named = {"reduction": _reduction(reduce_op), "group": group_name}
    return _reduced("HcomAllReduce", input, out, **named, fusion=0)


@converts(_schema("_c10d_functional.all_gather_into_tensor"))
def all_gather_into_tensor(input: Any, group_size: Any, group_name: Any, out: Any) -> Any:
    named = {"rank_size": group_size, "group": group_name}
    return _exchanged("HcomAllGather", input, out, **named, fusion=0)


@converts(_schema("_c10d_functional.reduce_scatter_tensor"))
def reduce_scatter_tensor(
    input: Any, reduce_op: Any, group_size: Any, group_name: Any, out: Any
) -> Any:
    named = {"rank_size": group_size, "group": group_name}
    if reduce_op == "avg":
        total = _reduced("HcomReduceScatter", input, out, reduction="sum", **named)
        return ge.RealDiv(total, group_size, out=out)
    return _reduced("HcomReduceScatter", input, out, reduction=_reduction(reduce_op), **named)


@converts(_schema("_c10d_functional.broadcast"))
def broadcast(input: Any, src: Any, group_name: Any, out: Any) -> Any:
    return _broadcast(input, src, group_name, out)


def _broadcast(x: SSAValue, root: int, group: str, out: Attribute) -> Any:
    carrier = _carrier(out)
    named = {"root_rank": root, "group": group, "fusion": 0}
    [found] = ge.HcomBroadcast([_carried(x)], out=(_as(out, carrier),), **named)
    return ge.cast_to(found, interned.element_type(out))


@converts(_schema("_c10d_functional.all_to_all_single"))
def all_to_all_single(
    input: Any, output_split_sizes: Any, input_split_sizes: Any, group_name: Any, out: Any
) -> Any:
    inner: Any = 1
    for size in all_sizes(input)[1:]:
        inner = times(inner, size)
    sent, received = (
        [times(rows, inner) for rows in sizes] for sizes in (input_split_sizes, output_split_sizes)
    )
    counts = sent, _places(sent), received, _places(received)
    return _all_to_all(input, counts, group_name, out)


def _places(counts: list[Any]) -> list[Any]:
    """Where each part begins."""
    found: list[Any] = [0]
    for count in counts[:-1]:
        found.append(_sum(found[-1], count))
    return found


def _sum(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return ge.Add(left, right, out=interned.tensor([], interned.i64))


def _all_to_all(x: SSAValue, counts: tuple[list[Any], ...], group: str, out: Attribute) -> Any:
    """Sent counts and their places, received ones and theirs, all of elements."""
    sent, _, received, _ = counts
    if all(isinstance(n, int) for n in (*sent, *received)) and len({*sent, *received}) == 1:
        return _exchanged("HcomAllToAll", x, out, group=group)
    return _exchanged("HcomAllToAllV", x, out, *[ge.sizes(n) for n in counts], group=group)


# ---------------------------------------------------------------- npu_define


@converts(_schema("npu_define._allgather_in_tensor_shape"))
def allgather_in_tensor_shape(
    input: Any, output_shape: Any, tag: Any, ranks: Any, group_size: Any, out: Any
) -> Any:
    """The ranks' tensors one after the other, in another shape."""
    known = _shape(input)
    rows = interned.DYNAMIC if known[0] == interned.DYNAMIC else known[0] * group_size
    gathered = _exchanged(
        "HcomAllGather",
        input,
        interned.tensor([rows, *known[1:]], ge.element(input)),
        rank_size=group_size,
        group=npu_groups.group_name(tag, ranks),
        fusion=0,
    )
    return ge.Reshape(gathered, ge.sizes(output_shape), out=out)


@converts(_schema("npu_define.allgather"))
def allgather(tensor_list: Any, input: Any, tag: Any, ranks: Any, group_size: Any, out: Any) -> Any:
    """Of the tensors only the shapes are read: how many rows each rank has."""
    types = tuple(cast("list[Attribute]", out)) if isinstance(out, list) else (out,)
    rows = [all_sizes(value)[0] for value in tensor_list]
    known = [size if isinstance(size, int) else interned.DYNAMIC for size in rows]
    total = interned.DYNAMIC if interned.DYNAMIC in known else sum(known)
    type_ = interned.tensor([total, *_shape(input)[1:]], ge.element(input))
    counts = ge.sizes([all_sizes(input)[0]]), ge.sizes(rows)
    group = npu_groups.group_name(tag, ranks)
    found = _exchanged("HcomAllGatherV", input, type_, *counts, group=group)
    return ge.SplitV(found, ge.sizes(rows), 0, num_split=len(types), out=types)


@converts(_schema("npu_define.allgather_in_tensor"))
def allgather_in_tensor(
    out_: Any, input: Any, tag: Any, ranks: Any, group_size: Any, out: Any
) -> Any:
    """Of the first argument only the shape is read."""
    return allgather_in_tensor_shape(input, all_sizes(out_), tag, ranks, group_size, out)


@converts(_schema("npu_define.allgather_in_tensor_uneven"))
def allgather_in_tensor_uneven(
    input_tensor: Any,
    send_count: Any,
    recv_counts: Any,
    tag: Any,
    rank_list: Any,
    group_size: Any,
    recv_displacements: Any,
    out: Any,
) -> Any:
    counts = ge.sizes([send_count]), ge.sizes(recv_counts), _optional(recv_displacements)
    group = npu_groups.group_name(tag, rank_list)
    return _exchanged("HcomAllGatherV", input_tensor, out, *counts, group=group)


@converts(_schema("npu_define.reduce_scatter_tensor_uneven"))
def reduce_scatter_tensor_uneven(
    input_tensor: Any,
    send_counts: Any,
    recv_count: Any,
    reduce_type: Any,
    tag: Any,
    rank_list: Any,
    group_size: Any,
    send_displacements: Any,
    out: Any,
) -> Any:
    counts = ge.sizes([recv_count]), ge.sizes(send_counts), _optional(send_displacements)
    named = {
        "reduction": _reduction(reduce_type),
        "group": npu_groups.group_name(tag, rank_list),
    }
    return _reduced("HcomReduceScatterV", input_tensor, out, *counts, **named)


def _optional(places: list[Any]) -> Any:
    return ge.sizes(places) if places else None


@converts(_schema("npu_define.all_to_all_single_npu"))
def all_to_all_single_npu(
    input: Any,
    send_counts: Any,
    send_displacements: Any,
    recv_counts: Any,
    recv_displacements: Any,
    tag: Any,
    ranks: Any,
    group_size: Any,
    out: Any,
) -> Any:
    counts = send_counts, send_displacements, recv_counts, recv_displacements
    return _all_to_all(input, counts, npu_groups.group_name(tag, ranks), out)


@converts(_schema("npu_define.broadcast"))
def npu_broadcast(
    self: Any, src: Any, tag: Any, ranks: Any, group_size: Any, group_src: Any, out: Any
) -> Any:
    root = npu_groups.group_rank(src, group_src, ranks, "npu_define::broadcast")
    return _broadcast(self, root, npu_groups.group_name(tag, ranks), out)


@converts(_schema("npu_define._send"))
def send(
    input_tensor: Any, dst: Any, ranks: Any, pg_tag: Any, tag: Any, group_dst: Any, shape: Any
) -> None:
    rank = npu_groups.group_rank(dst, group_dst, ranks, "npu_define::_send")
    group = npu_groups.group_name(pg_tag, ranks)
    ge.HcomSend(_carried(input_tensor), group=group, sr_tag=tag, dest_rank=rank, out=())


@converts(_schema("npu_define._recv"))
def recv(
    out_tensor: Any,
    src: Any,
    ranks: Any,
    pg_tag: Any,
    tag: Any,
    group_src: Any,
    shape: Any,
    out: Any,
) -> Any:
    sizes = _shape(out)
    if interned.DYNAMIC in sizes:
        raise ConversionError(
            "GE receives tensors of known shapes",
            found=str(out),
            hint="compile with dynamic=False, or mark this tensor's sizes static",
        )
    carrier = _carrier(out)
    found = ge.HcomReceive(
        group=npu_groups.group_name(pg_tag, ranks),
        sr_tag=tag,
        src_rank=npu_groups.group_rank(src, group_src, ranks, "npu_define::_recv"),
        shape=sizes,
        dtype=carrier,
        out=interned.tensor(sizes, carrier),
    )
    return ge.cast_to(found, interned.element_type(out))


# ---------------------------------------------------------------- quantised sums


@converts(listed("npu_quant_all_reduce"))
def npu_quant_all_reduce(out: Any, **named: Any) -> Any:
    return _quantised("QuantAllReduce", "npu_quant_all_reduce", named, out)


@converts(listed("npu_quant_reduce_scatter"))
def npu_quant_reduce_scatter(out: Any, **named: Any) -> Any:
    return _quantised("QuantReduceScatter", "npu_quant_reduce_scatter", named, out)


def _quantised(op: str, name: str, named: dict[str, Any], out: Attribute) -> Any:
    x, scales = named["x"], named["scales"]
    if named["x_dtype"] is not None:
        x = unpacked(x, type_name(named["x_dtype"], name))
    if named["scales_dtype"] is not None:
        scales = unpacked(scales, type_name(named["scales_dtype"], name))
    return ge.call(
        op,
        x,
        scales,
        group=named["hcom"],
        reduce_op=named["reduce_op"] or "sum",
        output_dtype=ge_type(out),
        world_size=named["world_size"],
        out=out,
    )
