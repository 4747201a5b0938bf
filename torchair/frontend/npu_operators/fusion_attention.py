"""Attention for training, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels import npu_fusion_attention as kernels
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.registry import gradient, implements

_SEQUENCES = ("prefix", "actual_seq_qlen", "actual_seq_kvlen", "q_start_idx", "kv_start_idx")
_RENAMED = {
    "pse": "shift",
    "pse_shift": "shift",
    "scale": "scale_value",
    "pre_tokens": "pre_tockens",
    "next_tokens": "next_tockens",
    "softmax_layout": "softmax_out_layout",
}
_HINTS = ("gen_mask_parallel", "sync", "seed", "offset", "numels", "dropout_mask", "inner_precise")
"""Arguments that only matter with dropout, or not at all."""
_TOKENS = {"BSH": 1, "SBH": 0, "BNSD": 2, "BSND": 1, "TND": 0}
_BATCH = {"BSH": 0, "SBH": 1, "BNSD": 0, "BSND": 0}

_ORDER = (
    "head_num",
    "input_layout",
    "pse",
    "padding_mask",
    "atten_mask",
    "scale",
    "keep_prob",
    "pre_tockens",
    "next_tockens",
    "inner_precise",
    "prefix",
    "actual_seq_qlen",
    "actual_seq_kvlen",
    "sparse_mode",
    "gen_mask_parallel",
    "sync",
    "softmax_layout",
    "sink",
    "dropout_mask",
    "seed",
    "offset",
)
"""Positional parameters of ``npu_fusion_attention`` after value; version 3 stops at sink."""


@implements("npu_fusion_attention")
def npu_fusion_attention(
    query: Tensor, key: Tensor, value: Tensor, *positional: Any, **named: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, int, int]:
    given = {**dict(zip(_ORDER, positional, strict=False)), **named}
    return *_forward(query, key, value, given), 0, 0, 0


@implements("npu_fusion_attention_v2")
def npu_fusion_attention_v2(
    query: Tensor, key: Tensor, value: Tensor, head_num: int, input_layout: str, **named: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, int, int, int]:
    given = {"head_num": head_num, "input_layout": input_layout, **named}
    return *_forward(query, key, value, given), 0, 0, 0


@implements("npu_fusion_attention_v3")
def npu_fusion_attention_v3(
    query: Tensor, key: Tensor, value: Tensor, *positional: Any, **named: Any
) -> tuple[Tensor, ...]:
    given = {**dict(zip(_ORDER, positional, strict=False)), **named}
    state = query.new_zeros([1], dtype=torch.int64)
    return *_forward(query, key, value, given), state, state.clone()


@implements("npu_fusion_attention_grad")
def npu_fusion_attention_grad(*inputs: Any, **named: Any) -> tuple[Tensor, ...]:
    dq, dk, dv, dpse, _, _, dsink = _backward(*inputs, **named)
    return dq, dk, dv, dpse, dsink


@implements("npu_fusion_attention_grad_v2")
def npu_fusion_attention_grad_v2(*inputs: Any, **named: Any) -> tuple[Tensor, ...]:
    return _backward(*inputs, **named)


@implements("npu_fusion_attention_grad_v3")
def npu_fusion_attention_grad_v3(*inputs: Any, **named: Any) -> tuple[Tensor, ...]:
    dq, dk, dv, dpse, _, _, dsink = _backward(*inputs, **named)
    return dq, dk, dv, dpse, dsink


def _forward(
    query: Tensor, key: Tensor, value: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    given = _arguments(named)
    if query.device.type == "meta":
        return _shapes(query, key, value, given)
    results = kernels.flash_attention_score(query, key, value, **given)
    return results[3], results[0], results[1], results[2]


def _backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dy: Tensor,
    head_num: int,
    input_layout: str,
    **named: Any,
) -> tuple[Tensor, ...]:
    given = _arguments({"head_num": head_num, "input_layout": input_layout, **named})
    if query.device.type == "meta":
        empty = query.new_empty(0)
        ropes = [given.get(name, empty) for name in ("query_rope", "key_rope")]
        sink = given.get("sink", empty)
        likes = [torch.empty_like(t) for t in (query, key, value, empty, *ropes)]
        return *likes, torch.empty_like(sink, dtype=torch.float32)
    if "softmax_out_layout" in given:
        given["softmax_in_layout"] = given.pop("softmax_out_layout")
    saved = [given.pop(name, None) for name in ("softmax_max", "softmax_sum", "softmax_in")]
    inputs = [given.pop(name, None) for name in ("shift", "drop_mask", "padding_mask")]
    mask, forward = given.pop("atten_mask", None), given.pop("attention_in", None)
    tail = [given.pop(name, None) for name in _SEQUENCES]
    scales = [None] * 5
    ropes = [given.pop(name, None) for name in ("query_rope", "key_rope", "sink")]
    optional = (*inputs, mask, *saved, forward, *tail, *scales, *ropes)
    return kernels.flash_attention_score_grad(query, key, value, dy, *optional, **given)


def _arguments(named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by GE's names, lists of numbers as tensors, what does not matter left out."""
    if named.get("keep_prob", 1.0) != 1.0:
        raise UnsupportedOpError(
            "dropout inside npu_fusion_attention is not supported on the host device",
            expected="keep_prob = 1.0",
            found=named["keep_prob"],
            hint="apply dropout to the result, or run on an NPU",
        )
    given: dict[str, Any] = {}
    for name, value in named.items():
        if value is None or name in _HINTS:
            continue
        is_list = name in _SEQUENCES and not isinstance(value, Tensor)
        given[_RENAMED.get(name, name)] = torch.tensor(value) if is_list else value
    return given


