"""npu operators compiled once for any number of tokens, none included, equal eager bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchair
from torchair.frontend.npu_operators import define_operators

define_operators()
npu = torch.ops.npu
COUNTS = (5, 12, 0)
"""Numbers of tokens; the first is compiled with symbolic sizes, the second reuses it."""


def rows(tokens: int, *sizes: int) -> Tensor:
    return torch.randn(tokens, *sizes, dtype=torch.bfloat16)


def experts(tokens: int, k: int = 2) -> Tensor:
    return torch.randint(0, 6, (tokens, k), dtype=torch.int32)


def norms(t: int) -> tuple[Tensor, ...]:
    return rows(t, 32), rows(t, 32), torch.randn(32).bfloat16()


def caches(t: int) -> tuple[Tensor, ...]:
    turn = (torch.randn(t, 1, 1, 16).bfloat16(), torch.randn(t, 1, 1, 16).bfloat16())
    slots = torch.randperm(16)[:t]
    cache = torch.zeros(4, 4, 1, 16).bfloat16(), torch.zeros(4, 4, 1, 32).bfloat16()
    return rows(t, 1, 1, 48), torch.randn(32).bfloat16(), *turn, slots, *cache


OPERATORS: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "swiglu": (npu.npu_swiglu, lambda t: (rows(t, 8),)),
    "geglu": (npu.npu_geglu, lambda t: (rows(t, 8),)),
    "rotary_mul": (npu.npu_rotary_mul, lambda t: (rows(t, 3, 8), rows(t, 1, 8), rows(t, 1, 8))),
    "rms_norm": (npu.npu_rms_norm, lambda t: norms(t)[1:]),
    "add_rms_norm_cast": (npu.npu_add_rms_norm_cast, norms),
    "add_rms_norm_dynamic_quant": (npu.npu_add_rms_norm_dynamic_quant, norms),
    "add_layer_norm": (npu.npu_add_layer_norm, lambda t: (*norms(t), torch.randn(32).bfloat16())),
    "group_norm_silu": (
        lambda x: npu.npu_group_norm_silu(x, None, None, 2),
        lambda t: (rows(t, 4, 3),),
    ),
    "dynamic_quant": (npu.npu_dynamic_quant, lambda t: (rows(t, 16),)),
    "dynamic_quant int4": (
        lambda x: npu.npu_dynamic_quant(x, dst_type=torch.quint4x2),
        lambda t: (rows(t, 16),),
    ),
    "quantize": (
        lambda x, s: npu.npu_quantize(x, s, None, torch.qint8, -1, False),
        lambda t: (rows(t, 16), torch.rand(16).bfloat16()),
    ),
    "anti_quant": (
        lambda x, s: npu.npu_anti_quant(x, s),
        lambda t: (torch.randint(-99, 99, (t, 2), dtype=torch.int32), torch.rand(16)),
    ),
    "mx_quant": (npu.npu_dynamic_mx_quant, lambda t: (rows(t, 40),)),
    "block_quant": (npu.npu_dynamic_block_quant, lambda t: (rows(t, 40),)),
    "swiglu_quant": (lambda x: npu.npu_swiglu_quant(x, quant_mode=1), lambda t: (rows(t, 16),)),
    "top_k_softmax": (
        lambda x: npu.npu_moe_gating_top_k_softmax(x, None, 2),
        lambda t: (rows(t, 6),),
    ),
    "top_k": (
        lambda x: npu.npu_moe_gating_top_k(x, 2, k_group=1, group_count=2, norm_type=1),
        lambda t: (rows(t, 6),),
    ),
    "init_routing_v2": (
        lambda x, e: npu.npu_moe_init_routing_v2(
            x, e, expert_num=6, expert_tokens_num_type=1, expert_tokens_num_flag=True, quant_mode=1
        ),
        lambda t: (rows(t, 8), experts(t)),
    ),
    "finalize_routing": (
        lambda r, s, i: npu.npu_moe_finalize_routing(r, None, None, None, s, i, None, 2),
        lambda t: (rows(2 * t, 8), rows(t, 2), torch.randperm(2 * t).int()),
    ),
    "token_permute": (
        lambda x, e: npu.npu_moe_token_unpermute(*npu.npu_moe_token_permute(x, e), e.bfloat16()),
        lambda t: (rows(t, 8), experts(t)),
    ),
    "kv_rmsnorm_rope_cache": (
        lambda *a: npu.npu_kv_rmsnorm_rope_cache(*a, cache_mode="PA_NZ"),
        caches,
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_any_number_of_tokens(name: str) -> None:
    function, inputs = OPERATORS[name]
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(lambda *a: function(*a), backend=backend, fullgraph=True, dynamic=True)
    for count in COUNTS:
        torch.manual_seed(count)
        arguments = inputs(count)
        expected = function(*arguments)
        found = compiled(*arguments)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert len(backend.reports) <= 2, "the second number of tokens was compiled again"
