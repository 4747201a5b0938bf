"""Exchange between attention and expert workers: shapes only, the host device has no workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import has_side_effect

from torchair.backend_ge.host.kernels.npu_workers import refuse
from torchair.frontend.npu_operators.registry import implements

_TOKEN_TYPES = (torch.float16, torch.bfloat16, torch.int8)


def _require_shapes_only(like: Tensor, name: str) -> None:
    if like.device.type != "meta":
        refuse(name)


@implements("npu_attention_to_ffn")
def npu_attention_to_ffn(x: Tensor, *others: Any, **named: Any) -> None:
    _require_shapes_only(x, "npu_attention_to_ffn")


@implements("npu_ffn_to_attention")
def npu_ffn_to_attention(x: Tensor, *others: Any, **named: Any) -> None:
    _require_shapes_only(x, "npu_ffn_to_attention")


@implements("npu_attention_worker_combine")
def npu_attention_worker_combine(
    schedule_context: Tensor,
    expert_scales: Tensor,
    layer_id: Tensor,
    hidden_size: int,
    *,
    token_dtype: int = 0,
    need_schedule: int = 0,
) -> tuple[Tensor, Tensor]:
    _require_shapes_only(schedule_context, "npu_attention_worker_combine")
    dtype = _TOKEN_TYPES[token_dtype]
    y = expert_scales.new_empty([expert_scales.shape[0], hidden_size], dtype=dtype)
    return y, layer_id.new_empty([layer_id.shape[0]], dtype=torch.int32)


@implements("npu_ffn_worker_batching")
def npu_ffn_worker_batching(
    schedule_context: Tensor,
    expert_num: int,
    max_out_shape: Sequence[int],
    *,
    token_dtype: int = 0,
    need_schedule: int = 0,
    layer_num: int = 0,
) -> tuple[Tensor, ...]:
    _require_shapes_only(schedule_context, "npu_ffn_worker_batching")
    rows = max_out_shape[0] * max_out_shape[1] * max_out_shape[2]
    tokens = schedule_context.new_empty([rows, max_out_shape[3]], dtype=_TOKEN_TYPES[token_dtype])
    groups = tokens.new_empty([expert_num, 2], dtype=torch.int64)
    numbers = [tokens.new_empty([rows], dtype=torch.int32) for _ in range(4)]
    scale = tokens.new_empty([rows], dtype=torch.float32)
    return tokens, groups, *numbers, scale, tokens.new_empty([1], dtype=torch.int64)


for _name in ("npu_attention_to_ffn", "npu_ffn_to_attention"):
    has_side_effect(getattr(torch.ops.npu, _name).default)
