"""Decompositions of composite operators that PyTorch itself does not decompose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp.decompositions import one_layer_lstm
from torch.nn import functional


def transformer_encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """``aten::_transformer_encoder_layer_fwd``, the inference fast path of
    nn.TransformerEncoderLayer.

    Shapes: src [batch, sequence, embed_dim]; mask_type 0 is [sequence, sequence], 1 is a padding
    mask
    [batch, sequence], 2 is [batch, heads, sequence, sequence]; True (or -inf) is masked out.
    """
    batch, length, _ = src.shape
    head = embed_dim // num_heads

    def attention(x: Tensor) -> Tensor:
        qkv = functional.linear(x, qkv_weight, qkv_bias)
        parts = qkv.view(batch, length, 3, num_heads, head).permute(2, 0, 3, 1, 4)
        scores = torch.matmul(parts[0] * head**-0.5, parts[1].transpose(-2, -1))
        if mask is not None:
            scores = _apply_mask(scores, mask, mask_type)
        mixed = torch.matmul(torch.softmax(scores, -1), parts[2])
        mixed = mixed.transpose(1, 2).reshape(batch, length, embed_dim)
        return functional.linear(mixed, proj_weight, proj_bias)

    def feed_forward(x: Tensor) -> Tensor:
        hidden = functional.linear(x, ffn_weight_1, ffn_bias_1)
        hidden = functional.gelu(hidden) if use_gelu else torch.relu(hidden)
        return functional.linear(hidden, ffn_weight_2, ffn_bias_2)

    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.layer_norm(x, [embed_dim], weight, bias, eps)

    if norm_first:
        src = src + attention(norm(src, norm_weight_1, norm_bias_1))
        return src + feed_forward(norm(src, norm_weight_2, norm_bias_2))
    src = norm(src + attention(src), norm_weight_1, norm_bias_1)
    return norm(src + feed_forward(src), norm_weight_2, norm_bias_2)


def _apply_mask(scores: Tensor, mask: Tensor, mask_type: int | None) -> Tensor:
    if mask_type == 1:
        mask = mask[:, None, None, :]
    if mask.dtype is torch.bool:
        return scores.masked_fill(mask, float("-inf"))
    return scores + mask


_LSTM = 2
"""``mode`` of oneDNN's recurrent layers."""


def _lstm_layer(
    input: Tensor,
    weight0: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    weight3: Tensor,
    hx_: Tensor,
    cx_: Tensor,
    reverse: bool,
    batch_sizes: list[int],
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One direction of one LSTM layer, which PyTorch hands to oneDNN on the CPU, step by step.

    Shapes: input [time, batch, features], hx_ and cx_ [1, batch, hidden_size].
    """
    if mode != _LSTM or num_layers != 1 or bidirectional or batch_first or batch_sizes:
        return NotImplemented
    parameters = [weight0, weight1, weight2, weight3] if has_biases else [weight0, weight1]
    state = hx_.squeeze(0), cx_.squeeze(0)
    output, (h, c) = one_layer_lstm(input, state, parameters, has_biases, reverse)
    workspace = input.new_empty(0, dtype=torch.uint8)
    return output, h.unsqueeze(0), c.unsqueeze(0), workspace


OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
    torch.ops.aten.mkldnn_rnn_layer.default: _lstm_layer,
}
"""Decompositions by OpOverload."""
