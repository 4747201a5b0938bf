"""npu recurrences: against loops over tokens in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

import torchair

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}


def floats(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def close(found: Tensor, expected: Tensor) -> None:
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


def run_in_place(function: Any, *args: Any, dynamic: bool) -> tuple[list[Any], Any]:
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
    copies = [a.clone() for a in args]
    return copies, compiled(*copies)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("with_mask", [False, True])
def test_masked_causal_conv1d(dtype: torch.dtype, with_mask: bool) -> None:
    x, weight = floats(dtype, 7, 2, 16), floats(dtype, 3, 16)
    mask = torch.rand(2, 7) < 0.6 if with_mask else None
    out = check_compiled(
        lambda x, w, m: npu.npu_masked_causal_conv1d(x, w, mask=m), x, weight, mask
    )
    expected = torch.zeros(7, 2, 16, dtype=torch.float64)
    for s in range(7):
        for w in range(3):
            if s - 2 + w >= 0:
                expected[s] += x[s - 2 + w].double() * weight[w].double()
    if mask is not None:
        expected = expected * mask.T[..., None]
    close(out, expected)


def convolved(
    x: Tensor, weight: Tensor, states: Tensor, sequences: list[tuple[int, int, int, int]]
) -> tuple[Tensor, Tensor]:
    """Sequences are (start, end, slot, first token of the state that counts)."""
    out, new = torch.zeros(x.shape, dtype=torch.float64), states.clone()
    for start, end, slot, first in sequences:
        tokens = torch.cat([states[slot, first : first + 2], x[start:end]]).double()
        for t in range(end - start):
            out[start + t] = (tokens[t : t + 3] * weight.double()).sum(0)
        kept = tokens[-states.shape[1] :]
        new[slot, states.shape[1] - len(kept) :] = kept.to(states.dtype)
    return out, new


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("residual", [0, 1])
def test_fused_causal_conv1d(dynamic: bool, residual: int) -> None:
    x, weight, states = (floats(torch.bfloat16, *s) for s in ((10, 16), (3, 16), (6, 2, 16)))
    starts, slots = torch.tensor([0, 5, 6, 10]).int(), torch.tensor([4, 0, -1]).int()

    def function(x: Tensor, w: Tensor, s: Tensor, a: Tensor, b: Tensor) -> Tensor:
        named = {"query_start_loc": a, "cache_indices": b, "residual_connection": residual}
        return npu.npu_fused_causal_conv1d(x, w, s, **named)

    copies, out = run_in_place(function, x, weight, states, starts, slots, dynamic=dynamic)
    expected, new = convolved(x, weight, states, [(0, 5, 4, 0), (5, 6, 0, 0)])
    close(out, expected + residual * x.double())
    assert torch.equal(copies[2], new)
    eager = states.clone()
    assert torch.equal(function(x, weight, eager, starts, slots), out)
    assert torch.equal(eager, new)


def test_fused_causal_conv1d_of_accepted_tokens() -> None:
    x, weight, states = (floats(torch.float16, *s) for s in ((2, 3, 16), (3, 16), (2, 4, 16)))
    accepted = torch.tensor([1, 3]).int()

    def function(x: Tensor, w: Tensor, s: Tensor, n: Tensor) -> Tensor:
        npu.npu_fused_causal_conv1d_v2(x, w, s, num_accepted_tokens=n, activation="silu")
        return x.float().sum()

    copies, _ = run_in_place(function, x, weight, states, accepted, dynamic=False)
    rows = x.reshape(6, 16)
    expected, new = convolved(rows, weight, states, [(0, 3, 0, 0), (3, 6, 1, 2)])
    close(copies[0].reshape(6, 16), torch.nn.functional.silu(expected))
    assert torch.equal(copies[2], new)


def ruled(
    tensors: list[Tensor], state: Tensor, sequences: list[tuple[int, int, int]], slots: list[int]
) -> tuple[Tensor, Tensor]:
    """Sequences are (start, end, slot they start from)."""
    q, k, v, beta, g = (t.double() for t in tensors)
    groups = v.shape[1] // k.shape[1]
    out, states = torch.zeros(v.shape, dtype=torch.float64), state.double().clone()
    for start, end, first in sequences:
        for h in range(v.shape[1]):
            now = state[first, h].double()
            for t in range(start, end):
                key = k[t, h // groups]
                now = now * g[t, h].exp()
                keep = torch.eye(len(key), dtype=torch.float64) - beta[t, h] * torch.outer(key, key)
                now = now @ keep + beta[t, h] * torch.outer(v[t, h], key)
                out[t, h] = now @ q[t, h // groups] * 0.5
                states[slots[t], h] = now
    return out, states


def rule_inputs() -> list[Tensor]:
    shapes = ((6, 2, 8), (6, 2, 8), (6, 4, 16))
    q, k, v = (floats(torch.bfloat16, *s) for s in shapes)
    q, k = (torch.nn.functional.normalize(t.float(), dim=-1).bfloat16() for t in (q, k))
    return [q, k, v, torch.rand(6, 4).bfloat16(), -torch.rand(6, 4)]


def test_recurrent_gated_delta_rule() -> None:
    tensors, state = rule_inputs(), floats(torch.bfloat16, 8, 4, 16, 8)
    lengths, slots = torch.tensor([2, 4]).int(), torch.tensor([5, 1, 0, 7, 2, 3]).int()
    accepted = torch.tensor([2, 3]).int()

    def function(*t: Tensor) -> Any:
        return npu.npu_recurrent_gated_delta_rule_functional(
            *t[:3],
            t[5],
            beta=t[3],
            g=t[4],
            scale=0.5,
            actual_seq_lengths=t[6],
            ssm_state_indices=t[7],
            num_accepted_tokens=t[8],
        )

    given = (*tensors, state, lengths, slots, accepted)
    out, states = check_compiled(function, *given)
    expected = ruled(tensors, state, [(0, 2, 1), (2, 6, 2)], slots.tolist())
    close(out, expected[0])
    close(states, expected[1])

    def in_place(*t: Tensor) -> Tensor:
        return npu.npu_recurrent_gated_delta_rule(
            *t[:3], t[5], beta=t[3], g=t[4], scale=0.5, actual_seq_lengths=t[6],
            ssm_state_indices=t[7], num_accepted_tokens=t[8],
        )  # fmt: skip

    copies, found = run_in_place(in_place, *given, dynamic=False)
    assert torch.equal(found, out) and torch.equal(copies[5], states)


def test_chunk_gated_delta_rule() -> None:
    tensors, state = rule_inputs(), floats(torch.bfloat16, 2, 4, 16, 8)
    lengths = torch.tensor([2, 4]).int()
    out, states = check_compiled(
        lambda q, k, v, b, g, s, n: npu.npu_chunk_gated_delta_rule(
            q, k, v, beta=b, initial_state=s, actual_seq_lengths=n, scale=0.5, g=g
        ),
        *tensors,
        state,
        lengths,
    )
    expected = ruled(tensors, state, [(0, 2, 0), (2, 6, 1)], [0, 0, 1, 1, 1, 1])
    close(out, expected[0])
    close(states, expected[1])


def test_prefetch_is_in_the_graph() -> None:
    torch._dynamo.reset()
    weight, x = torch.randn(4, 8), torch.randn(4, 8)

    def function(x: Tensor, weight: Tensor) -> Tensor:
        y = x + 1
        npu.npu_prefetch(weight, y, 2)
        return y * weight

    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    assert torch.equal(compiled(x, weight), (x + 1) * weight)
    plain = torch.compile(lambda x, w: (x + 1) * w, backend=backend, fullgraph=True)
    plain(x, weight)
    assert backend.reports[0].nodes["ge"] > backend.reports[1].nodes["ge"]
