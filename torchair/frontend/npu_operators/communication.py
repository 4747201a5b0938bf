"""Collectives that torch_npu's TorchAir names ``npu_define``, and sums of quantised tensors.

A group is its tag and the ranks it has; on one rank everything stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_communication as kernels
from torchair.backend_ge.host.kernels import npu_process_groups as groups
from torchair.dialects.ge.npu_types import type_name
from torchair.dialects.npu_groups import group_name, group_rank
from torchair.frontend.npu_operators.matmul import ge_number
from torchair.frontend.npu_operators.narrow_results import held
from torchair.frontend.npu_operators.registry import implements

_BFLOAT16 = 15


@implements("npu_define::allgather")
def allgather(
    tensor_list: Sequence[Tensor], input: Tensor, tag: str, ranks: Sequence[int], group_size: int
) -> list[Tensor]:
    rows = [t.shape[0] for t in tensor_list]
    found = groups.all_gather(input, rows, group_name(tag, ranks))
    return [part.clone() for part in found.split(rows)]


@implements("npu_define::allgather_in_tensor")
def allgather_in_tensor(
    out: Tensor, input: Tensor, tag: str, ranks: Sequence[int], group_size: int
) -> Tensor:
    return allgather_in_tensor_shape(input, out.shape, tag, ranks, group_size)


@implements("npu_define::_allgather_in_tensor_shape")
def allgather_in_tensor_shape(
    input: Tensor, output_shape: Sequence[Any], tag: str, ranks: Sequence[int], group_size: int
) -> Tensor:
    rows = [input.shape[0]] * group_size
    return groups.all_gather(input, rows, group_name(tag, ranks)).reshape(output_shape)


@implements("npu_define::allgather_in_tensor_uneven")
def allgather_in_tensor_uneven(
    input_tensor: Tensor,
    send_count: int,
    recv_counts: Sequence[int],
    tag: str,
    rank_list: Sequence[int],
    group_size: int,
    recv_displacements: Sequence[int],
) -> Tensor:
    return groups.all_gather(input_tensor, recv_counts, group_name(tag, rank_list))


@implements("npu_define::reduce_scatter_tensor_uneven")
def reduce_scatter_tensor_uneven(
    input_tensor: Tensor,
    send_counts: Sequence[int],
    recv_count: int,
    reduce_type: str,
    tag: str,
    rank_list: Sequence[int],
    group_size: int,
    send_displacements: Sequence[int],
) -> Tensor:
    name = group_name(tag, rank_list)
    return groups.reduce_scatter(input_tensor, send_counts, recv_count, reduce_type, name)


@implements("npu_define::all_to_all_single_npu")
def all_to_all_single_npu(
    input: Tensor,
    send_counts: Sequence[int],
    send_displacements: Sequence[int],
    recv_counts: Sequence[int],
    recv_displacements: Sequence[int],
    tag: str,
    ranks: Sequence[int],
    group_size: int,
) -> Tensor:
    """Counts are of elements, and of whole rows."""
    inner = max(math.prod(input.shape[1:]), 1)
    sent, received = ([n // inner for n in counts] for counts in (send_counts, recv_counts))
    return groups.all_to_all(input, sent, received, group_name(tag, ranks))


@implements("npu_define::broadcast")
def broadcast(
    self: Tensor,
    src: int | None,
    tag: str,
    ranks: Sequence[int],
    group_size: int,
    group_src: int | None = None,
) -> Tensor:
    root = group_rank(src, group_src, ranks, "broadcast")
    return groups.broadcast(self, root, group_name(tag, ranks))


@implements("npu_define::_send")
def send(
    input_tensor: Tensor,
    dst: int | None,
    ranks: Sequence[int],
    pg_tag: str,
    tag: int,
    group_dst: int | None = None,
    shape: Sequence[int] | None = None,
) -> None:
    rank = group_rank(dst, group_dst, ranks, "_send")
    groups.send(input_tensor, rank, tag, group_name(pg_tag, ranks))


@implements("npu_define::_recv")
def recv(
    out_tensor: Tensor,
    src: int | None,
    ranks: Sequence[int],
    pg_tag: str,
    tag: int,
    group_src: int | None = None,
    shape: Sequence[int] | None = None,
) -> Tensor:
    rank = group_rank(src, group_src, ranks, "_recv")
    if out_tensor.device.type == "meta":
        return out_tensor.new_empty(out_tensor.shape)
    name = group_name(pg_tag, ranks)
    like = out_tensor
    return groups.receive(like.shape, like.dtype, rank, tag, name, like.device)


@implements("npu_quant_all_reduce")
def npu_quant_all_reduce(
    x: Tensor, scales: Tensor, hcom: str, world_size: int, **named: Any
) -> Tensor:
    name = "npu_quant_all_reduce"
    values, factors, number = _quantised(name, x, scales, named)
    if x.device.type == "meta":
        return x.new_empty(x.shape, dtype=getattr(torch, type_name(number, name)))
    return kernels.quant_all_reduce(
        values,
        factors,
        group=hcom,
        reduce_op=named.get("reduce_op") or "sum",
        output_dtype=ge_number(number, name),
        world_size=world_size,
    )


@implements("npu_quant_reduce_scatter")
def npu_quant_reduce_scatter(
    x: Tensor, scales: Tensor, hcom: str, world_size: int, **named: Any
) -> Tensor:
    name = "npu_quant_reduce_scatter"
    values, factors, number = _quantised(name, x, scales, named)
    if x.device.type == "meta":
        sizes = [math.prod(x.shape[:-1]) // world_size, x.shape[-1]]
        return x.new_empty(sizes, dtype=getattr(torch, type_name(number, name)))
    return kernels.quant_reduce_scatter(
        values,
        factors,
        group=hcom,
        reduce_op=named.get("reduce_op") or "sum",
        output_dtype=ge_number(number, name),
        world_size=world_size,
    )


def _quantised(
    name: str, x: Tensor, scales: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor, int]:
    """The numbers and scales under their element types, and the number of the result's."""
    number = named.get("output_dtype")
    values = held(x, named.get("x_dtype"), name)
    factors = held(scales, named.get("scales_dtype"), name)
    return values, factors, _BFLOAT16 if number is None else number
