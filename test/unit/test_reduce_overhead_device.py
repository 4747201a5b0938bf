"""Captures on a stream of the host device: fixed addresses, as on an NPU."""

from __future__ import annotations

import copy
import gc
import threading
from typing import Any

import psutil
import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor, nn
from torch._dynamo.utils import counters

import torchair
from torchair.errors import EngineError
from torchair.scope import npu_stream_switch


def compile_on_device(function: Any, *, dynamic: bool = False, **options: Any) -> tuple[Any, Any]:
    return compile_for_replay(function, dynamic=dynamic, **{"host.replay": "device"}, **options)


class Cache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("keys", torch.zeros(32, 8))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        self.keys.index_copy_(0, position, self.linear(x))
        return torch.softmax(x @ self.keys.t(), -1) @ self.keys


@torch.no_grad()
def test_a_cache_over_many_steps() -> None:
    model = Cache()
    reference = copy.deepcopy(model)
    compiled, backend = compile_on_device(model)
    for step in range(32):
        x, position = torch.randn(1, 8), torch.tensor([step])
        assert same_bits(compiled(x, position), reference(x, position)), step
    assert same_bits(model.keys, reference.keys)
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_what_moved_is_captured_again_and_counted() -> None:
    counters.pop("npugraph_ex", None)
    model = Cache()
    compiled, backend = compile_on_device(model)
    x, position = torch.randn(1, 8), torch.tensor([3])
    for change in ("nothing", "keys", "linear.weight"):
        if change != "nothing":
            owner, _, name = change.rpartition(".")
            tensor = getattr(model.get_submodule(owner), name)
            tensor.data = tensor.clone() * 2
        reference = copy.deepcopy(model)
        assert same_bits(compiled(x, position), reference(x, position)), change
        assert same_bits(model.keys, reference.keys)
    assert captured(backend).counts.recaptures == 2
    name = backend.reports[0].name
    assert counters["npugraph_ex"] == {
        f"captured_{name}": 3,
        f"recapture_due_to_mutated_input_change_{name}": 1,
        f"recapture_due_to_parameter_or_input_change_{name}": 1,
    }
    assert "captured again: self.keys moved" in str(captured(backend))


@torch.no_grad()
def test_without_validation_the_old_address_is_used() -> None:
    model = nn.Linear(4, 4)
    compiled, _ = compile_on_device(model, unsafe_skip_npugraph_capture_validation=True)
    x = torch.randn(2, 4)
    first = compiled(x)
    model.weight.data = torch.zeros(4, 4)
    assert same_bits(compiled(x), first)


@torch.no_grad()
def test_inputs_that_are_not_staged_must_stay_where_they_are() -> None:
    compiled, backend = compile_on_device(lambda x: x * 2, clone_input=False)
    inputs = [torch.randn(4), torch.randn(4)]
    for x in (inputs[0], inputs[0], inputs[1], inputs[1]):
        assert same_bits(compiled(x), x * 2)
    assert captured(backend).counts.recaptures == 1


@torch.no_grad()
def test_shapes_numbers_and_earlier_outputs() -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return (x @ x.t()).relu() * n

    compiled, backend = compile_on_device(f, dynamic=True)
    kept = []
    for rows, n in ((4, 2), (5, 3), (4, 7), (5, 2), (6, 2), (4, 9)):
        x = torch.randn(rows, 3)
        kept.append((compiled(x, n), f(x, n)))
    assert all(same_bits(mine, theirs) for mine, theirs in kept)
    assert captured(backend).counts.captures == 3


@torch.no_grad()
def test_captures_of_a_pool_share_the_memory_of_intermediates() -> None:
    def f(x: Tensor) -> Tensor:
        return ((x + 1) * 2 - x).sum(-1)

    reserved = []
    for share in (True, False):
        compiled, backend = compile_on_device(f, dynamic=True, reuse_graph_pool_in_same_fx=share)
        pools = []
        for rows in (640, 512, 384):
            x = torch.randn(rows, 16)
            for _ in range(2):
                assert same_bits(compiled(x), f(x))
            pools.append(captured(backend).pool)
        reserved.append(sum(pool.bytes_reserved for pool in set(pools)))
    assert reserved[0] < 0.6 * reserved[1]


