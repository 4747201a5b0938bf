"""torch_npu's products fused with communication, dispatch to experts, barriers, schedulers."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.npu_calls import build, ge_type, listed
from torchair.passes.convert_aten_to_ge.npu_kv_cache import moved
from torchair.passes.convert_aten_to_ge.registry import converts

_GROUP = {"group": "hcom", "rank_size": "world_size", "x1": "input"}
_HINTS = ("comm_mode", "world_size", "amax_output")


@converts(listed("npu_mm_all_reduce_base"))
def npu_mm_all_reduce_base(out: Any, **named: Any) -> Any:
    return build(
        "npu_mm_all_reduce_base",
        "MatmulAllReduce",
        named,
        out,
        renamed={"group": "hcom"},
        ignored=_HINTS,
        y_dtype=ge_type(out),
    )


@converts(listed("npu_all_gather_base_mm"))
def npu_all_gather_base_mm(out: Any, **named: Any) -> Any:
    names = {**_GROUP, "is_gather_out": "gather_output"}
    name = "npu_all_gather_base_mm"
    return build(name, "AllGatherMatmul", named, out, renamed=names, ignored=_HINTS)


@converts(listed("npu_all_gather_quant_mm"))
def npu_all_gather_quant_mm(out: Any, **named: Any) -> Any:
    return build(
        "npu_all_gather_quant_mm",
        "AllGatherMatmulV2",
        named,
        out,
        renamed={**_GROUP, "is_gather_out": "gather_output", "is_amax_out": "amax_output"},
        ignored=("comm_mode",),
        y_dtype=ge_type(out[0]),
        comm_mode=named["comm_mode"],
    )


@converts(listed("npu_mm_reduce_scatter_base"))
def npu_mm_reduce_scatter_base(out: Any, **named: Any) -> Any:
    name = "npu_mm_reduce_scatter_base"
    return build(name, "MatmulReduceScatter", named, out, renamed=_GROUP, ignored=_HINTS)


@converts(listed("npu_quant_mm_reduce_scatter"))
def npu_quant_mm_reduce_scatter(out: Any, **named: Any) -> Any:
    return build(
        "npu_quant_mm_reduce_scatter",
        "MatmulReduceScatterV2",
        named,
        out,
        renamed={**_GROUP, "is_amax_out": "amax_output"},
        y_dtype=ge_type(out[0]),
    )


@converts(listed("npu_matmul_all_to_all"))
def npu_matmul_all_to_all(out: Any, **named: Any) -> Any:
    names = {"group": "hcom"}
    return build("npu_matmul_all_to_all", "MatmulAlltoAll", named, out, renamed=names)


@converts(listed("npu_all_to_all_matmul"))
def npu_all_to_all_matmul(out: Any, **named: Any) -> Any:
    names = {"group": "hcom", "alltoall_out_flag": "all2all_out_flag"}
    return build("npu_all_to_all_matmul", "AlltoAllMatmul", named, out, renamed=names)


@converts(listed("npu_alltoallv_gmm"))
def npu_alltoallv_gmm(out: Any, **named: Any) -> Any:
    names = {"group": "hcom"}
    return build("npu_alltoallv_gmm", "AlltoAllvGroupedMatMul", named, out, renamed=names)


@converts(listed("npu_gmm_alltoallv"))
def npu_gmm_alltoallv(out: Any, **named: Any) -> Any:
    names = {"group": "hcom"}
    return build("npu_gmm_alltoallv", "GroupedMatMulAlltoAllv", named, out, renamed=names)


@converts(listed("npu_moe_distribute_dispatch"))
def npu_moe_distribute_dispatch(out: Any, **named: Any) -> Any:
    ids = ge.cast_to(named["expert_ids"], interned.i32)
    name = "npu_moe_distribute_dispatch"
    return build(name, "MoeDistributeDispatch", named, out, expert_ids=ids)


@converts(listed("npu_moe_distribute_dispatch_v2"))
def npu_moe_distribute_dispatch_v2(out: Any, **named: Any) -> Any:
    ids = ge.cast_to(named["expert_ids"], interned.i32)
    number = ge_type(out[0])
    name = "npu_moe_distribute_dispatch_v2"
    return build(name, "MoeDistributeDispatchV2", named, out, expert_ids=ids, y_dtype=number)


@converts(listed("npu_moe_distribute_combine"))
def npu_moe_distribute_combine(out: Any, **named: Any) -> Any:
    ids = ge.cast_to(named["expert_ids"], interned.i32)
    return build("npu_moe_distribute_combine", "MoeDistributeCombine", named, out, expert_ids=ids)


@converts(listed("npu_moe_distribute_combine_v2"))
def npu_moe_distribute_combine_v2(out: Any, **named: Any) -> Any:
    ids = ge.cast_to(named["expert_ids"], interned.i32)
    name = "npu_moe_distribute_combine_v2"
    return build(name, "MoeDistributeCombineV2", named, out, expert_ids=ids)


@converts(listed("npu_moe_distribute_combine_add_rms_norm"))
def npu_moe_distribute_combine_add_rms_norm(out: Any, **named: Any) -> Any:
    return build(
        "npu_moe_distribute_combine_add_rms_norm",
        "MoeDistributeCombineAddRmsNorm",
        named,
        out,
        renamed={"assist_info_for_combine": "expand_idx"},
        expert_ids=ge.cast_to(named["expert_ids"], interned.i32),
    )


@converts(listed("_npu_distribute_barrier"))
def npu_distribute_barrier(x_ref: Any, out: Any, **named: Any) -> Any:
    return build("_npu_distribute_barrier", "DistributeBarrier", named, out, x_ref=moved(x_ref))


@converts(listed("attention_worker_scheduler"))
def attention_worker_scheduler(input: Any, out: Any) -> Any:
    return ge.AttentionWorkerScheduler(moved(input), out=out)


@converts(listed("attention_worker_scheduler_"))
def attention_worker_scheduler_(input: Any, out: Any) -> Any:
    return ge.AttentionWorkerScheduler(input, out=out)


@converts(listed("ffn_worker_scheduler"))
def ffn_worker_scheduler(input: Any, out: Any, **attributes: Any) -> Any:
    return ge.FfnWorkerScheduler(moved(input), out=out, **attributes)


@converts(listed("ffn_worker_scheduler_"))
def ffn_worker_scheduler_(input: Any, out: Any, **attributes: Any) -> Any:
    return ge.FfnWorkerScheduler(input, out=out, **attributes)
