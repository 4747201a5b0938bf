"""Writes to graph inputs: values, dtypes, broadcasting and order, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check

MODES = pytest.mark.parametrize("dynamic", (False, True), ids=("static", "dynamic"))


def values(*shape, dtype=torch.float32):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 8).to(dtype)


def add_in_place(x, y):
    return x.add_(1).mul(2) + y


def copy_broadcast(x, y):
    x.copy_(y[0])
    return y + 1


def copy_converted(x, y):
    x.copy_(y.int())
    return x * 2


def write_through_views(x, y):
    x[1].zero_()
    x[:, 2].copy_(y[:, 0])
    x[::2, 1:3].fill_(3)
    return x.sum(0)


def write_by_index(x, y):
    x[torch.tensor([0, 2])] = y[:2]
    x.index_add_(1, torch.tensor([1, 1]), y[:, :2])
    x.scatter_(0, torch.zeros(1, 4, dtype=torch.long), y)
    x.masked_fill_(y > 0, 1)
    x.index_put_((torch.tensor([1]),), y[:1], accumulate=True)
    x.index_fill_(1, torch.tensor([3]), -1)
    return y


def swap(x, y):
    old = x.clone()
    x.copy_(y)
    y.copy_(old)
    return x - y


def write_after_read(x, y):
    before = x * 2
    x.mul_(y)
    return before, x + before


def fill_all(x, y):
    x.fill_(2)
    y.zero_()
    return x + y


def transposed_write(x, y):
    x.t().copy_(y[:4, :3].t().flip(0) if y.shape[0] > 4 else y.t())
    return x


FUNCTIONS = (
    add_in_place, copy_broadcast, copy_converted, write_through_views, write_by_index, swap,
    write_after_read, fill_all, transposed_write,
)  # fmt: skip


@MODES
@pytest.mark.parametrize("function", FUNCTIONS)
def test_inputs_are_written_as_in_eager(function, dynamic):
    check(function, values(3, 4), values(3, 4).flip(0), dynamic=dynamic)


@pytest.mark.parametrize("dtype", (torch.int64, torch.bfloat16), ids=str)
@pytest.mark.parametrize("function", (copy_broadcast, copy_converted, write_through_views, swap))
def test_other_dtypes(function, dtype):
    check(function, values(3, 4, dtype=dtype), values(3, 4, dtype=dtype).flip(0))


def test_an_unchanged_input_is_not_assigned():
    def function(x):
        x.copy_(x)
        return x + 1

    graph = check(function, values(3, 4))[-1]
    assert "Assign" not in graph.node_types


def test_one_assignment_per_written_input():
    def function(x, y):
        x.add_(1)
        x.mul_(2)
        return x + y

    graph = check(function, values(3, 4), values(3, 4))[-1]
    assert graph.node_types.count("Assign") == 1


def test_functional_copies():
    def function(x, y):
        aten = torch.ops.aten
        return [
            aten.copy(x, y[0]), aten.copy(x, y.int()), aten.copy(x.int(), y), aten.zero(x) + 1,
            aten.fill.Scalar(x, 3), aten.fill.Tensor(x, torch.tensor(4)),
            aten.fill.Scalar(x[0, 0], 1.5),
        ]  # fmt: skip

    check(function, values(3, 4), values(3, 4).flip(0))
