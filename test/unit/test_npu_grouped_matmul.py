"""npu grouped products: against one product per group in float64, eager and compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from npu_operator_check import check_compiled
from torch import Tensor

from torchair.errors import TorchairError

npu = torch.ops.npu

TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
GROUPS = ((0, 3, 0), (3, 3, 1), (3, 9, 2))
"""(first row, end, group)."""


def floats(dtype: torch.dtype, *shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape).to(dtype)


def bytes_of(*shape: int) -> Tensor:
    torch.manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def close(found: Tensor, expected: Tensor) -> None:
    if found.dtype is torch.int8:
        rounded = expected.round().clamp(-128, 127)
        assert bool(((found.double() - rounded).abs() <= 1).all())
        return
    limit = TOLERANCE[found.dtype]
    torch.testing.assert_close(found.double(), expected.double(), rtol=limit, atol=limit)


LISTS = {0: [3, 3, 9], 1: [3, 0, 6], 2: [[0, 3], [2, 6], [1, 0]]}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("as_list", [False, True])
def test_groups_of_rows(dtype: torch.dtype, kind: int, as_list: bool) -> None:
    x, weight, bias = floats(dtype, 9, 16), floats(dtype, 3, 16, 8) / 4, floats(dtype, 3, 8)
    bias = bias.float() if dtype is torch.bfloat16 else bias

    def function(x: Tensor, weight: Tensor, bias: Tensor, groups: Tensor) -> Any:
        weights, biases = [weight], [bias]
        if as_list:
            weights, biases = list(weight.unbind()), list(bias.unbind())
        return npu.npu_grouped_matmul(
            [x],
            weights,
            bias=biases,
            group_list=groups,
            split_item=3,
            group_type=0,
            group_list_type=kind,
        )

    (out,) = check_compiled(function, x, weight, bias, torch.tensor(LISTS[kind]))
    for start, end, group in GROUPS:
        exact = x[start:end].double() @ weight[group].double() + bias[group].double()
        close(out[start:end], exact)


def test_sizes_may_change_without_a_new_graph() -> None:
    import torchair

    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=torchair.CompilerConfig())

    def function(x: Tensor, weight: Tensor, groups: Tensor) -> Tensor:
        named = {"group_list": groups, "split_item": 3, "group_type": 0, "group_list_type": 1}
        return npu.npu_grouped_matmul([x], [weight], **named)[0]

    compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    x, weight = floats(torch.float16, 9, 16), floats(torch.float16, 3, 16, 8)
    for sizes in ([3, 0, 6], [9, 0, 0], [1, 2, 6]):
        groups = torch.tensor(sizes)
        assert torch.equal(compiled(x, weight, groups), function(x, weight, groups))
    assert len(backend.reports) == 1


def test_every_tensor_is_a_group() -> None:
    xs = [floats(torch.float16, n, 16) for n in (2, 3)]
    weights = [floats(torch.float16, 16, n) / 4 for n in (8, 8)]
    out = check_compiled(
        lambda a, b, c, d: npu.npu_grouped_matmul([a, b], [c, d], group_type=-1), *xs, *weights
    )
    for one, x, weight in zip(out, xs, weights, strict=True):
        close(one, x.double() @ weight.double())
    (joined,) = check_compiled(
        lambda a, b, c, d: npu.npu_grouped_matmul([a, b], [c, d], split_item=3, group_type=-1),
        *xs,
        *weights,
    )
    assert torch.equal(joined, torch.cat(out))


@pytest.mark.parametrize("split_item", [1, 3])
def test_list_of_ints(split_item: int) -> None:
    x, weights = floats(torch.float16, 9, 16), [floats(torch.float16, 16, 8) / 4] * 3
    out = check_compiled(
        lambda x, *w: npu.npu_grouped_matmul.List(
            [x], list(w), group_list=[3, 3, 9], split_item=split_item
        ),
        x,
        *weights,
        dynamic=False,
    )
    exact = x.double() @ weights[0].double()
    assert len(out) == (3 if split_item == 1 else 1)
    close(torch.cat(out), exact)


def test_groups_of_the_inner_dimension() -> None:
    x, weight = floats(torch.float16, 5, 9), floats(torch.float16, 9, 8)
    (out,) = check_compiled(
        lambda x, w, g: npu.npu_grouped_matmul([x], [w], group_list=g, split_item=3, group_type=2),
        x,
        weight,
        torch.tensor([3, 3, 9]),
    )
    assert out.shape == (3, 5, 8)
    for start, end, group in GROUPS:
        close(out[group], x[:, start:end].double() @ weight[start:end].double())


@pytest.mark.parametrize("act_type", [0, 1, 2, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_quantised(dtype: torch.dtype, act_type: int) -> None:
    x, weight, token = bytes_of(9, 16), bytes_of(3, 16, 8), torch.rand(9) / 50
    scale = (torch.rand(3, 8) / 10).to(torch.bfloat16 if dtype is torch.bfloat16 else torch.float32)
    bias = torch.randint(-999, 999, (3, 8), dtype=torch.int32)
    number = {torch.float16: 5, torch.bfloat16: 15}[dtype]

    def function(x: Tensor, w: Tensor, s: Tensor, t: Tensor, b: Tensor, g: Tensor) -> Any:
        return npu.npu_grouped_matmul(
            [x],
            [w],
            scale=[s],
            per_token_scale=[t],
            bias=[b],
            group_list=g,
            split_item=3,
            group_type=0,
            act_type=act_type,
            output_dtype=number,
        )

    (out,) = check_compiled(function, x, weight, scale, token, bias, torch.tensor([3, 3, 9]))
    activation: Any = {
        0: lambda v: v,
        1: torch.relu,
        2: lambda v: torch.nn.functional.gelu(v, approximate="tanh"),
        4: lambda v: v / (1 + torch.exp(-1.702 * v)),
        5: torch.nn.functional.silu,
    }[act_type]
    for start, end, group in GROUPS:
        exact = x[start:end].double() @ weight[group].double() + bias[group]
        exact = exact * scale[group].double() * token[start:end, None].double()
        close(out[start:end], activation(exact))


def test_quantised_to_int8() -> None:
    x, weight = bytes_of(9, 16), bytes_of(3, 16, 8)
    scale, offset = torch.rand(3, 8) / 500, torch.rand(3, 8)
    (out,) = check_compiled(
        lambda x, w, s, o, g: npu.npu_grouped_matmul(
            [x], [w], scale=[s], offset=[o], group_list=g, split_item=3, group_type=0
        ),
        x,
        weight,
        scale,
        offset,
        torch.tensor([3, 3, 9]),
    )
    assert out.dtype == torch.int8
    for start, end, group in GROUPS:
        exact = x[start:end].double() @ weight[group].double() * scale[group].double()
        close(out[start:end], exact + offset[group].double())


@pytest.mark.parametrize("per_group", [False, True])
def test_quantised_weights(per_group: bool) -> None:
    x, weight = floats(torch.float16, 9, 16), bytes_of(3, 16, 8)
    shape = (3, 2, 8) if per_group else (3, 8)
    scale, offset = (torch.rand(shape) / 500).half(), torch.randint(-9, 9, shape).half()
    (out,) = check_compiled(
        lambda x, w, s, o, g: npu.npu_grouped_matmul(
            [x],
            [w],
            antiquant_scale=[s],
            antiquant_offset=[o],
            group_list=g,
            split_item=3,
            group_type=0,
        ),
        x,
        weight,
        scale,
        offset,
        torch.tensor([3, 3, 9]),
    )
    wide = [
        t.double().repeat_interleave(8, 1) if per_group else t[:, None] for t in (scale, offset)
    ]
    exact = (weight.double() + wide[1]) * wide[0]
    for start, end, group in GROUPS:
        close(out[start:end], x[start:end].double() @ exact[group].double())


def test_refusals() -> None:
    x, weight = floats(torch.float16, 9, 16), floats(torch.float16, 3, 16, 8)
    groups = torch.tensor([3, 3, 9])
    with pytest.raises(TorchairError, match="split its result"):
        npu.npu_grouped_matmul([x], [weight], group_list=groups, split_item=0, group_type=0)
    with pytest.raises(TorchairError, match="cannot give"):
        npu.npu_grouped_matmul(
            [x], [weight], group_list=groups, split_item=3, group_type=0, output_dtype=6
        )