def _shapes(
    query: Tensor, key: Tensor, value: Tensor, given: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layout, heads = given["input_layout"], given["head_num"]
    if layout not in _TOKENS:
        raise UnsupportedOpError(
            f"npu_fusion_attention has no layout '{layout}'", expected=", ".join(_TOKENS)
        )
    rows = query.shape[_TOKENS[layout]]
    sizes = list(query.shape)
    if layout in ("BSH", "SBH"):
        key_heads = key.shape[-1] // (query.shape[-1] // heads)
        sizes[-1] = heads * (value.shape[-1] // key_heads)
    else:
        sizes[-1] = value.shape[-1]
    attention = query.new_empty(sizes)
    if layout == "TND":
        statistics = [rows, heads, kernels.STATISTICS]
    else:
        statistics = [query.shape[_BATCH[layout]], heads, rows, kernels.STATISTICS]
    maximum, total = (query.new_empty(statistics, dtype=torch.float32) for _ in range(2))
    return attention, maximum, total, query.new_empty(0)


def _saver(order: tuple[str, ...]) -> Callable[..., None]:
    def save(
        ctx: Any,
        inputs: tuple[Any, ...],
        output: tuple[Any, ...],
        keyword_only_inputs: dict[str, Any] | None = None,
    ) -> None:
        named = {**dict(zip(order, inputs[3:], strict=False)), **(keyword_only_inputs or {})}
        tensors = {n: v for n, v in named.items() if isinstance(v, Tensor)}
        ctx.tensor_names = list(tensors)
        ctx.named = {n: v for n, v in named.items() if n not in tensors}
        ctx.arguments = len(inputs)
        ctx.save_for_backward(*inputs[:3], output[0], output[1], output[2], *tensors.values())
        ctx.mark_non_differentiable(*(t for t in output[1:] if isinstance(t, Tensor)))

    return save


def _gradients(ctx: Any, dy: Tensor, operator: Any, order: tuple[str, ...]) -> dict[str, Any]:
    """Gradients by parameter name."""
    query, key, value, output, maximum, total, *tensors = ctx.saved_tensors
    named = {**ctx.named, **dict(zip(ctx.tensor_names, tensors, strict=True))}
    named["scale_value"] = named.pop("scale", 1.0)
    head_num, layout = named.pop("head_num"), named.pop("input_layout")
    for name in ("dropout_mask", "seed", "offset"):
        named.pop(name, None)
    results = operator(
        query,
        key,
        value,
        dy.contiguous(),
        head_num,
        layout,
        softmax_max=maximum,
        softmax_sum=total,
        attention_in=output,
        **named,
    )
    found: dict[str, Any] = dict(zip(("query", "key", "value"), results[:3], strict=True))
    if named.get("sink") is not None:
        found["sink"] = results[-1]
    if len(results) == 7 and named.get("query_rope") is not None:
        found["query_rope"], found["key_rope"] = results[4:6]
    return found


@gradient("npu_fusion_attention", save=_saver(_ORDER))
def fusion_attention_gradient(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    found = _gradients(ctx, dy, torch.ops.npu.npu_fusion_attention_grad, _ORDER)
    names = ("query", "key", "value", *_ORDER)
    return tuple(found.get(name) for name in names[: ctx.arguments])


@gradient("npu_fusion_attention_v3", save=_saver(_ORDER[:-3]))
def fusion_attention_v3_gradient(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    found = _gradients(ctx, dy, torch.ops.npu.npu_fusion_attention_grad_v3, _ORDER[:-3])
    names = ("query", "key", "value", *_ORDER)
    return tuple(found.get(name) for name in names[: ctx.arguments])
