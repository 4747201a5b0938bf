"""Kernels of attention over selected tokens, of their selection, and of what joins attentions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_attention import Weighted, score, weigh
from torchair.backend_ge.host.kernels.npu_attention_layout import merge_batch
from torchair.backend_ge.host.kernels.npu_attention_tokens import (
    RIGHT_DOWN_CAUSAL,
    Masking,
    Tokens,
    flattened,
    packed,
    padded,
    visible,
)
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


@dataclass(frozen=True, slots=True)
class Selection:
    """Attributes of the operators of this module, and what tells the sequences apart."""

    query_lengths: Tensor | None
    key_lengths: Tensor | None
    block_table: Tensor | None
    name: str
    layout_query: str = "BSND"
    layout_kv: str = "BSND"
    sparse_mode: int = RIGHT_DOWN_CAUSAL
    pre_tokens: int = 9223372036854775807
    next_tokens: int = 9223372036854775807

    def is_packed(self) -> bool:
        return self.layout_query == "TND"

    def query(self, tensor: Tensor) -> Tensor:
        """``[batch, heads, tokens, ...]`` of ``[batch, tokens, heads, ...]`` or packed tokens."""
        return (tensor[None] if self.is_packed() else tensor).transpose(1, 2)

    def result(self, tensor: Tensor) -> Tensor:
        back = tensor.transpose(1, 2).contiguous()
        return back[0] if self.is_packed() else back

    def keys(self, tensor: Tensor) -> Tensor:
        """``[batch, heads, tokens, ...]`` of a tensor in ``layout_kv``; pages in order."""
        if self.block_table is not None:
            numbers = self.block_table.long().clamp(0, tensor.shape[0] - 1)
            found = tensor[numbers].flatten(1, 2).transpose(1, 2)
            return merge_batch(found) if self.is_packed() else found
        return (tensor[None] if self.layout_kv == "TND" else tensor).transpose(1, 2)

    def places(self, q: Tensor, k: Tensor) -> tuple[Tokens, Tokens]:
        """Places of query and key tokens."""
        if not self.is_packed():
            rows = padded(q.shape[2], self.query_lengths, None, q)
            return rows, padded(k.shape[2], self.key_lengths, None, k)
        if self.query_lengths is None or self.key_lengths is None:
            raise EngineError(f"{self.name} of packed sequences needs their lengths")
        rows = packed(q.shape[2], self.query_lengths, q)
        if self.block_table is None:
            return rows, packed(k.shape[2], self.key_lengths, k)
        batch = self.block_table.shape[0]
        each = padded(k.shape[2] // batch, self.key_lengths, None, k)
        return rows, flattened(each, batch)

    def shown(self, rows: Tokens, columns: Tokens) -> Tensor | None:
        """What the lengths and the mode let a token see."""
        mask = torch.ones((1, 1), dtype=torch.bool, device=rows.position.device)
        if self.sparse_mode not in (0, RIGHT_DOWN_CAUSAL):
            raise EngineError(
                f"the host kernel of {self.name} does not know sparse_mode {self.sparse_mode}",
                expected="0 or 3",
            )
        hides = mask if self.sparse_mode == RIGHT_DOWN_CAUSAL else None
        window = (self.pre_tokens, self.next_tokens)
        return visible(rows, columns, Masking(hides, self.sparse_mode, *window, self.name))


_INDEXER_NAMES = {"layout_key": "layout_kv"}


@kernel("LightningIndexer")
def lightning_indexer(
    query: Tensor,
    key: Tensor,
    weights: Tensor,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_key: Tensor | None = None,
    block_table: Tensor | None = None,
    *,
    sparse_count: int = 2048,
    return_values: bool = False,
    **rest: Any,
) -> tuple[Tensor, Tensor]:
    """The key tokens that score highest, ``sum_h weights_h relu(query_h key)``, best first.

    Returns:
        int32 numbers ``[..., key heads, sparse_count]``, -1 where there are fewer tokens, and with
        ``return_values`` their scores in the type of ``query``.
    """
    lengths = (actual_seq_lengths_query, actual_seq_lengths_key, block_table)
    named = {_INDEXER_NAMES.get(name, name): value for name, value in rest.items()}
    given = Selection(*lengths, name="LightningIndexer", **named)
    factors = given.query(weights[..., None]).float()
    numbers, values = _best(query.float(), key.float(), factors, None, sparse_count, given)
    if not return_values:
        return numbers, query.new_empty(0)
    return numbers, values.to(query.dtype)


@kernel("QuantLightningIndexer")
def quant_lightning_indexer(
    query: Tensor,
    key: Tensor,
    weights: Tensor,
    query_dequant_scale: Tensor,
    key_dequant_scale: Tensor,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_key: Tensor | None = None,
    block_table: Tensor | None = None,
    *,
    query_quant_mode: int,
    key_quant_mode: int,
    sparse_count: int = 2048,
    **rest: Any,
) -> Tensor:
    """LightningIndexer of 8-bit tensors with a scale per token and head."""
    lengths = (actual_seq_lengths_query, actual_seq_lengths_key, block_table)
    named = {_INDEXER_NAMES.get(name, name): value for name, value in rest.items()}
    given = Selection(*lengths, name="QuantLightningIndexer", **named)
    if query_quant_mode or key_quant_mode:
        raise EngineError("the host kernel of QuantLightningIndexer knows quant mode 0 only")
    factors = weights.float() * query_dequant_scale.float()
    scale = given.keys(key_dequant_scale.float()[..., None])
    wide = (query.float(), key.float(), given.query(factors[..., None]))
    return _best(*wide, scale, sparse_count, given)[0]


def _best(
    query: Tensor,
    key: Tensor,
    factors: Tensor,
    key_scale: Tensor | None,
    count: int,
    given: Selection,
) -> tuple[Tensor, Tensor]:
    q, k = given.query(query), given.keys(key)
    rows, columns = given.places(q, k)
    products = torch.relu(score(q, k, 1.0, None)) * factors
    scores = products.unflatten(1, (k.shape[1], -1)).sum(2)
    if key_scale is not None:
        scores = scores * key_scale.mT
    shown = given.shown(rows, columns)
    if shown is not None:
        scores = torch.where(shown, scores, float("-inf"))
    values, order = torch.sort(scores, dim=-1, descending=True, stable=True)
    places = columns.position.expand(order.shape[0], -1)[:, None, None].expand_as(order)
    numbers = torch.gather(places, -1, order)
    numbers = torch.where(values == float("-inf"), -1, numbers)[..., :count]
    missing = count - numbers.shape[-1]
    numbers = torch.nn.functional.pad(numbers, (0, missing), value=-1)
    values = torch.nn.functional.pad(values[..., :count], (0, missing), value=float("-inf"))
    return given.result(numbers.to(torch.int32)), given.result(values)


@kernel("SparseFlashAttention")
def sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sparse_indices: Tensor,
    block_table: Tensor | None = None,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_kv: Tensor | None = None,
    query_rope: Tensor | None = None,
    key_rope: Tensor | None = None,
    sinks: Tensor | None = None,
    *,
    scale_value: float,
    sparse_block_size: int = 1,
    attention_mode: int = 0,
    return_softmax_lse: bool = False,
    **rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of each token to the blocks of key tokens that its indices name.

    Args:
        sparse_indices: ``[..., key heads, blocks]`` int32, numbers of blocks within the token's
            sequence; negative ones name nothing.
        sparse_block_size: tokens per block.

    Returns:
        The attention, and with ``return_softmax_lse`` each row's maximum and sum of exponentials,
        ``[batch, key heads, tokens, heads per key head]`` (packed: ``[key heads, tokens, ...]``).
    """
    lengths = (actual_seq_lengths_query, actual_seq_lengths_kv, block_table)
    given = Selection(*lengths, name="SparseFlashAttention", **rest)
    q, k, v = given.query(query), given.keys(key), given.keys(value)
    if query_rope is not None and key_rope is not None:
        q = torch.cat([q, given.query(query_rope)], -1)
        k = torch.cat([k, given.keys(key_rope)], -1)
    indices = given.query(sparse_indices)
    found = _selected(q, k, v, indices, sparse_block_size, scale_value, given, sinks)
    attention = given.result(found.output.to(query.dtype))
    if not return_softmax_lse:
        empty = found.total.new_empty(0)
        return attention, empty, empty.clone()
    heads = k.shape[1]
    pair = [t[..., 0].unflatten(1, (heads, -1)) for t in (found.maximum, found.total)]
    rows = [t.transpose(2, 3) for t in pair]
    maximum, total = (t[0] if given.is_packed() else t for t in rows)
    return attention, maximum.contiguous(), total.contiguous()


