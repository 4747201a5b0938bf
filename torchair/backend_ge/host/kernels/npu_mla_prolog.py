"""Kernels of what precedes multi-head latent attention, after GE's definitions.

``c_q = RmsNorm(x W_dq)``, ``[q_c, q_r] = c_q W_uq_qr``, query ``q_c W_uk`` and ``rope(q_r)``;
``[c_kv, k_r] = x W_dkv_kr``, caches ``RmsNorm(c_kv)`` and ``rope(k_r)``. The normalised ``c_q`` and
the products are rounded to bfloat16 in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchair.backend_ge.host.kernels.npu_kv_cache import write_pages, write_tiled
from torchair.backend_ge.host.kernels.registry import kernel
from torchair.errors import EngineError


@dataclass(frozen=True, slots=True)
class Prolog:
    """Required inputs, caches and the attributes that the host implements."""

    token_x: Tensor
    weight_dq: Tensor
    weight_uq_qr: Tensor
    weight_uk: Tensor
    weight_dkv_kr: Tensor
    rmsnorm_gamma_cq: Tensor
    rmsnorm_gamma_ckv: Tensor
    rope_sin: Tensor
    rope_cos: Tensor
    cache_index: Tensor
    kv_cache: Tensor
    kr_cache: Tensor
    rmsnorm_epsilon_cq: float = 1e-5
    rmsnorm_epsilon_ckv: float = 1e-5
    cache_mode: str = "PA_BSND"
    qc_qr_scale: float = 1.0
    kc_scale: float = 1.0

    def query(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query ``[..., heads, latent]``, its rotary part, and the normalised ``c_q``."""
        x = self.token_x.float()
        down = torch.matmul(x, self.weight_dq.float())
        c_q = _normalised(down, self.rmsnorm_gamma_cq, self.rmsnorm_epsilon_cq) * self.qc_qr_scale
        c_q = c_q.to(self.token_x.dtype)
        up = torch.matmul(c_q.float(), self.weight_uq_qr.float()).to(x.dtype)
        heads, size = self.weight_uk.shape[0], self.weight_uk.shape[1]
        both = up.to(self.token_x.dtype).unflatten(-1, (heads, -1)).float()
        latent = torch.matmul(both[..., None, :size], self.weight_uk.float())[..., 0, :]
        rope = self._rotated(both[..., size:], -2)
        return latent.to(self.token_x.dtype), rope.to(self.token_x.dtype), c_q

    def caches(self) -> tuple[Tensor, Tensor]:
        """The new contents of the two caches."""
        both = torch.matmul(self.token_x.float(), self.weight_dkv_kr.float())
        size = self.rmsnorm_gamma_ckv.shape[-1]
        c_kv = _normalised(both[..., :size], self.rmsnorm_gamma_ckv, self.rmsnorm_epsilon_ckv)
        parts = (c_kv * self.kc_scale, self._rotated(both[..., size:], None))
        slots = self.cache_index.reshape(-1)
        write = write_tiled if self.cache_mode == "PA_NZ" else write_pages
        kv, kr = (
            write(cache, slots, part.to(cache.dtype).reshape(slots.shape[0], 1, -1))
            for cache, part in zip((self.kv_cache, self.kr_cache), parts, strict=True)
        )
        return kv.contiguous(), kr.contiguous()

    def _rotated(self, x: Tensor, heads: int | None) -> Tensor:
        """Pairs of neighbours, moved to the two halves, are rotated."""
        cos, sin = self.rope_cos.float(), self.rope_sin.float()
        if heads is not None:
            cos, sin = cos.unsqueeze(heads), sin.unsqueeze(heads)
        halves = x.unflatten(-1, (-1, 2)).transpose(-1, -2)
        first, second = halves[..., 0, :], halves[..., 1, :]
        turned = torch.cat([-second, first], -1)
        return torch.cat([first, second], -1) * cos + turned * sin


def _normalised(x: Tensor, gamma: Tensor, epsilon: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * gamma.float()


def _prolog(name: str, inputs: tuple[Any, ...], unused: Any, rest: dict[str, Any]) -> Prolog:
    """The call, once it is clear that nothing is quantised.

    Raises:
        EngineError: something is.
    """
    fields = Prolog.__dataclass_fields__
    hints = ("query_norm_flag", "tile_size")
    modes = [n for n, v in rest.items() if n not in fields and n not in hints and v]
    if any(t is not None for t in unused) or modes or inputs[0].dtype is torch.int8:
        raise EngineError(
            f"the host kernel of {name} does not quantise",
            expected="bfloat16 tensors, no scales, all modes 0",
            found=", ".join(modes) or None,
            hint="run this graph on an NPU",
        )
    known = {n: v for n, v in rest.items() if n in fields}
    return Prolog(*inputs, **known)


@kernel("MlaProlog")
def mla_prolog(*inputs: Any, **rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, its rotary part, and both caches."""
    given = _prolog("MlaProlog", inputs[:12], inputs[12:], rest)
    query, rope, _ = given.query()
    return query, rope, *given.caches()


@kernel("MlaPrologV2")
def mla_prolog_v2(*inputs: Any, **rest: Any) -> tuple[Tensor, ...]:
    """As MlaProlog, and a scale that only quantised queries have."""
    results = mla_prolog(*inputs, **rest)
    return *results, results[0].new_zeros(1, dtype=torch.float32)


@kernel("MlaPrologV3")
def mla_prolog_v3(*inputs: Any, **rest: Any) -> tuple[Tensor, ...]:
    """As MlaProlog with two more factors, and on request the normalised ``c_q``.

    Inputs are in another order: the caches precede ``cache_index``.
    """
    first, caches, index = inputs[:9], inputs[9:11], inputs[11]
    if index is None:
        raise EngineError("the host kernel of MlaPrologV3 needs cache_index")
    given = _prolog("MlaPrologV3", (*first, index, *caches), inputs[12:], rest)
    query, rope, c_q = given.query()
    empty = query.new_empty(0, dtype=torch.float32)
    norm = c_q if rest.get("query_norm_flag") else query.new_empty(0)
    return query, rope, *given.caches(), empty, norm, empty.clone()
