"""torch_npu's linear attention and short convolutions with a state, and prefetching."""

from __future__ import annotations

from typing import Any

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.passes.convert_aten_to_ge.npu_calls import build, listed
from torchair.passes.convert_aten_to_ge.npu_kv_cache import moved
from torchair.passes.convert_aten_to_ge.registry import converts

_ACTIVATIONS = {"None": 0, "silu": 1, "swish": 2}
_CONVOLUTIONS = {"default": 0, "pangu": 1}


@converts(listed("npu_masked_causal_conv1d"))
def npu_masked_causal_conv1d(out: Any, **named: Any) -> Any:
    return build("npu_masked_causal_conv1d", "MaskedCausalConv1d", named, out)


@converts(listed("npu_fused_causal_conv1d"))
def npu_fused_causal_conv1d(out: Any, **named: Any) -> Any:
    states = named["conv_states"].type
    name = "npu_fused_causal_conv1d"
    return build(name, "FusedCausalConv1d", named, [states, out], **_modes(named))[1]


@converts(listed("npu_fused_causal_conv1d_v2"))
def npu_fused_causal_conv1d_v2(**named: Any) -> None:
    types = [named["conv_states"].type, named["x"].type]
    name = "npu_fused_causal_conv1d_v2"
    build(name, "InplaceFusedCausalConv1d", named, types, **_modes(named))


def _modes(named: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the schema has as words; ``named`` loses the words."""
    activation = named.pop("activation") or "None"
    mode = named.pop("conv_mode") or "default"
    if activation not in _ACTIVATIONS or mode not in _CONVOLUTIONS:
        raise ConversionError(
            "npu_fused_causal_conv1d knows other activations and modes",
            expected=f"{', '.join(_ACTIVATIONS)}; {', '.join(_CONVOLUTIONS)}",
            found=f"{activation}; {mode}",
        )
    return {"activation_mode": _ACTIVATIONS[activation], "conv_mode": _CONVOLUTIONS[mode]}


@converts(listed("npu_recurrent_gated_delta_rule_functional"))
def npu_recurrent_gated_delta_rule_functional(state: Any, out: Any, **named: Any) -> Any:
    name = "npu_recurrent_gated_delta_rule_functional"
    return _recurrent(name, {"state": moved(state), **named}, out)


@converts(listed("npu_recurrent_gated_delta_rule"))
def npu_recurrent_gated_delta_rule(out: Any, **named: Any) -> Any:
    types = [out, named["state"].type]
    return _recurrent("npu_recurrent_gated_delta_rule", named, types)[0]


def _recurrent(name: str, named: dict[str, Any], out: Any) -> Any:
    names = {"scale_value": "scale"}
    return build(name, "RecurrentGatedDeltaRule", named, out, renamed=names)


@converts(listed("npu_chunk_gated_delta_rule"))
def npu_chunk_gated_delta_rule(out: Any, **named: Any) -> Any:
    names = {"scale_value": "scale"}
    return build("npu_chunk_gated_delta_rule", "ChunkGatedDeltaRule", named, out, renamed=names)


@converts(listed("npu_prefetch"))
def npu_prefetch(input: Any, dependency: Any, max_size: Any, offset: Any) -> None:
    """The dependency is a hint when to start; the graph's order is kept without it."""
    ge.Cmo(input, max_size=max_size, offset=offset, out=())
