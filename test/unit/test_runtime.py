"""What a compiled graph does at run time: unusual inputs, mutation, aliasing, errors,
specialisation."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchair
from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.engines import get_engine
from torchair.backend_ge.host.engine import HostEngine
from torchair.errors import ConfigError, EngineError
from torchair.ir.text import parse_module
from torchair.tools.context import make_context


def compile_fn(function: Callable[..., Any], dynamic: bool = False, **options: Any) -> Any:
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    for path, value in options.items():
        config.set_option(path.replace("__", "."), value)
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(function, backend=backend, dynamic=dynamic, fullgraph=True)
    compiled.backend = backend
    return compiled


def combine(x: Tensor, y: Tensor) -> Tensor:
    return torch.relu(x * y + x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (torch.randn(4, 6).t(), torch.randn(6, 4)),
        lambda: (torch.randn(8, 6)[::2, 1:4], torch.randn(4, 3)),
        lambda: (torch.randn(0, 3), torch.randn(0, 3)),
        lambda: (torch.tensor(2.0), torch.tensor(3.0)),
        lambda: (torch.randn(1, 3).expand(4, 3), torch.randn(4, 3)),
        lambda: (torch.randn(3, 1, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)),
    ],
    ids=["transposed", "strided", "empty", "scalar", "expanded", "broadcast"],
)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_unusual_inputs_give_eagers_bits(make: Any, dynamic: bool) -> None:
    x, y = make()
    with torch.no_grad():
        got, expected = compile_fn(combine, dynamic)(x, y), combine(x, y)
    assert torch.equal(got, expected)
    assert got.stride() == expected.stride()


def test_same_tensor_twice_and_overlapping_views() -> None:
    base = torch.randn(10)
    compiled = compile_fn(combine)
    with torch.no_grad():
        assert torch.equal(compiled(base, base), combine(base, base))
        assert torch.equal(compiled(base[:8], base[2:]), combine(base[:8], base[2:]))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_mutated_inputs_are_written_like_in_eager(dynamic: bool) -> None:
    def step(cache: Tensor, x: Tensor) -> Tensor:
        before = cache[0] * 1
        cache.add_(x)
        cache.mul_(2)
        return before + cache.sum(0)

    mine, theirs = torch.ones(3, 4), torch.ones(3, 4)
    x = torch.randn(3, 4)
    compiled = compile_fn(step, dynamic)
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(compiled(mine, x), step(theirs, x))
            assert torch.equal(mine, theirs)


def test_swapping_two_inputs() -> None:
    def swap(a: Tensor, b: Tensor) -> None:
        old = a.clone()
        a.copy_(b)
        b.copy_(old)

    a, b = torch.arange(4.0), torch.arange(4.0) + 10
    with torch.no_grad():
        compile_fn(swap)(a, b)
    assert a.tolist() == [10, 11, 12, 13]
    assert b.tolist() == [0, 1, 2, 3]


def test_mutation_through_a_view_of_an_input() -> None:
    def write_row(cache: Tensor, row: Tensor) -> Tensor:
        cache[1].copy_(row)
        return cache * 2

    mine, theirs, row = torch.zeros(3, 4), torch.zeros(3, 4), torch.randn(4)
    with torch.no_grad():
        assert torch.equal(compile_fn(write_row)(mine, row), write_row(theirs, row))
    assert torch.equal(mine, theirs)


def test_outputs_that_are_inputs_views_and_sizes() -> None:
    def f(x: Tensor) -> tuple[Any, ...]:
        return x, x.t(), x.shape[0], x[0] + 1, None

    x = torch.randn(3, 5)
    compiled = compile_fn(f, dynamic=True)
    with torch.no_grad():
        same, transposed, size, row, nothing = compiled(x)
        assert same is x
        assert transposed.data_ptr() == x.data_ptr() and torch.equal(transposed, x.t())
        assert (size, nothing) == (3, None)
        assert torch.equal(row, x[0] + 1)
        assert compiled(torch.randn(7, 5))[2] == 7


def test_outputs_own_their_storage() -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x + 1
        return y, y.view(-1)

    compiled = compile_fn(f)
    with torch.no_grad():
        y, flat = compiled(torch.zeros(2, 2))
        again, _ = compiled(torch.zeros(2, 2))
    y.fill_(7)
    assert again.tolist() == [[1, 1], [1, 1]]
    assert flat.shape == (4,)


def test_kernel_errors_name_node_operator_and_line() -> None:
    def index(table: Tensor, ids: Tensor) -> Tensor:
        return torch.nn.functional.embedding(ids, table)  # the line that is named

    compiled = compile_fn(index)
    with torch.no_grad():
        compiled(torch.randn(4, 2), torch.tensor([0, 3]))
        with pytest.raises(EngineError) as caught:
            compiled(torch.randn(4, 2), torch.tensor([0, 4]))
        compiled(torch.randn(4, 2), torch.tensor([1, 2]))
    error = caught.value
    assert error.op is not None and "aten.embedding" in error.op
    assert error.loc is not None and error.loc.startswith(__file__)
    assert str(error).splitlines()[-1].startswith("Try: ")


def test_programs_are_bounded_and_reused() -> None:
    compiled = compile_fn(combine, dynamic=True, host__max_programs=3)
    executables: list[Any] = []
    original = HostEngine.compile

    def keep(self: HostEngine, *args: Any) -> Any:
        executables.append(original(self, *args))
        return executables[-1]

    HostEngine.compile = keep  # type: ignore[method-assign]
    try:
        with torch.no_grad():
            for length in (2, 3, 4, 5, 6, 2, 3):
                x = torch.randn(length, 7)
                assert torch.equal(compiled(x, x), combine(x, x))
    finally:
        HostEngine.compile = original  # type: ignore[method-assign]
    assert len(executables) == 1
    assert executables[0].specialisations == 3


def test_threads_share_a_compiled_graph() -> None:
    compiled = compile_fn(combine, dynamic=True)
    failures: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(20):
            x = torch.randn(1 + seed, 8, generator=generator)
            with torch.no_grad():
                if not torch.equal(compiled(x, x), combine(x, x)):
                    failures.append(seed)

    with torch.no_grad():
        compiled(torch.randn(3, 8), torch.randn(3, 8))
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_intermediates_are_freed_by_liveness() -> None:
    def chain(x: Tensor) -> Tensor:
        for _ in range(50):
            x = x + 1.0
        return x

    compiled = compile_fn(chain)
    x = torch.zeros(1 << 18)
    with torch.no_grad():
        assert torch.equal(compiled(x), x + 50.0)
        gc.collect()
        assert torch.equal(compiled(x), x + 50.0)


def test_shapes_that_depend_on_data_are_interpreted() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.nonzero(x).sum()

    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True), torch.no_grad():
        compiled = torch.compile(f, backend=torchair.get_npu_backend(), fullgraph=True)
        for x in (torch.tensor([1.0, 0, 2]), torch.tensor([0.0, 0, 2])):
            assert torch.equal(compiled(x), f(x))


def test_grad_mode_does_not_leak_into_outputs() -> None:
    weight = torch.randn(4, 4, requires_grad=True)
    compiled = compile_fn(lambda x: x @ weight)
    with torch.no_grad():
        assert not compiled(torch.randn(2, 4)).requires_grad


def test_scalar_inputs_and_python_numbers() -> None:
    def f(x: Tensor, n: int, scale: float) -> Tensor:
        return x[:n] * scale

    compiled = compile_fn(f, dynamic=True)
    x = torch.randn(10)
    with torch.no_grad():
        for n, scale in ((3, 0.5), (4, 2.5), (9, -1.0)):
            assert torch.equal(compiled(x, n, scale), f(x, n, scale))


def test_unknown_engine_and_missing_cann() -> None:
    with pytest.raises(ConfigError, match="auto, host or cann"):
        get_engine("tpu")
    with pytest.raises(EngineError) as caught:
        get_engine("cann")
    assert "libascendcl.so" in str(caught.value) and "looked in" in str(caught.value)


def test_graph_without_kernel_is_refused_with_its_names() -> None:
    module = parse_module(
        make_context(),
        "func.func @g(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %0 = ge.Acos(%x) : (tensor<2xf32>) -> tensor<2xf32>\n"
        "  %1 = ge.LRN(%0) : (tensor<2xf32>) -> tensor<2xf32>\n"
        "  ge.NetOutput([%1]) : (tensor<2xf32>) -> ()\n}",
    )
    with pytest.raises(EngineError, match=r"ge\.LRN"):
        HostEngine().compile(serialize(emit(module)))


def test_wrong_number_of_inputs() -> None:
    module = parse_module(
        make_context(),
        "func.func @g(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %0 = ge.Neg(%x) : (tensor<2xf32>) -> tensor<2xf32>\n"
        "  ge.NetOutput([%0]) : (tensor<2xf32>) -> ()\n}",
    )
    executable = HostEngine().compile(serialize(emit(module)))
    assert executable.run([torch.ones(2)])[0].tolist() == [-1, -1]
    with pytest.raises(EngineError, match="wrong number"):
        executable.run([])


def test_equal_copies_that_are_written_stay_apart() -> None:
    def f(x: Tensor, i: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return x.index_add(0, i, a), x.index_add(0, i, b)

    x, i = torch.zeros(4, 2), torch.tensor([1, 1])
    a, b = torch.ones(2, 2), torch.full((2, 2), 5.0)
    with torch.no_grad():
        for got, expected in zip(compile_fn(f)(x, i, a, b), f(x, i, a, b), strict=True):
            assert torch.equal(got, expected)


def test_dropout_draws_what_eager_draws() -> None:
    def f(x: Tensor) -> Tensor:
        first = torch.nn.functional.dropout(x, 0.5)
        return first + torch.nn.functional.dropout(x, 0.5)

    compiled, x = compile_fn(f), torch.randn(32, 8)
    for seed in range(3):
        torch.manual_seed(seed)
        got = compiled(x)
        torch.manual_seed(seed)
        assert torch.equal(got, f(x))
