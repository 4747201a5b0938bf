"""Recurrences over the tokens of sequences.

How long the sequences are is data, so each function is one call of a host program.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_library = torch.library.Library("torchair_host", "FRAGMENT")
_library.define(
    "delta_rule(Tensor query, Tensor key, Tensor value, Tensor state, Tensor beta, Tensor decay,"
    " Tensor lengths, Tensor slots, Tensor accepted, float scale) -> (Tensor, Tensor)"
)
_library.define(
    "causal_conv1d(Tensor x, Tensor weight, Tensor states, Tensor starts, Tensor slots,"
    " Tensor accepted, int skipped) -> (Tensor, Tensor)"
)


def delta_rule(
    tensors: Sequence[Tensor],
    state: Tensor,
    lengths: Tensor,
    slots: Tensor,
    accepted: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """``S = e^g S``, ``S += beta (v - S k) k^T``, ``o = S (scale q)``, token by token.

    Args:
        tensors: query and key ``[tokens, key heads, size]``, value ``[tokens, heads, width]``, beta
            and g ``[tokens, heads]``.
        state: ``[slots, heads, width, size]``.
        lengths: tokens of each sequence.
        slots: where the state after each token is kept, ``[tokens]``.
        accepted: a sequence starts from the state after this many of its tokens.
        scale: of the query.

    Returns:
        ``[tokens, heads, width]`` in the type of the value, and the new states.
    """
    query, key, value, beta, decay = tensors
    rest = (lengths, slots, accepted, scale)
    return torch.ops.torchair_host.delta_rule(query, key, value, state, beta, decay, *rest)


def causal_conv1d(
    x: Tensor, weight: Tensor, states: Tensor, places: Sequence[Tensor], skipped: int
) -> tuple[Tensor, Tensor]:
    """Depthwise convolution of each token with those before it.

    Args:
        x: ``[tokens, channels]``.
        weight: ``[width, channels]``.
        states: what preceded each sequence, ``[slots, tokens, channels]``.
        places: where each sequence starts and the last ends, the slot of each sequence, and how
            many tokens of its latest call it accepted.
        skipped: sequences in this slot are left alone.

    Returns:
        The convolution in float32, and the new states: the last tokens of each sequence.
    """
    return torch.ops.torchair_host.causal_conv1d(x, weight, states, *places, skipped)


def _delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor,
    beta: Tensor,
    decay: Tensor,
    lengths: Tensor,
    slots: Tensor,
    accepted: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    groups = value.shape[1] // key.shape[1]
    q, k = (torch.repeat_interleave(t.float(), groups, 1) for t in (query, key))
    v, b, alpha = value.float(), beta.float(), decay.float().exp()
    result, states = torch.zeros_like(value), state.clone()
    at = slots.tolist()
    start = 0
    for length, count in zip(lengths.tolist(), accepted.tolist(), strict=True):
        now = state[at[start + count - 1]].float() if length else None
        for t in range(start, start + length):
            assert now is not None
            now = now * alpha[t, :, None, None]
            error = v[t] - (now @ k[t, :, :, None])[..., 0]
            now = now + (b[t, :, None] * error)[..., None] * k[t, :, None, :]
            result[t] = ((now @ (q[t] * scale)[:, :, None])[..., 0]).to(value.dtype)
            states[at[t]] = now.to(state.dtype)
        start += length
    return result, states


def _causal_conv1d(
    x: Tensor,
    weight: Tensor,
    states: Tensor,
    starts: Tensor,
    slots: Tensor,
    accepted: Tensor,
    skipped: int,
) -> tuple[Tensor, Tensor]:
    width = weight.shape[0]
    result, new = torch.zeros(x.shape), states.clone()
    bounds = starts.tolist()
    for index, (slot, count) in enumerate(zip(slots.tolist(), accepted.tolist(), strict=True)):
        start, end = bounds[index], bounds[index + 1]
        if slot == skipped or end <= start:
            continue
        before = states[slot, count - 1 : count + width - 2]
        tokens = torch.cat([before, x[start:end]])
        for place in range(width):
            part = tokens[place : place + end - start].float()
            result[start:end] += part * weight[place].float()
        kept = tokens[-states.shape[1] :]
        new[slot, states.shape[1] - kept.shape[0] :] = kept
    return result, new


def _delta_rule_shapes(
    query: Tensor, key: Tensor, value: Tensor, state: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(state)


def _causal_conv1d_shapes(
    x: Tensor, weight: Tensor, states: Tensor, *_: object
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape, dtype=torch.float32), torch.empty_like(states)


_library.impl("delta_rule", _delta_rule, "CPU")
_library.impl("delta_rule", _delta_rule_shapes, "Meta")
_library.impl("causal_conv1d", _causal_conv1d, "CPU")
_library.impl("causal_conv1d", _causal_conv1d_shapes, "Meta")
