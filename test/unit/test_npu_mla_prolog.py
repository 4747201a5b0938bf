"""npu preparation of latent attention: against the formulas in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair
from torchair.errors import TorchairError

npu = torch.ops.npu

HIDDEN, QUERY, LATENT, HEADS, SIZE, ROPE = 32, 16, 32, 3, 8, 16


def bf16(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return (torch.randn(shape) / 3).to(torch.bfloat16)


def inputs(lead: tuple[int, ...], is_tiled: bool) -> list[Tensor]:
    caches = [(4, n // 16, 8, 16) if is_tiled else (4, 8, 1, n) for n in (LATENT, ROPE)]
    return [
        bf16(*lead, HIDDEN),
        bf16(HIDDEN, QUERY),
        bf16(QUERY, HEADS * (SIZE + ROPE)),
        bf16(HEADS, SIZE, LATENT),
        bf16(HIDDEN, LATENT + ROPE),
        bf16(QUERY),
        bf16(LATENT),
        bf16(*lead, ROPE),
        bf16(*lead, ROPE),
        torch.tensor([9, 31, 0, 17, 5, 22])[: torch.Size(lead).numel()].reshape(lead),
        *(bf16(*shape) for shape in caches),
    ]


def normalised(x: Tensor, gamma: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gamma.double()


def rotated(x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    even, odd = x[..., 0::2], x[..., 1::2]
    moved, turned = torch.cat([even, odd], -1), torch.cat([-odd, even], -1)
    return moved * cos.double() + turned * sin.double()


def formula(given: list[Tensor], q_scale: float = 1.0, k_scale: float = 1.0) -> list[Tensor]:
    x, w_dq, w_uq, w_uk, w_kv, g_q, g_kv, sin, cos, index, kv, kr = given
    c_q = (normalised(x.double() @ w_dq.double(), g_q) * q_scale).bfloat16()
    up = (c_q.double() @ w_uq.double()).bfloat16().double().unflatten(-1, (HEADS, -1))
    query = torch.einsum("...nd,ndl->...nl", up[..., :SIZE], w_uk.double())
    rope = rotated(up[..., SIZE:], sin.unsqueeze(-2), cos.unsqueeze(-2))
    down = x.double() @ w_kv.double()
    rows = [normalised(down[..., :LATENT], g_kv) * k_scale, rotated(down[..., LATENT:], sin, cos)]
    results = []
    for cache, part in zip((kv, kr), rows, strict=True):
        new, flat = cache.double().clone(), part.reshape(-1, part.shape[-1])
        for row, slot in enumerate(index.flatten().tolist()):
            if cache.shape[3] == 16 and cache.shape[1] != 8:
                new[slot // 8, :, slot % 8] = flat[row].reshape(-1, 16)
            else:
                new[slot // 8, slot % 8, 0] = flat[row]
        results.append(new)
    return [query, rope, *results, c_q]


def close(found: Any, expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=False):
        torch.testing.assert_close(one.double(), other.double(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("lead", [(2, 3), (5,)])
@pytest.mark.parametrize("is_tiled", [False, True])
def test_versions(lead: tuple[int, ...], is_tiled: bool) -> None:
    given = inputs(lead, is_tiled)
    mode = "PA_NZ" if is_tiled else "PA_BSND"
    found = check_compiled(lambda *t: npu.npu_mla_prolog(*t, cache_mode=mode), *given)
    close(found, formula(given))
    second = check_compiled(
        lambda *t: npu.npu_mla_prolog_v2(*t, cache_mode=mode), *given, dynamic=False
    )
    assert second[4].shape == (1,)
    close(second[:4], formula(given))


def test_third_version() -> None:
    given = inputs((2, 3), False)

    def function(*t: Tensor) -> Any:
        named = {"query_norm_flag": True, "qc_qr_scale": 0.5, "kc_scale": 2.0}
        return npu.npu_mla_prolog_v3_functional(
            *t[:9], *t[10:], cache_index=t[9], cache_mode="PA_BSND", **named
        )

    query, rope, scale, norm, _, kv, kr = check_compiled(function, *given)
    close((query, rope, kv, kr, norm), formula(given, 0.5, 2.0))
    assert scale.shape == (0,)


def test_third_version_in_place() -> None:
    given = inputs((5,), False)

    def function(*t: Tensor) -> Tensor:
        return npu.npu_mla_prolog_v3(*t[:9], *t[10:], cache_index=t[9])[0]

    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    expected = formula(given)
    for run in (function, compiled):
        copies = [t.clone() for t in given]
        query = run(*copies)
        close((query, copies[10], copies[11]), [expected[0], expected[2], expected[3]])


def test_quantised_is_refused() -> None:
    with pytest.raises(TorchairError, match="does not quantise"):
        npu.npu_mla_prolog(*inputs((5,), False), quant_scale_ckv=torch.ones(1))
