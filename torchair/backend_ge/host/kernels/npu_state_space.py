"""Kernels of linear attention and short convolutions with a state, after GE's definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_recurrences import causal_conv1d, delta_rule
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


@kernel("MaskedCausalConv1d")
def masked_causal_conv1d(input: Tensor, weight: Tensor, mask: Tensor | None = None) -> Tensor:
    """``y[s] = sum_w weight[w] x[s - width + 1 + w]``, zero where the mask is False.

    Args:
        input: ``[tokens, batch, channels]``.
        weight: ``[width, channels]``.
        mask: ``[batch, tokens]`` bool.
    """
    width, tokens = weight.shape[0], input.shape[0]
    padded = torch.nn.functional.pad(input.float(), (0, 0, 0, 0, width - 1, 0))
    parts = [padded[place : place + tokens] * weight[place].float() for place in range(width)]
    found = torch.stack(parts).sum(0)
    if mask is not None:
        found = torch.where(mask.mT[..., None], found, 0.0)
    return found.to(input.dtype)


@kernel("RecurrentGatedDeltaRule")
def recurrent_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    state: Tensor,
    actual_seq_lengths: Tensor,
    ssm_state_indices: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    num_accepted_tokens: Tensor | None = None,
    *,
    scale_value: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Attention and the new states; the state after each token goes to its slot.

    A sequence starts from the state after the tokens of it that were accepted, one by default.
    """
    if gk is not None:
        raise EngineError("RecurrentGatedDeltaRule does not use gk")
    lengths = actual_seq_lengths.long()
    accepted = torch.ones_like(lengths) if num_accepted_tokens is None else num_accepted_tokens
    decay = torch.zeros(beta.shape, device=beta.device) if g is None else g
    tensors = (query, key, value, beta, decay)
    return delta_rule(tensors, state, lengths, ssm_state_indices, accepted, scale_value)


@kernel("ChunkGatedDeltaRule")
def chunk_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    initial_state: Tensor,
    actual_seq_lengths: Tensor,
    g: Tensor | None = None,
    *,
    scale_value: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Attention and the state after each sequence; sequence ``i`` starts from state ``i``."""
    lengths = actual_seq_lengths.long()
    places = torch.arange(value.shape[0], device=value.device)
    owner = torch.searchsorted(lengths.cumsum(0), places, right=True)
    decay = torch.zeros(beta.shape, device=beta.device) if g is None else g
    tensors = (query, key, value, beta, decay)
    ones = torch.ones_like(lengths)
    return delta_rule(tensors, initial_state, lengths, owner, ones, scale_value)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """Optional inputs (in GE's order) and attributes."""

    query_start_loc: Tensor | None = None
    cache_indices: Tensor | None = None
    initial_state_mode: Tensor | None = None
    bias: Tensor | None = None
    num_accepted_tokens: Tensor | None = None
    num_computed_tokens: Tensor | None = None
    block_idx_first_scheduled_token: Tensor | None = None
    block_idx_last_scheduled_token: Tensor | None = None
    initial_state_idx: Tensor | None = None
    activation_mode: int = 0
    pad_slot_id: int = -1
    run_mode: int = 0
    max_query_len: int = -1
    residual_connection: int = 1
    block_size: int = 128
    conv_mode: int = 0

    def check(self) -> None:
        unused = (
            self.initial_state_mode,
            self.num_computed_tokens,
            self.block_idx_first_scheduled_token,
            self.block_idx_last_scheduled_token,
            self.initial_state_idx,
        )
        is_paged = self.cache_indices is not None and self.cache_indices.dim() == 2
        if any(t is not None for t in unused) or is_paged or self.conv_mode:
            raise EngineError(
                "the host kernel of FusedCausalConv1d does not implement caches in blocks, initial "
                "modes or other convolution modes",
                hint="run this graph on an NPU",
            )


@kernel("FusedCausalConv1d", "InplaceFusedCausalConv1d")
def fused_causal_conv1d(
    x: Tensor, weight: Tensor, conv_states: Tensor, *optional: Any, **rest: Any
) -> tuple[Tensor, Tensor]:
    """The new states, and each token's convolution with its predecessors, plus itself on request.

    Args:
        x: ``[tokens, channels]`` of packed sequences, or ``[batch, tokens, channels]``.
        weight: ``[width, channels]``.
        conv_states: last tokens of each slot, ``[slots, at least width - 1, channels]``.
    """
    given = _Convolution(*optional, **rest)
    given.check()
    flat = x.reshape(-1, x.shape[-1])
    starts = given.query_start_loc
    if starts is None:
        if x.dim() == 2:
            raise EngineError("packed sequences need query_start_loc")
        starts = torch.arange(x.shape[0] + 1, device=x.device) * x.shape[1]
    count = starts.shape[0] - 1
    slots = given.cache_indices
    if slots is None:
        slots = torch.arange(count, device=x.device)
    accepted = given.num_accepted_tokens
    if accepted is None:
        room = conv_states.shape[1] - weight.shape[0] + 2
        accepted = torch.full((count,), room, dtype=torch.int64, device=x.device)
    places = (starts, slots, accepted)
    found, states = causal_conv1d(flat, weight, conv_states, places, given.pad_slot_id)
    if given.bias is not None:
        found = found + given.bias.float()
    if given.activation_mode:
        found = torch.nn.functional.silu(found)
    if given.residual_connection:
        found = found + flat.float()
    return states, found.to(x.dtype).reshape(x.shape)


@kernel("Cmo", random=True)
def cmo(src: Tensor, max_size: int, type: int = 6, offset: int = 0) -> list[Tensor]:
    """A hint to load memory into a cache: nothing to do here."""
    return []