@torch.no_grad()
def test_streams_join() -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        with npu_stream_switch("side"):
            y = torch.tanh(x @ w) @ w
        return torch.relu(x @ w) + y

    compiled, backend = compile_on_device(f)
    w = torch.randn(64, 64) / 8
    for _ in range(10):
        x = torch.randn(64, 64)
        assert same_bits(compiled(x, w), f(x, w))
    assert set(captured(backend).captures[0].streams) == {0, 1}


@torch.no_grad()
def test_failures_name_the_line_and_pass() -> None:
    compiled, _ = compile_on_device(lambda table, index: table.index_select(0, index) + 1)
    table = torch.randn(4, 2)
    assert same_bits(compiled(table, torch.tensor([1])), table[1:2] + 1)
    with pytest.raises(EngineError, match=r"index_select failed[\s\S]*test_reduce_overhead_device"):
        compiled(table, torch.tensor([9]))
    assert same_bits(compiled(table, torch.tensor([2])), table[2:3] + 1)


def test_training_and_resets() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    reference = copy.deepcopy(model)
    compiled, backend = compile_on_device(model)
    for step in range(4):
        x = torch.randn(4, 8)
        for call, m in ((compiled, model), (reference, reference)):
            m.zero_grad()
            call(x).square().sum().backward()
        for p, q in zip(model.parameters(), reference.parameters(), strict=True):
            assert p.grad is not None and q.grad is not None and same_bits(p.grad, q.grad), step
        if step == 1:
            torchair.reset()
    assert [report.captured.counts.captures for report in backend.reports] == [2, 2]


@torch.no_grad()
def test_replays_leak_nothing() -> None:
    model = Cache()
    compiled, _ = compile_on_device(model, check_replay=False)
    x, position = torch.randn(1, 8), torch.tensor([0])
    process = psutil.Process()
    for _ in range(500):
        compiled(x, position)
    gc.collect()
    start = process.memory_info().rss
    for _ in range(3000):
        compiled(x, position)
    gc.collect()
    assert process.memory_info().rss - start < 2 << 20


@pytest.mark.parametrize("replay", ["inline", "device"])
def test_captures_are_dropped_while_threads_replay_them(replay: str) -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return torch.tanh(x) * n

    compiled, _ = compile_for_replay(f, dynamic=True, **{"host.replay": replay})
    with torch.no_grad():
        compiled(torch.randn(4), 3)
    wrong: list[Any] = []
    finished: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for step in range(60):
            x = torch.randn(4 + seed, generator=generator)
            with torch.no_grad():
                if not same_bits(compiled(x, 2 + step % 3), f(x, 2 + step % 3)):
                    wrong.append((seed, step))
        finished.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        torchair.reset()
        threads[0].join(0.002)
    assert not wrong and len(finished) == len(threads)


@pytest.mark.parametrize("replay", ["inline", "device"])
def test_graphs_of_one_pool_called_from_threads(replay: str) -> None:
    def make(offset: int) -> Any:
        return lambda x, n: torch.tanh(x * n + offset) @ x.t()

    functions = [make(offset) for offset in range(2)]
    torch._dynamo.reset()
    options = {"use_graph_pool": (0, 5), "host.replay": replay}
    backend = torchair.npugraph_ex.get_npu_backend()
    compiled = [
        torch.compile(function, backend=backend, dynamic=True, options=options, fullgraph=True)
        for function in functions
    ]
    with torch.no_grad():
        for call in compiled:
            call(torch.randn(4, 5), 3)
    wrong: list[Any] = []
    finished: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for step in range(30):
            which, rows, n = step % 2, 4 + (step + seed) % 3, 2 + step % 4
            x = torch.randn(rows, 5, generator=generator)
            with torch.no_grad():
                if not same_bits(compiled[which](x, n), functions[which](x, n)):
                    wrong.append((seed, step))
        finished.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(finished) == len(threads)
    torchair.reset()