def _selected(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    indices: Tensor,
    block: int,
    scale: float,
    given: Selection,
    sinks: Tensor | None,
) -> Weighted:
    rows, columns = given.places(q, k)
    blocks = -(-k.shape[2] // block)
    named = torch.zeros([*indices.shape[:-1], blocks + 1], dtype=torch.bool, device=q.device)
    picks = torch.where(indices < 0, blocks, indices.long()).clamp_max(blocks)
    named = torch.scatter(named, -1, picks, True)
    own = (columns.position[0] // block).clamp(0, blocks - 1)
    shown = torch.repeat_interleave(named[..., own], q.shape[1] // indices.shape[1], 1)
    limits = given.shown(rows, columns)
    if limits is not None:
        shown = shown & limits
    if columns.is_limited:
        v = v.masked_fill(torch.logical_not(columns.valid())[:, None, :, None], 0)
    return weigh(score(q, k, scale, None), v, shown, sinks)


@kernel("KvQuantSparseFlashAttention")
def kv_quant_sparse_flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sparse_indices: Tensor,
    key_dequant_scale: Tensor | None = None,
    value_dequant_scale: Tensor | None = None,
    block_table: Tensor | None = None,
    actual_seq_lengths_query: Tensor | None = None,
    actual_seq_lengths_kv: Tensor | None = None,
    *,
    scale_value: float,
    key_quant_mode: int,
    value_quant_mode: int,
    sparse_block_size: int = 1,
    attention_mode: int = 0,
    quant_scale_repo_mode: int = 1,
    tile_size: int = 128,
    rope_head_dim: int = 64,
    **rest: Any,
) -> Tensor:
    """SparseFlashAttention whose keys carry their scales.

    A token's bytes are its 8-bit channels, its rotary part in the type of ``query``, and a float32
    scale per ``tile_size`` channels. The values are the channels without the rotary part.
    """
    if quant_scale_repo_mode != 1 or key_dequant_scale is not None:
        raise EngineError(
            "the host kernel of KvQuantSparseFlashAttention takes scales stored with the keys only",
            expected="quant_scale_repo_mode 1, no key_dequant_scale",
        )
    lengths = (actual_seq_lengths_query, actual_seq_lengths_kv, block_table)
    given = Selection(*lengths, name="KvQuantSparseFlashAttention", **rest)
    size = query.shape[-1] - rope_head_dim
    stored = given.keys(key).contiguous()
    channels = stored[..., :size].float()
    tail = stored[..., size:].contiguous().view(torch.int8)
    rope = tail[..., : rope_head_dim * 2].contiguous().view(query.dtype).float()
    scales = tail[..., rope_head_dim * 2 :].contiguous().view(torch.float32)
    wide = channels * torch.repeat_interleave(scales, tile_size, -1)[..., :size]
    k = torch.cat([wide, rope], -1)
    indices = given.query(sparse_indices)
    q = given.query(query)
    found = _selected(q, k, wide, indices, sparse_block_size, scale_value, given, None)
    return given.result(found.output.to(query.dtype))


@kernel("AttentionUpdate")
def attention_update(
    lse: list[Tensor], go: list[Tensor], *, update_type: int, sp: int
) -> tuple[Tensor, Tensor]:
    """Attentions over parts of the keys as one: ``sum_i o_i exp(lse_i - lse)``, and its lse."""
    parts = torch.stack([t.float() for t in lse])
    joined = torch.logsumexp(parts, 0)
    share = torch.exp(parts - joined)[..., None]
    total = (torch.stack([t.float() for t in go]) * share).sum(0)
    return total.to(go[0].dtype), joined


@kernel("MaskedSoftmaxWithRelPosBias")
def masked_softmax_with_rel_pos_bias(
    x: Tensor,
    atten_mask: Tensor | None,
    relative_pos_bias: Tensor,
    *,
    scale_value: float = 1.0,
    inner_precision_mode: int = 0,
) -> Tensor:
    """``softmax(x scale + mask + bias)`` over the last dimension.

    Args:
        x: ``[batch * windows, heads, rows, columns]`` or ``[batch, windows, heads, ...]``.
        atten_mask: added, ``[windows, rows, columns]``, with any dimensions of one.
        relative_pos_bias: ``[heads, rows, columns]``, with leading dimensions of one.
    """
    scores = x.float() * scale_value
    bias = relative_pos_bias.float()
    scores = scores + bias.reshape(bias.shape[-3:])
    if atten_mask is not None:
        mask = atten_mask.float().reshape(-1, 1, *atten_mask.shape[-2:])
        if x.dim() == 4:
            windows = scores.unflatten(0, (-1, mask.shape[0]))
            scores = (windows + mask).flatten(0, 1)
        else:
            scores = scores + mask
    return torch.softmax(scores, -1).to(x.dtype)
