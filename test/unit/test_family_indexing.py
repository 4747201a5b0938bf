"""Converters and kernels of reads and writes by index, of order and of search, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check, check_gradients, compare
from torch.nn import functional

from torchair.errors import ConversionError

MODES = pytest.mark.parametrize("dynamic", (False, True), ids=("static", "dynamic"))
FORMS = pytest.mark.parametrize(
    ("dtype", "dynamic"),
    [
        (torch.float32, False), (torch.float32, True), (torch.bool, True),
        (torch.float16, False), (torch.float64, False), (torch.int32, False),
    ],
    ids=str,
)  # fmt: skip
"""The shape arithmetic is that of float32; booleans take other operators."""


def values(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(shape, generator=generator)
    return x > 0 if dtype is torch.bool else (x * 8).to(dtype)


def places(size, *shape):
    return torch.randint(0, size, shape, generator=torch.Generator().manual_seed(3))


def reads(x, rows, wrapped, table):
    return [
        x[rows], x[:, rows], x[rows, rows], x[rows, :, rows], x[wrapped], x[:, wrapped, 1],
        x[None, wrapped], x[..., wrapped], x[1, wrapped], x[rows.int()], x[:, [0, 2]],
        x.index_select(1, wrapped.abs()), x.index_select(0, rows[0, 0]), torch.take(x, table),
        x.gather(1, table), x.gather(-1, table[:2, :3]), x[0, 0].gather(0, wrapped.abs()),
        x[0, 0, 0].gather(0, rows[0, :1] * 0), x.take_along_dim(table % 4, 0),
        x[0, 0, 0].index_select(0, rows[0, :1] * 0),
    ]  # fmt: skip


@FORMS
def test_reads(dtype, dynamic):
    wrapped = torch.tensor([3, 0, -1, 2])
    check(
        reads, values(4, 6, 8, dtype=dtype), places(4, 2, 2), wrapped, places(6, 4, 6, 8),
        dynamic=dynamic,
    )  # fmt: skip


def writes(x, index, rows, source):
    put = torch.ops.aten.index_put
    column = rows[0]
    wide = source[:, :2]
    return [
        x.scatter(1, index, source), x.scatter(0, index[:2, :3, :4] % 4, 1),
        x.scatter_add(1, index, source), x[0, 0].scatter(0, index[0, 0], source[0, 0]),
        x[0, 0, 0].scatter(0, rows[0, 0] * 0, source[0, 0, 0]),
        put(x, [rows], source[0]), put(x, [None, column], wide), put(x, [None, column], wide, True),
        put(x, [rows, None, rows], source[0, 0, 0], True), put(x, [column - 3], source[:1]),
        x.index_copy(1, torch.tensor([4, 1]), wide), x.index_fill(2, column, 1),
        x.index_add(1, column, wide), torch.put(x, rows, source[0, :2, :2]),
        x[0, 0, 0].index_add(0, rows[0, 0] * 0, source[0, 0, 0]),
    ]  # fmt: skip


@FORMS
def test_writes(dtype, dynamic):
    index = places(6, 4, 6, 8).argsort(1)
    x = values(4, 6, 8, dtype=dtype)
    check(writes, x, index, places(4, 2, 2), x.flip(0), dynamic=dynamic)


@MODES
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.int64), ids=str)
def test_scatter_reductions(dtype, dynamic):
    def function(x, index, source):
        return [
            *[
                x.scatter_reduce(1, index, source, reduce, include_self=own)
                for reduce in ("sum", "prod", "mean", "amax", "amin")
                for own in (True, False)
            ],
            torch.ops.aten.scatter.reduce(x, 0, index[:2] % 4, source, reduce="multiply"),
            torch.ops.aten.scatter.value_reduce(x, 1, index, 2, reduce="add"),
            x.index_add(1, index[0, 0], source[:, :1].expand(-1, 8, -1), alpha=2),
        ]

    x = values(4, 6, 8, dtype=dtype)
    check(function, x, places(6, 4, 6, 8), x.flip(1) + 1, dynamic=dynamic)


def test_masks_that_keep_the_shape():
    def function(x, mask):
        return [
            torch.ops.aten.index_put(x, [mask], torch.tensor(2.0)),
            torch.ops.aten.index_put(x, [mask[:, 0]], torch.tensor(2.0)),
            x.masked_scatter(mask, x.flip(0)), x[0].masked_scatter(mask[0, :1], x[1]),
        ]  # fmt: skip

    check(function, values(4, 6), values(4, 6) > 0)


DATA_DEPENDENT = {
    "mask": lambda x: x[x > 0] * 2,
    "mask of rows": lambda x: x[x[:, 0] > 0].sum(0),
    "mask of columns": lambda x: x[:, x[0] > 0] + 1,
    "mask and index": lambda x: x[x[:, 0] > 0, torch.tensor(1)],
    "masked_select": lambda x: x.masked_select(x < 0).sum(),
    "nonzero": lambda x: torch.nonzero(x > 1),
    "nonzero of a scalar": lambda x: torch.nonzero(x[0, 0]),
    "argwhere": lambda x: torch.argwhere(x > 0) + 1,
    "nonzero_static": lambda x: torch.nonzero_static(x > 4, size=20),
    "index_put by mask": lambda x: torch.ops.aten.index_put(x, [x > 0], x[x > 0] * 2),
    "accumulate by mask": lambda x: torch.ops.aten.index_put(x, [x > 0], torch.ones(()), True),
    "unique": lambda x: torch.unique((x / 4).int(), return_inverse=True, return_counts=True),
    "unique_consecutive": lambda x: torch.unique_consecutive((x / 8).int().flatten()),
    "repeat_interleave": lambda x: x.repeat_interleave(x[:, 0].abs().long() % 4, 0),
}


@pytest.mark.parametrize("name", DATA_DEPENDENT)
def test_shapes_that_depend_on_data(name):
    function = DATA_DEPENDENT[name]
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled, graphs = build(function)
        for seed in (1, 2):
            x = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed)) * 8
            compare(compiled(x.clone()), function(x))
    assert graphs[-1].interpreted


def orders(x, sequence):
    return [
        *x.sort(), *x.sort(0, descending=True), *x.sort(dim=1, stable=True), x.argsort(1),
        torch.argsort(x, dim=-1, stable=True), *x.topk(3), *x.topk(2, 0, largest=False),
        *x[0, 0, 0].sort(), *x[0, 0, 0].topk(1), *x.topk(x.shape[0], 1),
        torch.searchsorted(sequence, x),
        torch.searchsorted(sequence, x, right=True, out_int32=True),
        torch.searchsorted(x.sort().values, x), torch.searchsorted(sequence, 1),
        torch.bucketize(x, sequence), torch.bucketize(x, sequence, right=True),
    ]  # fmt: skip


@MODES
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16, torch.int64), ids=str)
def test_orders(dtype, dynamic):
    x = torch.randperm(192, generator=torch.Generator().manual_seed(4)).view(4, 6, 8).to(dtype)
    check(orders, x, x[0, 0].sort().values, dynamic=dynamic)


def test_order_of_booleans():
    check(lambda x: [*x.sort(dim=0, stable=True), *x.sort()], values(4, 6, dtype=torch.bool))


@MODES
def test_middle_elements(dynamic):
    def function(x):
        return [
            *x.kthvalue(3, 1), *x.kthvalue(2, 0, keepdim=True), x.median(), *x.median(0),
            *x.median(-1, keepdim=True), x.nanmedian(), *x.nanmedian(1), x[0].int().median(),
        ]  # fmt: skip

    check(function, values(5, 6, 3), dynamic=dynamic)


def test_median_with_nan():
    x = values(5, 6)
    x[1, 2] = x[4, 0] = float("nan")
    check(lambda x: [x.median(), x.median(1).values, x.nanmedian(), *x.nanmedian(1)], x)


def embeddings(table, index, weights):
    bags = torch.tensor([0, 2, 2])
    return [
        functional.embedding(index, table), functional.embedding(index.int(), table, padding_idx=1),
        functional.embedding_bag(index, table, mode="mean"),
        functional.embedding_bag(index[0], table, bags, mode="sum", per_sample_weights=weights),
        functional.embedding_bag(index[0], table, bags, mode="max", padding_idx=0),
    ]  # fmt: skip


@MODES
@pytest.mark.parametrize("dtype", (torch.float32, torch.float16), ids=str)
def test_embeddings(dtype, dynamic):
    check(
        embeddings, values(10, 4, dtype=dtype), places(10, 3, 5), values(5, dtype=dtype),
        dynamic=dynamic,
    )  # fmt: skip


def test_embedding_with_a_largest_norm():
    def function(table, index):
        return functional.embedding(index, table, max_norm=5.0), table + 1

    check(function, values(10, 4), places(10, 3, 5), exact=False)


@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
def test_gradients(dtype):
    def function(x, rows, index):
        return torch.cat(
            [
                x[rows].flatten(), x[:, rows[0]].flatten(), x.gather(1, index).flatten(),
                x.index_select(0, rows[0]).flatten(), x.sort(1).values.flatten(),
                x.topk(2).values.flatten(), x.scatter(1, index, x).flatten(),
                x.index_add(0, rows[0], x[:2]).flatten(), x.masked_fill(x > 0, 1.0).flatten(),
            ]
        )  # fmt: skip

    index = places(6, 4, 6, 8).argsort(1)
    check_gradients(function, values(4, 6, 8, dtype=dtype), places(4, 2, 2), index)


@pytest.mark.parametrize("scaled", (False, True))
def test_gradient_of_embedding(scaled):
    def function(table, index):
        return functional.embedding(index, table, padding_idx=3, scale_grad_by_freq=scaled)

    table = values(10, 4)
    graphs = check_gradients(function, table, places(10, 3, 5))
    assert any("EmbeddingDenseGrad" in graph.node_types for graph in graphs)


BAGS = torch.tensor([0, 2, 2, 5])
BAG_OPTIONS = {
    "sum": {"mode": "sum"},
    "mean": {"mode": "mean", "padding_idx": 3},
    "max": {"mode": "max"},
    "last offset": {"mode": "sum", "include_last_offset": True, "padding_idx": 1},
}


@MODES
@pytest.mark.parametrize("name", BAG_OPTIONS)
def test_gradient_of_bags(name, dynamic):
    def function(table, index):
        return functional.embedding_bag(index, table, BAGS, **BAG_OPTIONS[name])

    check_gradients(function, values(10, 4), places(10, 5), dynamic=dynamic, exact=False)


def test_gradient_of_bags_scaled_by_frequency():
    """Eager on the CPU divides by the count of another row, so the sum itself is compared."""
    index, table = torch.tensor([4, 7, 4, 7, 7]), values(10, 2).requires_grad_()
    compiled, _ = build(
        lambda table: functional.embedding_bag(
            index, table, BAGS[:1], mode="sum", scale_grad_by_freq=True
        )
    )
    compiled(table).sum().backward()
    named = torch.zeros(10, 2).index_fill(0, index, 1.0)
    torch.testing.assert_close(table.grad, named)


def test_gradient_of_weighted_bags():
    def function(table, weights, index):
        return functional.embedding_bag(
            index, table, BAGS, mode="sum", per_sample_weights=weights, padding_idx=2
        )

    check_gradients(function, values(10, 4), values(5), places(10, 5), exact=False)


def test_a_gather_that_ge_lacks_moves_the_bytes_as_integers():
    index = places(6, 4, 6)
    graph = check(lambda x: x.gather(1, index) + 1, values(4, 6, dtype=torch.float64))[-1]
    assert graph.node_types.count("Bitcast") == 2
    assert "GatherElements" in graph.node_types


def test_sort_of_float64_is_refused_with_a_way_out():
    compiled, _ = build(lambda x: x.sort().values)
    with pytest.raises(Exception, match="cast the operand to float32") as caught:
        compiled(values(4, dtype=torch.float64))
    assert ConversionError.__name__ in str(caught.value)
