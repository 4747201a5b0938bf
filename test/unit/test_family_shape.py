"""Converters and kernels of views, slices, joins and padding, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check, check_gradients, compare
from torch.nn import functional

MODES = pytest.mark.parametrize("dynamic", (False, True), ids=("static", "dynamic"))


def values(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=generator)
    return x > 0 if dtype is torch.bool else (x * 8).to(dtype)


def views(x):
    a, b, c = x.shape
    flat = x.view(-1)
    return [
        x.view(a * b, c), x.view(a, b, 2, c // 2), x.view(a, 1, b, c), x.reshape(c, b, a),
        flat.view(a, -1), x.flatten(1), x.flatten(0, 1),
        x.unflatten(2, (2, c // 2)), x.view(a, -1, c // 2, 2),
        x.unsqueeze(0), x.unsqueeze(-1), x[:, :1].squeeze(1), x[:1].squeeze(),
        x[None, :, None].squeeze((0, 2)), x.squeeze(1), x.view_as(flat.view(a, b, c)),
        x[0, 0, :1].reshape(()), x[0, 0, 0].reshape(1, 1),
    ]  # fmt: skip


def orders(x):
    return [
        x.permute(2, 0, 1), x.transpose(0, 2), x.mT, x[0].t(), x.movedim(0, -1), x.swapaxes(0, 1),
        x[:, :1].permute(1, 0, 2), x[:1].transpose(0, 1), x[0, 0].t(), x[0, 0, 0].permute(()),
        x.flip(0), x.flip(-1, 0), x.flip(()), torch.rot90(x, 1, (0, 2)),
    ]  # fmt: skip


def spreads(x):
    return [
        x[:, :1].expand(-1, 5, -1), x.expand(2, -1, -1, -1), x[0, 0, 0].expand(3), x.expand_as(x),
        x.repeat(2, 1, 3), x.repeat(2, 1, 1, 1), x.repeat(1, 1, 1), x[0, 0, 0].repeat(2, 2),
        x.repeat_interleave(3, 1), x.tile(2), x.repeat(0, 1, 1), torch.broadcast_to(x[:1], x.shape),
    ]  # fmt: skip


def rolls(x):
    return [
        torch.roll(x, 2, 1), torch.roll(x, (1, -3), (0, 2)), torch.roll(x, 5), torch.roll(x, 0, 0),
        torch.roll(x[0, 0, 0], 1), torch.roll(x, x.shape[0] - 1, 2),
    ]  # fmt: skip


def diagonals(x):
    return [
        torch.diagonal(x), torch.diagonal(x, 1, 0, 2), torch.diagonal(x, -2, 2, 1),
        torch.diag_embed(x[0]), torch.diagonal_scatter(x, torch.diagonal(x).clone().fill_(1)),
        torch.diagonal_scatter(x, torch.diagonal(x, -1, 1, 2).logical_not().to(x.dtype), -1, 1, 2),
    ]  # fmt: skip


def strided(x):
    y = x.clone()
    return [
        torch.as_strided(y, (2, 3), (3, 1), 1), torch.as_strided(y, (4,), (0,)),
        torch.as_strided_scatter(y, x[0, :2, :3], (2, 3), (5, 1), 2),
        x.unfold(1, 3, 2), x.unfold(2, 2, 3), x.unfold(0, 1, 1), x[0, 0, 0].unfold(0, 1, 1),
    ]  # fmt: skip


def slices(x):
    n = x.shape[1]
    return [
        x[1:3], x[:, -2:], x[..., ::3], x[:, 1:-1, 2:], x[0], x[:, -1], x[1:2, 0, 3], x[:, 5:100],
        x[3:1], x[:, 1 : n - 1 : 2], x[:, : n // 2], x[:, n // 2 :], x[-1, ..., -3],
        x.narrow(1, 1, 3), x.narrow(2, -4, 2), x.select(1, -2), x[:, n - 1],
    ]  # fmt: skip


def joins(x):
    other = (x[:, :2].logical_not()).to(torch.int32)
    return [
        torch.cat([x, x[:1]]), torch.cat([x[:1], torch.empty(0, dtype=x.dtype), x]),
        torch.cat([x, other], 1), torch.cat([x]), torch.cat([x[:0], x[:0]]),
        torch.stack([x, x.flip(0)], 2), torch.stack([x], -1), torch.hstack([x, x]),
        torch.stack([x[0, 0, 0], x[0, 0, 1]]), torch.cat([x[0, 0], x[0, 1, :0], x[1, 0]]),
    ]  # fmt: skip


def splits(x):
    return [
        *x.split(4, 1), *x.split([1, 3], 0), *x.chunk(3, 2), *x.unbind(0),
        *torch.tensor_split(x, 3, 1), *x.split(100), *x[:1].unbind(0),
        *torch.split_with_sizes_copy(x, [2, 0, 4], 1), *x.split(x.shape[1] // 2, 1),
    ]  # fmt: skip


def patches(x):
    part = x[:, :2].logical_not().to(x.dtype)
    return [
        torch.slice_scatter(x, part, 1, 2, 4), torch.slice_scatter(x, part, 1, -2),
        torch.slice_scatter(x, part, 1, 0, 4, 2), torch.slice_scatter(x, x.flip(0), 0, 0),
        torch.slice_scatter(x, part[:, :0], 1, 3, 2), torch.select_scatter(x, part[:, 0], 1, -1),
        torch.select_scatter(x, part[:, 0], 1, 2), torch.select_scatter(x, x[0].flip(0), 0, 0),
        torch.select_scatter(x[:, :1], part[:, 0], 1, 0),
    ]  # fmt: skip


def pads(x):
    pad = functional.pad
    return [
        pad(x, (1, 2)), pad(x, (1, 2, -1, 3), value=1), pad(x, (-1, -2)), pad(x, (0, 0, 1, 0)),
        pad(x, (0, 0)), pad(x, (-1, 3, 0, -2)), pad(x[0, 0], (2, 1), value=1),
    ]  # fmt: skip


def float_pads(x):
    pad = functional.pad
    return [
        pad(x, (2, 1), mode="reflect"), pad(x, (2, 1), mode="replicate"),
        pad(x[None], (2, 1, 1, 0), mode="reflect"), pad(x[None], (0, 1, 3, 2), mode="replicate"),
        pad(x[None], (2, 1, 1, 1), mode="circular"), pad(x, (1, 2), value=float("-inf")),
    ]  # fmt: skip


FUNCTIONS = (
    views, orders, spreads, rolls, diagonals, strided, slices, joins, splits, patches, pads,
)  # fmt: skip


@MODES
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_element_stands_where_eager_puts_it(function, dynamic):
    check(lambda x: [y.clone() for y in function(x)], values(4, 6, 8), dynamic=dynamic)


@pytest.mark.parametrize("dtype", (torch.bool, torch.float64), ids=str)
def test_dtypes_that_most_operators_lack(dtype):
    def function(x):
        return [y.clone() for each in FUNCTIONS for y in each(x)]

    check(function, values(4, 6, 8, dtype=dtype))


@MODES
def test_padding_by_reflection_and_replication(dynamic):
    check(float_pads, values(4, 6, 8), dynamic=dynamic)


@pytest.mark.parametrize("function", (views, splits))
def test_views_of_an_input_alias_it(function):
    check(function, values(4, 6, 8), dynamic=True)


@MODES
@pytest.mark.parametrize("shape", ((0, 6, 8), (4, 0, 8)), ids=str)
def test_empty_tensors(shape, dynamic):
    def function(x):
        return [
            x.view(x.shape[0] * x.shape[1], 8) + 1, x.transpose(0, 1) + 1, x[:, 1:] + 1,
            torch.cat([x, x]), x.flip(0), functional.pad(x, (1, 1)), x.repeat(2, 1, 1),
            x.expand(2, *x.shape) + 1,
        ]  # fmt: skip

    check(function, values(*shape), dynamic=dynamic)


@MODES
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16), ids=str)
def test_gradients(dtype, dynamic):
    def function(x):
        n = x.shape[0]
        return torch.cat(
            [
                x[1:3, ::2].flatten(), x[:, -1].flatten(), x[0].expand(2, 6, 8).flatten(),
                x.permute(2, 0, 1)[1:].flatten(), functional.pad(x, (1, -2)).flatten(),
                x.repeat(2, 1, 1).flatten(), x.unfold(1, 3, 2).flatten(), x[n - 1, 1:].flatten(),
                torch.stack([x, x * 2], 1).unbind(0)[1].flatten(), x.flip(0).roll(1, 1).flatten(),
                torch.diagonal(x, 1, 0, 2).flatten(), x.split([1, 3])[1].flatten(),
            ]
        )  # fmt: skip

    check_gradients(function, values(4, 6, 8, dtype=dtype), dynamic=dynamic)


def test_gradients_of_padding_by_position():
    def function(x):
        reflected = functional.pad(x, (2, 1), mode="reflect")
        return reflected.sum(1) + functional.pad(x, (1, 2), mode="replicate").sum(1)

    check_gradients(function, values(4, 6, 8))


def test_bytes_read_as_another_type():
    def function(x, y):
        pairs = torch.view_as_complex(x.view(4, 6, 4, 2))
        return [
            x.view(torch.int32) + 1, x.view(torch.int16) + 1, y.view(torch.int32) + 1,
            y.view(torch.float16) * 1.5, torch.view_as_real(pairs) * 2.0,
        ]  # fmt: skip

    check(function, values(4, 6, 8), values(4, 6, dtype=torch.int16))


NODES = {
    "reshape that adds ones": (lambda x: x.view(4, 1, 48, 1) * 2.0, ["Unsqueeze"]),
    "unsqueeze": (lambda x: x[:, None] * 2.0, ["Unsqueeze"]),
    "permutation that moves a one": (
        lambda x: x[:, None].transpose(0, 1) * 2.0,
        ["Unsqueeze"],
    ),
    "slice of everything": (lambda x: x[0:, :48] * 2.0, []),
    "expand to the same shape": (lambda x: x.expand(4, 48) * 2.0, []),
    "slice": (lambda x: x[:, 3:9] * 2.0, ["StridedSliceV2"]),
    "select": (lambda x: x[:, -1] * 2.0, ["GatherV2"]),
    "gradient of a slice": (
        lambda x: torch.ops.aten.slice_backward(x, [4, 60], 1, 2, 50, 1) * 2.0,
        ["PadV3"],
    ),
    "gradient of a select": (
        lambda x: torch.ops.aten.select_backward(x, [4, 3, 48], 1, -1) * 2.0,
        ["StridedSliceGrad"],
    ),
    "concatenation with nothing": (lambda x: torch.cat([x, x[:, :0]], 1) * 2.0, []),
}


@pytest.mark.parametrize("name", NODES)
def test_few_nodes(name):
    function, expected = NODES[name]
    graph = check(function, values(4, 48))[-1]
    found = [t for t in graph.node_types if t not in ("Const", "Mul", "Muls")]
    assert found == expected


def test_dynamic_views_infer_one_size_instead_of_computing_it():
    def function(x):
        return [x.view(x.shape[0], 8, 3) + 1.0, x.unsqueeze(1) + 1.0, x.flatten(0, 1) + 1.0]

    graph = check(function, values(5, 24), dynamic=True)[-1]
    assert "Pack" not in graph.node_types
    assert graph.node_types.count("Shape") <= 1


def test_symbolic_dimensions_merge_without_shape_arithmetic():
    def function(x):
        return x.view(x.shape[0], x.shape[1], -1) * 2.0

    x = values(3, 5, 2, 4)
    torch._dynamo.mark_static(x, 2)
    torch._dynamo.mark_static(x, 3)
    graph = check(function, x, dynamic=True)[-1]
    compare(graph.node_types.count("Pack"), 0)
