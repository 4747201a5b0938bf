"""torch_npu's exchange between attention and expert workers."""

from __future__ import annotations

from typing import Any

from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.registry import converts


@converts(listed("npu_attention_to_ffn"))
def npu_attention_to_ffn(**named: Any) -> None:
    build("npu_attention_to_ffn", "AttentionToFFN", named, ())


@converts(listed("npu_ffn_to_attention"))
def npu_ffn_to_attention(**named: Any) -> None:
    build("npu_ffn_to_attention", "FFNToAttention", named, ())


@converts(listed("npu_attention_worker_combine"))
def npu_attention_worker_combine(out: Any, **named: Any) -> Any:
    name = "npu_attention_worker_combine"
    return build(name, "AttentionWorkerCombine", named, out, ignored=("need_schedule",))


@converts(listed("npu_ffn_worker_batching"))
def npu_ffn_worker_batching(out: Any, **named: Any) -> Any:
    return build("npu_ffn_worker_batching", "FfnWorkerBatching", named, out)
