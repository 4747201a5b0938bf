"""Mode reduce-overhead: a replay never uses what the capture saw instead of what the call gives."""

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

import torchair
from torchair.errors import EngineError


class Block(nn.Module):
    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.register_buffer("scale", torch.full((size,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x)) * self.scale


def block() -> tuple[Block, Any, Any]:
    torch.manual_seed(0)
    model = Block()
    compiled, backend = compile_for_replay(model)
    return model, compiled, backend


@torch.no_grad()
def test_one_capture_serves_other_tensors_of_the_same_geometry() -> None:
    model, compiled, backend = block()
    for _ in range(5):
        x = torch.randn(3, 8)
        assert same_bits(compiled(x), model(x))
    counts = captured(backend).counts
    assert (counts.captures, counts.replays, counts.eager) == (1, 5, 0)


@torch.no_grad()
def test_addresses_of_inputs_may_change_and_views_are_inputs() -> None:
    model, compiled, backend = block()
    base = torch.randn(12, 8)
    for start in (0, 3, 1, 9):
        assert same_bits(compiled(base[start : start + 3]), model(base[start : start + 3]))
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_other_shapes_strides_and_dtypes_are_captured_apart() -> None:
    def f(x: Tensor) -> Tensor:
        return (x * 2 + 1).sum(-1)

    compiled, backend = compile_for_replay(f, dynamic=True)
    inputs = [
        torch.randn(4, 6),
        torch.randn(5, 6),
        torch.randn(6, 4).t(),
        torch.randn(4, 12)[:, ::2],
    ]
    inputs += [torch.randn(4, 6).double(), torch.randn(4, 6).bfloat16(), torch.ones(6).expand(4, 6)]
    for x in inputs + inputs[::-1]:
        assert same_bits(compiled(x), f(x))
    assert sum(report.captured.counts.captures for report in backend.reports) == len(inputs)


@torch.no_grad()
def test_parameters_changed_in_place() -> None:
    model, compiled, backend = block()
    x = torch.randn(3, 8)
    for _ in range(3):
        assert same_bits(compiled(x), model(x))
        model.linear.weight.add_(1)
        model.scale.mul_(3)
    model.load_state_dict(Block().state_dict())
    assert same_bits(compiled(x), model(x))
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_parameters_replaced() -> None:
    model, compiled, _ = block()
    x = torch.randn(3, 8)
    compiled(x)
    model.linear.weight.data = torch.randn(8, 8)
    assert same_bits(compiled(x), model(x))
    model.linear.weight.data = torch.randn(8, 8).t()  # other strides, the same shape
    assert same_bits(compiled(x), model(x))
    model.linear.weight.data = model.linear.weight.data.t()  # the same address, other strides
    assert same_bits(compiled(x), model(x))
    model.linear.weight = nn.Parameter(torch.randn(8, 8))
    assert same_bits(compiled(x), model(x))
    model.load_state_dict(Block().state_dict(), assign=True)
    assert same_bits(compiled(x), model(x))
    model.to(torch.float64)
    assert same_bits(compiled(x.double()), model(x.double()))


@pytest.mark.parametrize("frozen", [False, True])
def test_optimizer_steps(frozen: bool) -> None:
    torch.manual_seed(0)
    model = Block()
    compiled, backend = compile_for_replay(model, frozen_parameter=frozen)
    reference = copy.deepcopy(model)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (model, reference)]
    for step in range(4):
        x = torch.randn(3, 8, generator=torch.Generator().manual_seed(step))
        for call, optimizer in zip((compiled, reference), optimizers, strict=True):
            optimizer.zero_grad()
            call(x).square().sum().backward()
            optimizer.step()
        for (name, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
            assert same_bits(p, q), name
            assert p.grad is not None and q.grad is not None and same_bits(p.grad, q.grad), name
    assert [report.captured.counts.captures for report in backend.reports] == [1, 1]


def test_activations_of_two_calls_live_at_once() -> None:
    """The backward of the first call comes after the second call."""
    model, compiled, _ = block()
    reference = copy.deepcopy(model)
    inputs = [torch.randn(3, 8), torch.randn(3, 8)]
    for call in (compiled, reference):
        outputs = [call(x) for x in inputs]
        for output in outputs:
            output.square().sum().backward()
    for (name, p), q in zip(model.named_parameters(), reference.named_parameters(), strict=True):
        assert p.grad is not None and q[1].grad is not None and same_bits(p.grad, q[1].grad), name


@torch.no_grad()
def test_outputs_of_earlier_calls_are_not_overwritten() -> None:
    model, compiled, _ = block()
    inputs = [torch.randn(3, 8) for _ in range(4)]
    outputs = [compiled(x) for x in inputs]
    for x, output in zip(inputs, outputs, strict=True):
        assert same_bits(output, model(x))


@torch.no_grad()
def test_host_scalars() -> None:
    def f(x: Tensor, n: int, scale: float) -> Tensor:
        return x[:n] * scale + n

    compiled, _ = compile_for_replay(f, dynamic=True)
    x = torch.randn(8, 4)
    for n, scale in ((3, 0.5), (4, 0.5), (4, 2.5), (3, 0.5), (7, -1.0)):
        assert same_bits(compiled(x, n, scale), f(x, n, scale))


@torch.no_grad()
def test_mutated_inputs_aliases_and_views() -> None:
    def f(state: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        before = state.clone()
        state[1:3].add_(x)
        return before, state.view(-1), x

    compiled, _ = compile_for_replay(f)
    states = [torch.arange(20.0).view(5, 4) for _ in range(2)]
    for _ in range(3):
        x = torch.randn(2, 4)
        got, expected = compiled(states[0], x), f(states[1], x)
        assert all(same_bits(a, b) for a, b in zip(got, expected, strict=True))
        assert same_bits(*states)
        assert got[1].data_ptr() == states[0].data_ptr()
        assert got[2] is x
        states = [s.clone() for s in states]  # the written input moves


@torch.no_grad()
def test_inputs_that_share_memory() -> None:
    def f(a: Tensor, b: Tensor) -> Tensor:
        a.mul_(2)
        return a + b

    compiled, _ = compile_for_replay(f)
    bases = [torch.arange(6.0), torch.arange(6.0)]
    calls = (compiled, f)
    for _ in range(2):
        got = [call(base[:4], base[2:]) for call, base in zip(calls, bases, strict=True)]
        assert same_bits(*got) and same_bits(*bases)


@torch.no_grad()
def test_inputs_are_swapped() -> None:
    def f(a: Tensor, b: Tensor) -> None:
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)

    compiled, _ = compile_for_replay(f)
    a, b = torch.zeros(3), torch.ones(3)
    for _ in range(3):
        expected = b.clone(), a.clone()
        compiled(a, b)
        assert same_bits(a, expected[0]) and same_bits(b, expected[1])


def test_random_numbers_continue_the_generator() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.dropout(x, 0.5, True) + torch.rand(4) + torch.randn_like(x)

    compiled, _ = compile_for_replay(f)
    x = torch.ones(4)
    drawn = []
    for call in (f, compiled):
        torch.manual_seed(3)
        drawn.append([call(x) for _ in range(4)])
        drawn[-1].append(torch.rand(2))
    assert all(same_bits(a, b) for a, b in zip(*drawn, strict=True))


class Cache(nn.Module):
    """Attention over a cache that is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.register_buffer("keys", torch.zeros(1, 128, 16))
        self.register_buffer("values", torch.zeros(1, 128, 16))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        self.keys.index_copy_(1, position, k)
        self.values[:, position] = v
        mask = torch.arange(128) <= position
        return nn.functional.scaled_dot_product_attention(q, self.keys, self.values, mask[None])


@torch.no_grad()
def test_a_cache_updated_over_100_steps() -> None:
    torch.manual_seed(0)
    model = Cache()
    reference = copy.deepcopy(model)
    compiled, backend = compile_for_replay(model)
    x = y = torch.randn(1, 1, 16)
    for step in range(100):
        position = torch.tensor([step])
        x, y = compiled(x, position), reference(y, position)
        assert same_bits(x, y), step
    assert same_bits(model.keys, reference.keys) and same_bits(model.values, reference.values)
    assert captured(backend).counts.captures == 1
    operators = captured(backend).captures[0].operators
    assert "aten::index_copy_" in operators and "aten::index_put_" in operators
    assert "aten::copy_" not in operators


@torch.no_grad()
def test_a_cache_that_moves() -> None:
    model = Cache()
    compiled, _ = compile_for_replay(model)
    x = torch.randn(1, 1, 16)
    for step in range(6):
        reference = copy.deepcopy(model)
        if step % 2:
            model.keys = model.keys.clone()
            model.values.data = model.values.clone()
        position = torch.tensor([step])
        assert same_bits(compiled(x, position), reference(x, position))
        assert same_bits(model.keys, reference.keys)


@torch.no_grad()
def test_failure_names_the_line_and_leaves_the_graph_usable() -> None:
    def f(table: Tensor, index: Tensor) -> Tensor:
        return table.index_select(0, index)

    compiled, _ = compile_for_replay(f)
    table = torch.randn(4, 2)
    for index in (torch.tensor([1]), torch.tensor([9]), torch.tensor([3])):
        if index.item() < 4:
            assert same_bits(compiled(table, index), f(table, index))
            continue
        with pytest.raises(EngineError, match=r"index_select failed[\s\S]*test_reduce_overhead.py"):
            compiled(table, index)


@torch.no_grad()
def test_threads_share_a_graph() -> None:
    model, compiled, backend = block()
    compiled(torch.randn(3, 8))
    wrong: list[str] = []
    finished: list[int] = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(50):
            x = torch.randn(3, 8, generator=generator)
            with torch.no_grad():
                if not same_bits(compiled(x), model(x)):
                    wrong.append(f"thread {seed}")
        finished.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(finished) == len(threads)
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_a_graph_that_calls_itself() -> None:
    library = torch.library.Library("replay_nested", "DEF")
    library.define("halve(Tensor x, int depth) -> Tensor")
    calls: list[Any] = []

    def halve(x: Tensor, depth: int) -> Tensor:
        return x / 2 if depth == 0 else calls[0](x + 1)

    library.impl("halve", halve, "CompositeExplicitAutograd")
    torch.library.register_fake("replay_nested::halve", lambda x, depth: torch.empty_like(x))

    def inner(x: Tensor) -> Tensor:
        return torch.ops.replay_nested.halve(x, 0) + x

    compiled, _ = compile_for_replay(inner, check_replay=False)
    calls.append(compiled)

    def outer(x: Tensor) -> Tensor:
        return torch.ops.replay_nested.halve(x, 1) * x

    x = torch.randn(4)
    inner(x)
    twice, _ = compile_for_replay(outer, check_replay=False)
    assert torch.equal(twice(x), ((x + 1) / 2 + (x + 1)) * x)


@torch.no_grad()
def test_10000_calls_leak_nothing() -> None:
    _, compiled, _ = block()
    x = torch.randn(3, 8)
    process = psutil.Process()
    for _ in range(2000):
        compiled(x)
    gc.collect()
    start = process.memory_info().rss
    for _ in range(10000):
        compiled(x)
    gc.collect()
    assert process.memory_info().rss - start < 2 << 20


@torch.no_grad()
def test_reset_captures_again() -> None:
    model, compiled, backend = block()
    x = torch.randn(3, 8)
    compiled(x)
    torchair.reset()
    assert captured(backend).captures == []
    assert same_bits(compiled(x), model(x))
    assert captured(backend).counts.captures == 2


def test_a_dropped_model_releases_its_captures() -> None:
    model, compiled, backend = block()
    with torch.no_grad():
        compiled(torch.randn(3, 8))
    assert captured(backend) is not None
    del compiled, model
    torch._dynamo.reset()
    gc.collect()
    assert captured(backend) is None
