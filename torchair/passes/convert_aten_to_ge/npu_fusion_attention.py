"""torch_npu's attention for training."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.recipes import filled, like
from torchair.passes.convert_aten_to_ge.registry import converts

_HINTS = ("gen_mask_parallel", "sync", "numels", "seed", "offset")
"""How the dropout mask is made: without meaning where nothing is dropped."""
_FORWARD = {
    "real_shift": "pse",
    "scale_value": "scale",
    "softmax_out_layout": "softmax_layout",
}
_BACKWARD = {"pse_shift": "pse", "softmax_in_layout": "softmax_layout"}
_V2 = {"pre_tockens": "pre_tokens", "next_tockens": "next_tokens"}


@converts(listed("npu_fusion_attention"))
def npu_fusion_attention(out: Any, **named: Any) -> Any:
    return *_forward("npu_fusion_attention", named, out, {}), 0, 0, 0


@converts(listed("npu_fusion_attention_v2"))
def npu_fusion_attention_v2(out: Any, **named: Any) -> Any:
    return *_forward("npu_fusion_attention_v2", named, out, _V2), 0, 0, 0


@converts(listed("npu_fusion_attention_v3"))
def npu_fusion_attention_v3(out: Any, **named: Any) -> Any:
    state = filled(0, [1], interned.i64)
    return *_forward("npu_fusion_attention_v3", named, out, {}), state, state


def _forward(name: str, named: dict[str, Any], out: list[Any], names: dict[str, str]) -> list[Any]:
    """The attention, each row's maximum and sum, and an empty tensor."""
    _refuse_dropout(named)
    types = [out[1], out[2], out[3], out[0]]
    maximum, total, weights, attention = build(
        name,
        "FlashAttentionScore",
        named,
        types,
        renamed={**_FORWARD, **names},
        ignored=_HINTS,
        seed=0,
        offset=0,
        **_sink(named),
    )
    return [attention, maximum, total, weights]


@converts(listed("npu_fusion_attention_grad"))
def npu_fusion_attention_grad(out: Any, **named: Any) -> Any:
    return _without_ropes(_backward("npu_fusion_attention_grad", named, out, {}))


@converts(listed("npu_fusion_attention_grad_v2"))
def npu_fusion_attention_grad_v2(out: Any, **named: Any) -> Any:
    return _backward("npu_fusion_attention_grad_v2", named, out, _V2)


@converts(listed("npu_fusion_attention_grad_v3"))
def npu_fusion_attention_grad_v3(out: Any, **named: Any) -> Any:
    return _without_ropes(_backward("npu_fusion_attention_grad_v3", named, out, {}))


def _backward(name: str, named: dict[str, Any], out: list[Any], names: dict[str, str]) -> Any:
    _refuse_dropout(named)
    empty = like(named["query"].type, [0])
    sink = named.get("sink")
    dsink = interned.tensor([0], interned.f32) if sink is None else sink.type
    ropes = [empty if named.get(n) is None else named[n].type for n in ("query_rope", "key_rope")]
    return build(
        name,
        "FlashAttentionScoreGrad",
        named,
        [*out[:3], empty, *ropes, dsink],
        renamed={**_BACKWARD, **names},
        ignored=_HINTS,
        seed=0,
        offset=0,
        **_sink(named),
    )


def _without_ropes(results: Any) -> list[Any]:
    return [*results[:4], results[6]]


def _sink(named: dict[str, Any]) -> dict[str, Any]:
    sink = named.get("sink")
    return {} if sink is None else {"sink": ge.cast_to(sink, interned.f32)}


def _refuse_dropout(named: dict[str, Any]) -> None:
    if named["keep_prob"] != 1.0:
        raise ConversionError(
            "dropout inside npu_fusion_attention is not supported",
            expected="keep_prob = 1.0",
            found=named["keep_prob"],
            hint="apply dropout to the result",
        )
