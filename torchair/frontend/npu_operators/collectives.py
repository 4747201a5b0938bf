"""Products fused with communication, dispatch to experts, barriers and schedulers.

Shapes are those of every group size; numbers come from the host device, which is one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_collectives as kernels
from torchair.backend_ge.host.kernels import npu_moe_distribution as distribution
from torchair.dialects.ge.npu_types import type_name
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.matmul import ge_number, unused
from torchair.frontend.npu_operators.registry import implements

_HINTS = ("reduce_op", "comm_turn", "comm_mode", "gather_index")
_UNUSED = ("group_sizes", "x1_dtype", "x2_dtype", "x1_scale_dtype", "x2_scale_dtype")


def _rows(size: Any, world_size: int, is_gathered: bool) -> Any:
    ranks = max(world_size, 1)
    return size * ranks if is_gathered else size // ranks


def _check(name: str, named: dict[str, Any]) -> None:
    """Refuse what changes the result and is not implemented."""
    if named.get("reduce_op", "sum") != "sum" or named.get("gather_index", 0):
        raise UnsupportedOpError(f"{name} sums, and gathers its first operand")
    for hint in _HINTS:
        named.pop(hint, None)


@implements("npu_mm_all_reduce_base")
def npu_mm_all_reduce_base(x1: Tensor, x2: Tensor, hcom: str, **named: Any) -> Tensor:
    name = "npu_mm_all_reduce_base"
    _check(name, named)
    types = ("group_sizes", "x1_dtype", "x2_dtype", "dequant_scale_dtype", "pertoken_scale_dtype")
    unused(name, named, types)
    unused(name, named, ("comm_quant_scale_1", "comm_quant_scale_2"))
    named.pop("comm_quant_mode", None)
    number = named.pop("y_dtype", None)
    scale: Tensor | None = named.get("dequant_scale")
    if number is None and scale is not None and scale.dtype is torch.bfloat16:
        number = 15
    given = {} if number is None else {"y_dtype": ge_number(number, name)}
    return kernels.matmul_all_reduce(x1, x2, group=hcom, **given, **named)


@implements("npu_all_gather_base_mm")
def npu_all_gather_base_mm(
    input: Tensor, x2: Tensor, hcom: str, world_size: int, **named: Any
) -> tuple[Tensor, Tensor]:
    name = "npu_all_gather_base_mm"
    _check(name, named)
    unused(name, named, ("x1_scale", "x2_scale", "output_dtype"))
    gathers = named.get("gather_output", True)
    if input.device.type == "meta":
        rows = _rows(input.shape[0], world_size, True)
        gathered = input.new_empty([rows, input.shape[1]] if gathers else [0])
        return input.new_empty([rows, x2.shape[1]]), gathered
    bias = named.get("bias")
    sizes = {"rank_size": world_size, "is_gather_out": gathers}
    return kernels.all_gather_matmul(input, x2, bias, group=hcom, **sizes)


@implements("npu_all_gather_quant_mm")
def npu_all_gather_quant_mm(
    input: Tensor, x2: Tensor, hcom: str, world_size: int, **named: Any
) -> tuple[Tensor, Tensor, Tensor]:
    name = "npu_all_gather_quant_mm"
    _check(name, named)
    unused(name, named, (*_UNUSED, "quant_scale"))
    number, gathers = named.get("y_dtype"), named.get("gather_output", True)
    if input.device.type == "meta":
        rows = _rows(input.shape[0], world_size, True)
        found = input.new_empty([rows, x2.shape[1]], dtype=_dtype(input, number, name))
        gathered = input.new_empty([rows, input.shape[1]] if gathers else [0])
        return found, gathered, input.new_empty(0, dtype=torch.float32)
    optional = (named.get("bias"), named.get("x1_scale"), named.get("x2_scale"))
    return kernels.all_gather_matmul_v2(
        input,
        x2,
        *optional,
        group=hcom,
        rank_size=world_size,
        is_gather_out=gathers,
        y_dtype=_number(input, number, name),
    )


@implements("npu_mm_reduce_scatter_base")
def npu_mm_reduce_scatter_base(
    input: Tensor, x2: Tensor, hcom: str, world_size: int, **named: Any
) -> Tensor:
    name = "npu_mm_reduce_scatter_base"
    _check(name, named)
    unused(name, named, ("x1_scale", "x2_scale", "output_dtype"))
    if input.device.type == "meta":
        return input.new_empty([_rows(input.shape[0], world_size, False), x2.shape[1]])
    bias = named.get("bias")
    return kernels.matmul_reduce_scatter(input, x2, bias, group=hcom, rank_size=world_size)


@implements("npu_quant_mm_reduce_scatter")
def npu_quant_mm_reduce_scatter(
    input: Tensor, x2: Tensor, hcom: str, world_size: int, **named: Any
) -> tuple[Tensor, Tensor]:
    name = "npu_quant_mm_reduce_scatter"
    _check(name, named)
    unused(name, named, (*_UNUSED, "quant_scale"))
    number = named.get("y_dtype")
    if input.device.type == "meta":
        sizes = [_rows(input.shape[0], world_size, False), x2.shape[1]]
        found = input.new_empty(sizes, dtype=_dtype(input, number, name))
        return found, input.new_empty(0, dtype=torch.float32)
    optional = (named.get("bias"), named.get("x1_scale"), named.get("x2_scale"))
    return kernels.matmul_reduce_scatter_v2(
        input,
        x2,
        *optional,
        group=hcom,
        rank_size=world_size,
        y_dtype=_number(input, number, name),
    )


def _dtype(x: Tensor, number: int | None, name: str) -> torch.dtype:
    return x.dtype if number is None else getattr(torch, type_name(number, name))


def _number(x: Tensor, number: int | None, name: str) -> int:
    """``ge::DataType`` number of a result, by default of the type of ``x``."""
    names = {torch.float16: 5, torch.bfloat16: 15, torch.float32: 6, torch.int8: 1}
    return ge_number(names[x.dtype] if number is None else number, name)


@implements("npu_matmul_all_to_all")
def npu_matmul_all_to_all(
    x1: Tensor,
    x2: Tensor,
    hcom: str,
    world_size: int,
    bias: Tensor | None = None,
    all2all_axes: Sequence[int] | None = None,
    comm_mode: str | None = None,
) -> Tensor:
    if x1.device.type == "meta":
        return x1.new_empty([x1.shape[0] * world_size, x2.shape[1] // world_size])
    return kernels.matmul_all_to_all(x1, x2, bias, world_size=world_size)


@implements("npu_all_to_all_matmul")
def npu_all_to_all_matmul(
    x1: Tensor,
    x2: Tensor,
    hcom: str,
    world_size: int,
    bias: Tensor | None = None,
    all2all_axes: Sequence[int] | None = None,
    all2all_out_flag: bool = True,
    comm_mode: str | None = None,
) -> tuple[Tensor, Tensor]:
    if not all2all_out_flag:
        raise UnsupportedOpError("npu_all_to_all_matmul gives what it exchanged as well")
    if x1.device.type == "meta":
        rows = x1.shape[0] // world_size
        exchanged = x1.new_empty([rows, x1.shape[1] * world_size])
        return x1.new_empty([rows, x2.shape[1]]), exchanged
    return kernels.all_to_all_matmul(x1, x2, bias, world_size=world_size)


@implements("npu_alltoallv_gmm")
def npu_alltoallv_gmm(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    hcom: str,
    ep_world_size: int,
    send_counts: Sequence[int],
    recv_counts: Sequence[int],
    **named: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    if gmm_x.device.type == "meta":
        rows = sum(recv_counts)
        found = gmm_x.new_empty([rows, _columns(gmm_weight, named, "trans_gmm_weight")])
        flag = named.get("permute_out_flag", False)
        moved = gmm_x.new_empty([rows, gmm_x.shape[1]] if flag else [0])
        return found, _shared_shape(gmm_x, named), moved
    named.pop("comm_mode", None)
    sizes = {"ep_world_size": ep_world_size, "recv_counts": list(recv_counts)}
    return kernels.all_to_allv_grouped_mat_mul(gmm_x, gmm_weight, **sizes, **named)


@implements("npu_gmm_alltoallv")
def npu_gmm_alltoallv(
    gmm_x: Tensor,
    gmm_weight: Tensor,
    hcom: str,
    ep_world_size: int,
    send_counts: Sequence[int],
    recv_counts: Sequence[int],
    **named: Any,
) -> tuple[Tensor, Tensor]:
    if gmm_x.device.type == "meta":
        columns = _columns(gmm_weight, named, "trans_gmm_weight")
        return gmm_x.new_empty([sum(recv_counts), columns]), _shared_shape(gmm_x, named)
    named.pop("comm_mode", None)
    sizes = {"ep_world_size": ep_world_size, "send_counts": list(send_counts)}
    return kernels.grouped_mat_mul_all_to_allv(gmm_x, gmm_weight, **sizes, **named)


def _columns(weight: Tensor, named: dict[str, Any], flag: str) -> Any:
    return weight.shape[-2] if named.get(flag, False) else weight.shape[-1]


def _shared_shape(x: Tensor, named: dict[str, Any]) -> Tensor:
    shared, weight = named.get("mm_x"), named.get("mm_weight")
    if shared is None or weight is None:
        return x.new_empty(0)
    return shared.new_empty([shared.shape[0], _columns(weight, named, "trans_mm_weight")])


@implements("npu_moe_distribute_dispatch")
def npu_moe_distribute_dispatch(
    x: Tensor,
    expert_ids: Tensor,
    group_ep: str,
    ep_world_size: int,
    ep_rank_id: int,
    moe_expert_num: int,
    **named: Any,
) -> tuple[Tensor, ...]:
    sizes = {"ep_world_size": ep_world_size, "moe_expert_num": moe_expert_num}
    return distribution.moe_distribute_dispatch(x, expert_ids, **sizes, **named)


@implements("npu_moe_distribute_dispatch_v2")
def npu_moe_distribute_dispatch_v2(
    x: Tensor,
    expert_ids: Tensor,
    group_ep: str,
    ep_world_size: int,
    ep_rank_id: int,
    moe_expert_num: int,
    **named: Any,
) -> tuple[Tensor, ...]:
    unused("npu_moe_distribute_dispatch_v2", named, ("y_dtype", "x_dtype", "scales_dtype"))
    sizes = {"ep_world_size": ep_world_size, "moe_expert_num": moe_expert_num}
    named.setdefault("comm_alg", "")
    return distribution.moe_distribute_dispatch(x, expert_ids, **sizes, **named)


@implements("npu_moe_distribute_combine")
def npu_moe_distribute_combine(*inputs: Any, **named: Any) -> Tensor:
    return _combine("npu_moe_distribute_combine", inputs, named)


@implements("npu_moe_distribute_combine_v2")
def npu_moe_distribute_combine_v2(*inputs: Any, **named: Any) -> Tensor:
    return _combine("npu_moe_distribute_combine_v2", inputs, named)


def _combine(name: str, inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """Tensors come first, then the group, its size, the rank and the number of experts."""
    unused(name, named, [key for key, value in named.items() if isinstance(value, Tensor)])
    tensors, (_, world_size, _, experts) = inputs[:5], inputs[5:9]
    sizes = {"ep_world_size": world_size, "moe_expert_num": experts}
    return distribution.moe_distribute_combine(*tensors, **sizes, **named)


@implements("npu_moe_distribute_combine_add_rms_norm")
def npu_moe_distribute_combine_add_rms_norm(
    *inputs: Any, **named: Any
) -> tuple[Tensor, Tensor, Tensor]:
    name = "npu_moe_distribute_combine_add_rms_norm"
    unused(name, named, [key for key, value in named.items() if isinstance(value, Tensor)])
    tensors, (_, world_size, _, experts) = inputs[:7], inputs[7:11]
    sizes = {"ep_world_size": world_size, "moe_expert_num": experts}
    return distribution.moe_distribute_combine_add_rms_norm(*tensors, **sizes, **named)


@implements("_npu_distribute_barrier")
def npu_distribute_barrier(
    x_ref: Tensor,
    group: str,
    world_size: int,
    *,
    time_out: Tensor | None = None,
    elastic_info: Tensor | None = None,
) -> Tensor:
    if x_ref.device.type != "meta":
        kernels.one_rank("_npu_distribute_barrier", world_size)
    return x_ref.clone()


@implements("attention_worker_scheduler")
def attention_worker_scheduler(input: Tensor) -> Tensor:
    return input.clone()


@implements("ffn_worker_scheduler")
def ffn_worker_scheduler(
    input: Tensor, *, sync_group_size: int = 1, execute_mode: int = 0
) -> Tensor:
    return input.clone()


@implements("attention_worker_scheduler_")
def attention_worker_scheduler_(input: Tensor) -> Tensor:
    return input


@implements("ffn_worker_scheduler_")
def ffn_worker_scheduler_(
    input: Tensor, *, sync_group_size: int = 1, execute_mode: int = 0
) -> Tensor:
    return input
