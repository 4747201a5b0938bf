"""Writes to inputs: in place where that is proved, and always the state and results of eager."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import torchair
from torchair.backend_ge.graph_text import read_graph_file

MODES = ("max-autotune", "reduce-overhead")


@torch.library.custom_op("reinplace_test::put_rows_", mutates_args={"x"})
def put_rows_(x: Tensor, rows: Tensor, values: Tensor) -> None:
    x.index_copy_(0, rows, values)


@put_rows_.register_fake
def _(x: Tensor, rows: Tensor, values: Tensor) -> None:
    return None


@torchair.register_fx_node_ge_converter(torch.ops.reinplace_test.put_rows_.default)
def convert_put_rows(x: Any, rows: Any, values: Any, meta_outputs: Any = None) -> Any:
    torchair.ge.custom_op(
        "ScatterUpdate",
        inputs={"var": x, "indices": rows, "updates": values},
        outputs=["var"],
    )


def run(function: Callable[..., Any], args: tuple[Any, ...], mode: str, **options: Any) -> Any:
    """The compiled function's result; arguments are written."""
    torch._dynamo.reset()
    config = torchair.CompilerConfig()
    config.mode = mode
    config.debug.ir_dump.path = options.pop("folder", None)
    backend = torchair.get_npu_backend(compiler_config=config)
    with torch.no_grad():
        return torch.compile(function, backend=backend, fullgraph=True, **options)(*args)


def check(function: Callable[..., Any], args: tuple[Any, ...], mode: str, **options: Any) -> None:
    """Check results and the written arguments against eager."""
    expected_args = [a.clone() for a in args]
    found_args = [a.clone() for a in args]
    expected = function(*expected_args)
    found = run(function, tuple(found_args), mode, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(found_args, expected_args, rtol=0, atol=0)


def cache_by_index_put(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    cache.index_put_((rows,), values)
    return cache.sum(0)


def cache_by_slice(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    cache[1:3] = values
    return cache.sum(0)


def cache_by_index_copy(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    cache.index_copy_(0, rows, values)
    return cache.sum(0)


def cache_by_npu_operator(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    torch.ops.npu.npu_scatter_nd_update_(cache, rows[:, None], values)
    return cache.sum(0)


def cache_by_custom_operator(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    torch.ops.reinplace_test.put_rows_(cache, rows, values)
    return cache.sum(0)


UPDATES = (
    cache_by_index_put,
    cache_by_slice,
    cache_by_index_copy,
    cache_by_npu_operator,
    cache_by_custom_operator,
)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("update", UPDATES)
def test_cache_updates(update: Any, mode: str, dynamic: bool) -> None:
    args = (torch.randn(6, 4), torch.tensor([4, 2]), torch.randn(2, 4))
    check(update, args, mode, dynamic=dynamic)


@pytest.mark.parametrize("update", UPDATES)
def test_no_copy_is_left(update: Any, tmp_path: Any) -> None:
    args = (torch.randn(6, 4), torch.tensor([4, 2]), torch.randn(2, 4))
    run(update, args, "max-autotune", folder=str(tmp_path))
    [path] = tmp_path.rglob("*graph.pbtxt")
    types = [node.type for node in read_graph_file(path).graph[0].op]
    assert "TensorMove" not in types and "Assign" not in types


def test_copies_that_stay_are_reported() -> None:
    def keep(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
        before = cache * 2
        cache.index_put_((rows,), values)
        return before + cache.sum()

    def old_is_read(cache: Tensor, rows: Tensor, values: Tensor) -> Tensor:
        new = torch.index_put(cache, (rows,), values)
        old = cache.relu()
        cache.copy_(new.sigmoid())
        return old

    texts: list[str] = []
    for function in (keep, old_is_read):
        torch._dynamo.reset()
        backend = torchair.get_npu_backend()
        args = (torch.randn(6, 4), torch.tensor([4, 2]), torch.randn(2, 4))
        torch.compile(function, backend=backend, fullgraph=True)(*args)
        texts.append(str(backend.reports[0]))
    assert "written by a copy" not in texts[0]
    assert "is written by a copy: " in texts[1] and "sigmoid" in texts[1]
    assert "test_reinplace.py:" in texts[1]


def step(cache: Tensor, choice: int, rows: Tensor, values: Tensor) -> Tensor:
    """One of several updates or reads of a cache."""
    if choice == 0:
        return cache.index_put_((rows,), values)
    if choice == 1:
        cache[2:4] = values
    elif choice == 2:
        torch.ops.npu.npu_scatter_nd_update_(cache, rows[:, None], values)
    elif choice == 3:
        cache.view(-1)[1:5].mul_(2)
    elif choice == 4:
        torch.ops.reinplace_test.put_rows_(cache[1:], rows, values)
    elif choice == 5:
        cache.add_(cache.flip(0))
    return cache * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(8))
def test_random_sequences(seed: int, mode: str) -> None:
    random.seed(seed)
    steps = [(random.randrange(2), random.randrange(7)) for _ in range(5)]

    def program(a: Tensor, b: Tensor, rows: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        results = [step((a, b)[which], choice, rows, values).sum(0) for which, choice in steps]
        return (*results, a + b)

    torch.manual_seed(seed)
    args = (torch.randn(6, 4), torch.randn(6, 4), torch.tensor([3, 1]), torch.randn(2, 4))
    check(program, args, mode)
