"""Linear attention and short convolutions with a state, and prefetching."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx.node import has_side_effect

from torchair.backend_ge.host.kernels import npu_state_space as kernels
from torchair.errors import UnsupportedOpError
from torchair.frontend.npu_operators.registry import implements

_ACTIVATIONS = {"None": 0, "silu": 1, "swish": 2}
_CONVOLUTIONS = {"default": 0, "pangu": 1}


@implements("npu_masked_causal_conv1d")
def npu_masked_causal_conv1d(
    input: Tensor, weight: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    return kernels.masked_causal_conv1d(input, weight, mask)


@implements("npu_fused_causal_conv1d")
def npu_fused_causal_conv1d(x: Tensor, weight: Tensor, conv_states: Tensor, **named: Any) -> Tensor:
    states, found = _convolution(x, weight, conv_states, named)
    conv_states.copy_(states)
    return found


@implements("npu_fused_causal_conv1d_v2")
def npu_fused_causal_conv1d_v2(
    x: Tensor, weight: Tensor, conv_states: Tensor, **named: Any
) -> None:
    states, found = _convolution(x, weight, conv_states, named)
    conv_states.copy_(states)
    x.copy_(found)


def _convolution(
    x: Tensor, weight: Tensor, states: Tensor, named: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    activation = named.pop("activation", None) or "None"
    mode = named.pop("conv_mode", None) or "default"
    if activation not in _ACTIVATIONS or mode not in _CONVOLUTIONS:
        raise UnsupportedOpError(
            "npu_fused_causal_conv1d knows other activations and modes",
            expected=f"{', '.join(_ACTIVATIONS)}; {', '.join(_CONVOLUTIONS)}",
            found=f"{activation}; {mode}",
        )
    named.setdefault("residual_connection", 0)
    given = {name: value for name, value in named.items() if value is not None}
    numbers = {
        "activation_mode": _ACTIVATIONS[activation],
        "conv_mode": _CONVOLUTIONS[mode],
    }
    return kernels.fused_causal_conv1d(x, weight, states, **numbers, **given)


@implements("npu_recurrent_gated_delta_rule_functional")
def npu_recurrent_gated_delta_rule_functional(
    query: Tensor, key: Tensor, value: Tensor, state: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    beta, lengths, slots = _required(named, "beta", "actual_seq_lengths", "ssm_state_indices")
    return kernels.recurrent_gated_delta_rule(
        query, key, value, beta, state, lengths, slots, **_scaled(named)
    )


@implements("npu_recurrent_gated_delta_rule")
def npu_recurrent_gated_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, state: Tensor, **named: Any
) -> Tensor:
    found, states = npu_recurrent_gated_delta_rule_functional(query, key, value, state, **named)
    state.copy_(states)
    return found


@implements("npu_chunk_gated_delta_rule")
def npu_chunk_gated_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, **named: Any
) -> tuple[Tensor, Tensor]:
    beta, state, lengths = _required(named, "beta", "initial_state", "actual_seq_lengths")
    return kernels.chunk_gated_delta_rule(query, key, value, beta, state, lengths, **_scaled(named))


def _required(named: dict[str, Any], *names: str) -> list[Tensor]:
    missing = [name for name in names if named.get(name) is None]
    if missing:
        raise UnsupportedOpError(f"the gated delta rule needs '{missing[0]}'")
    return [named.pop(name) for name in names]


def _scaled(named: dict[str, Any]) -> dict[str, Any]:
    scale = named.pop("scale", None)
    return {**named, "scale_value": 1.0 if scale is None else scale}


@implements("npu_prefetch")
def npu_prefetch(input: Tensor, dependency: Tensor | None, max_size: int, offset: int = 0) -> None:
    if max_size <= 0 or offset < 0:
        raise UnsupportedOpError(
            "npu_prefetch needs a positive max_size and no negative offset",
            found=f"{max_size}, {offset}",
        )


has_side_effect(torch.ops.npu.npu_prefetch.default)
