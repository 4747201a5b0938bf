"""Products of one row that the program computes itself have torch's bits."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch
from recorded_programs import copies, record

from torchair import _native
from torchair.backend_ge.host.call_routes import ProxyRoute
from torchair.backend_ge.host.lowered import Rewrites, _lower, lower
from torchair.backend_ge.host.out_variants import OutCall, OutVariant
from torchair.backend_ge.host.products import RowProduct, adds_like_torch, row_product
from torchair.backend_ge.host.program import Program

aten = torch.ops.aten
FLOAT32 = _native.torch_enumerator("aoti_torch_dtype_float32")


def planned(function, *inputs: torch.Tensor) -> Program:
    """The planned program of a function; its results are eager's, bit for bit."""
    trace, expected = record(function, copies(inputs))
    program = Program(trace)
    program.plan(inputs)
    for found, wanted in zip(program.run(inputs), expected, strict=True):
        assert torch.equal(found, wanted)
    return program


def linear(x, weight):
    return aten.mm.default(x, aten.t.default(weight))


def linear_with_bias(x, weight, bias):
    return aten.addmm.default(bias, x, aten.t.default(weight))


def sum_in_order(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The order of row_product.h, number by number."""
    products = matrix * vector
    sums = products[:, :4].copy()
    sums[:, 0] = ((sums[:, 0] + sums[:, 1]) + sums[:, 2]) + sums[:, 3]
    sums[:, 1:] = 0
    for begin in range(4, matrix.shape[1], 4):
        sums += products[:, begin : begin + 4]
    return (sums[:, 0] + sums[:, 2]) + (sums[:, 1] + sums[:, 3])


@pytest.mark.parametrize("rows", [1, 7, 8, 24, 100])
@pytest.mark.parametrize("columns", [4, 8, 20, 64, 516, 1024])
def test_kernel_adds_in_its_order(rows, columns):
    torch.manual_seed(rows)
    matrix, vector = torch.randn(rows, columns), torch.randn(columns)
    bias, result = torch.randn(rows), torch.empty(rows)
    for threads, given in ((1, None), (2, bias)):
        given_to = 0 if given is None else given.data_ptr()
        product = (rows, columns, given is not None, False, threads)
        assert _native.multiply_rows(
            product, matrix.data_ptr(), vector.data_ptr(), given_to, result.data_ptr()
        )
        expected = torch.from_numpy(sum_in_order(matrix.numpy(), vector.numpy()))
        assert torch.equal(result, expected if given is None else given + expected)


def test_large_products_are_shared_by_threads():
    torch.manual_seed(0)
    matrix, vector, result = torch.randn(1004, 512), torch.randn(512), torch.empty(1004)
    addresses = matrix.data_ptr(), vector.data_ptr(), 0, result.data_ptr()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert _native.multiply_rows((1004, 512, False, False, 2), *addresses)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(result, torch.from_numpy(sum_in_order(matrix.numpy(), vector.numpy())))


def test_kernel_refuses_columns_and_addresses():
    tensor = torch.ones(64)
    start = tensor.data_ptr()
    assert not _native.multiply_rows((2, 6, False, False, 1), start, start, 0, start)
    assert not _native.multiply_rows((2, 8, False, False, 1), start + 4, start, 0, start)
    assert not _native.multiply_rows((2, 8, False, False, 1), start, start + 8, 0, start)


def is_own(rows: int, columns: int, has_bias: bool = False) -> bool:
    return adds_like_torch(RowProduct(rows, columns, has_bias, torch.get_num_threads()))


@pytest.mark.parametrize(("rows", "columns"), [(8, 4), (64, 256), (256, 704), (1000, 100)])
def test_linear_layers_of_one_row(rows, columns):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, columns), torch.randn(rows, columns), torch.randn(rows)
    program = planned(lambda x, w: linear(x, w) + 1, x, weight)
    assert program.products == ([1] if is_own(rows, columns) else [])
    program = planned(lambda x, w, b: linear_with_bias(x, w, b) + 1, x, weight, bias)
    assert program.products == ([1] if is_own(rows, columns, True) else [])


def test_result_that_is_an_output_is_new_in_every_run():
    x, weight = torch.randn(1, 64), torch.randn(32, 64)
    program = planned(linear, x, weight)
    assert program.products == ([1] if is_own(32, 64) else [])
    first, second = program.run([x, weight]), program.run([x, weight])
    assert first[0].data_ptr() != second[0].data_ptr()
    assert first[0].is_contiguous() and first[0].shape == (1, 32)
    kept = first[0].clone()
    program.run([2 * x, weight])
    assert torch.equal(first[0], kept)


def test_runs_leak_nothing():
    x, weight = torch.randn(1, 64), torch.randn(512, 64)
    program = planned(linear, x, weight)
    process = psutil.Process()
    for _ in range(1000):
        program.run([x, weight])
    before = process.memory_info().rss
    for _ in range(10_000):
        program.run([x, weight])
    assert process.memory_info().rss - before < 1 << 20  # a result has 2 KiB


def test_refused_node_leaves_an_allocated_result_to_torch():
    trace, _ = record(linear, [torch.randn(1, 64), torch.randn(32, 64)])
    rewrites = Rewrites()
    rewrites.products[1] = RowProduct(32, 64, False, 1)
    rewrites.out_calls[1] = OutCall(OutVariant(aten.mm.out, ("out",)), trace.calls[1].args, {})
    rewrites.allocated.add(1)
    (made,) = [c.route for c in lower(trace, rewrites).calls if c.index == 1]
    assert isinstance(made, ProxyRoute) and made.product is not None and made.allocates
    (other,) = [c.route for c in _lower(trace, {made.node}, rewrites).calls if c.index == 1]
    assert isinstance(other, ProxyRoute) and other.product is None and "mm.out" not in other.node


def test_addresses_that_torch_has_to_take():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 64), torch.randn(32, 64)
    program = planned(lambda x, w: linear(x, w) * 2, x, weight)
    shifted = [torch.empty(t.numel() + 1)[1:].view(t.shape).copy_(t) for t in (x, weight)]
    for given in ([shifted[0], weight], [x, shifted[1]], shifted):
        assert torch.equal(program.run(given)[0], linear(*given) * 2)


def test_another_number_of_threads():
    torch.manual_seed(0)
    x, weight = torch.randn(1, 512), torch.randn(1024, 512)
    program = planned(lambda x, w: linear(x, w) * 2, x, weight)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert torch.equal(program.run([x, weight])[0], linear(x, weight) * 2)
    finally:
        torch.set_num_threads(threads)


def test_negated_inputs():
    weight = torch.randn(32, 64)
    program = planned(lambda x, w: linear(x, w) * 2, torch.randn(1, 64), weight)
    x = torch._neg_view(torch.randn(1, 64))
    assert torch.equal(program.run([x, weight])[0], linear(x, weight) * 2)


@pytest.mark.parametrize(
    ("op", "layouts", "kwargs"),
    [
        (aten.mm.default, [([1, 8], [8, 1]), ([8, 6], [1, 8])], {}),  # rows left over
        (aten.mm.default, [([1, 6], [6, 1]), ([6, 8], [1, 6])], {}),  # columns left over
        (aten.mm.default, [([2, 8], [8, 1]), ([8, 8], [1, 8])], {}),  # two rows
        (aten.mm.default, [([1, 8], [8, 1]), ([8, 8], [8, 1])], {}),  # by columns
        (aten.mm.default, [([1, 8], [8, 1]), ([8, 8], [1, 16])], {}),  # gaps
        (aten.mm.default, [([1, 8], [16, 2]), ([8, 8], [1, 8])], {}),  # gaps in the row
        (aten.addmm.default, [([8], [1]), ([1, 8], [8, 1]), ([8, 8], [1, 8])], {"beta": 2}),
        (aten.addmm.default, [([8], [0]), ([1, 8], [8, 1]), ([8, 8], [1, 8])], {}),
        (aten.add.Tensor, [([1, 8], [8, 1]), ([1, 8], [8, 1])], {}),
    ],
)
def test_calls_that_are_torch_s(op, layouts, kwargs):
    assert row_product(op, [(FLOAT32, *layout) for layout in layouts], kwargs) is None


def test_reduced_precision_is_torch_s():
    layouts = [(FLOAT32, [1, 8], [8, 1]), (FLOAT32, [8, 8], [1, 8])]
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        assert row_product(aten.mm.default, layouts, {}) is None
    finally:
        matmul.fp32_precision = before
