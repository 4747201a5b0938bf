"""Every option of the capture modes, by its effect."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor, nn
from torch._dynamo.utils import counters

import torchair
from torchair.backend_ge.cann import libraries
from torchair.config import NpuGraphExConfig
from torchair.errors import EngineError


@pytest.fixture(scope="module")
def addresses() -> Iterator[list[int]]:
    """Addresses that ``replay_options::look`` was called with, newest last."""
    library = torch.library.Library("replay_options", "DEF")
    library.define("look(Tensor x) -> Tensor")
    seen: list[int] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x.data_ptr())
        return x + 1

    library.impl("look", look, "CPU")
    torch.library.register_fake("replay_options::look", torch.empty_like)
    yield seen
    library._destroy()


def look_twice(x: Tensor) -> Tensor:
    return torch.ops.replay_options.look(x) * 2


@torch.no_grad()
def test_clone_input(addresses: list[int]) -> None:
    compiled, backend = compile_for_replay(look_twice)
    inputs = [torch.randn(4) for _ in range(4)]
    for x in inputs:
        assert same_bits(compiled(x), x.add(1).mul(2))
    assert len(set(addresses[-4:])) == 1 and addresses[-1] not in [x.data_ptr() for x in inputs]
    assert captured(backend).captures[0].staged == ["x"]

    compiled, backend = compile_for_replay(look_twice, clone_input=False)
    for x in inputs:
        assert same_bits(compiled(x), x.add(1).mul(2))
    assert addresses[-4:] == [x.data_ptr() for x in inputs]
    assert captured(backend).captures[0].staged == []


@torch.no_grad()
def test_clone_output(addresses: list[int]) -> None:
    def two_views(x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.ops.replay_options.look(x)
        return y, y.view(2, 2)

    shared = []
    for clone in (False, True):
        config = torchair.CompilerConfig()
        config.mode = "reduce-overhead"
        config.debug.aclgraph.enable_output_clone = clone
        compiler = torchair.get_compiler(config)
        graph = torch.fx.experimental.proxy_tensor.make_fx(two_views, tracing_mode="fake")
        a, b = compiler(graph(torch.ones(4)), None)(torch.ones(4))
        assert torch.equal(a, torch.full((4,), 2.0)) and torch.equal(b, a.view(2, 2))
        shared.append(a.data_ptr() == b.data_ptr())
    assert shared == [True, False]


@torch.no_grad()
def test_capture_limit_runs_eagerly_and_says_what_changed() -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return x[:n] * 2

    compiled, backend = compile_for_replay(f, dynamic=True, capture_limit=2)
    compiled(torch.randn(8, 4), 3)
    compiled(torch.randn(8, 5), 3)
    with pytest.warns(UserWarning) as caught:
        x = torch.randn(8, 6)
        assert same_bits(compiled(x, 3), f(x, 3))
    text = str(caught[0].message)
    assert "the limit of 2 captures is reached" in text
    assert "input 'x': shape [8, 4] -> [8, 6]" in text
    assert "Try: pad inputs" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        for shape, n in (((8, 7), 3), ((8, 4), 2)):
            x = torch.randn(shape)
            assert same_bits(compiled(x, n), f(x, n))
        compiled(torch.randn(8, 4), 3)
    graph = captured(backend)
    assert (graph.counts.captures, graph.counts.eager, graph.counts.replays) == (2, 3, 3)
    assert "eager: size 'n': 3 -> 2" in str(graph)


@torch.no_grad()
def test_eager_calls_write_their_inputs_too() -> None:
    def f(state: Tensor, x: Tensor) -> Tensor:
        state.add_(x.sum(0))
        return state * 2

    compiled, _ = compile_for_replay(f, dynamic=True, capture_limit=1)
    states = [torch.zeros(4), torch.zeros(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for rows in (2, 3, 2, 4):
            x = torch.randn(rows, 4)
            assert same_bits(compiled(states[0], x), f(states[1], x))
            assert same_bits(*states)


@torch.no_grad()
def test_force_recapture_and_its_counters() -> None:
    counters.pop("npugraph_ex", None)
    compiled, backend = compile_for_replay(lambda x: x + 1, force_recapture=True)
    for _ in range(3):
        compiled(torch.ones(2))
    graph = captured(backend)
    assert (graph.counts.captures, graph.counts.recaptures, len(graph.captures)) == (3, 2, 1)
    name = backend.reports[0].name
    assert counters["npugraph_ex"] == {
        f"captured_{name}": 3,
        f"recapture_due_to_force_recapture_{name}": 2,
    }


@torch.no_grad()
def test_skipping_the_validation_wins_over_force_recapture() -> None:
    compiled, backend = compile_for_replay(
        lambda x: x + 1, force_recapture=True, unsafe_skip_npugraph_capture_validation=True
    )
    for _ in range(3):
        compiled(torch.ones(2))
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_force_eager_never_captures() -> None:
    def f(x: Tensor) -> Tensor:
        return x[: torch.nonzero(x).shape[0]] * 2  # could not be captured

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled, backend = compile_for_replay(f, force_eager=True)
        x = torch.tensor([0.0, 1.0, 2.0])
        assert same_bits(compiled(x), f(x))
    graph = captured(backend)
    assert (graph.counts.captures, graph.counts.eager) == (0, 1)


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return self.linear(x) + self.count


@torch.no_grad()
def test_frozen_parameter_binds_parameters_and_is_verified() -> None:
    model = Linear()
    compiled, _ = compile_for_replay(model, frozen_parameter=True)
    x = torch.randn(2, 4)
    for step in range(3):
        assert same_bits(compiled(x), model.linear(x) + model.count)
        assert model.count.item() == step + 1  # a buffer that is written is not frozen
        model.linear.weight.mul_(0.5)  # in place is seen
    weight = model.linear.weight
    weight.data = weight.clone()
    with pytest.raises(EngineError, match=r"'self.linear.weight' has moved[\s\S]*torchair.reset"):
        compiled(x)
    torchair.reset()
    assert same_bits(compiled(x), model.linear(x) + model.count)


@torch.no_grad()
def test_a_moved_frozen_parameter_is_not_seen_without_the_check() -> None:
    model = Linear()
    compiled, _ = compile_for_replay(model, frozen_parameter=True, check_replay=False)
    x = torch.randn(2, 4)
    first = compiled(x) - model.count
    model.linear.weight.data = torch.zeros(4, 4)
    assert torch.allclose(compiled(x) - model.count, first)


@torch.no_grad()
def test_captures_of_one_graph_share_memory_unless_told_otherwise() -> None:
    reserved = []
    for share in (True, False):
        compiled, backend = compile_for_replay(
            lambda x: x + 1, dynamic=True, reuse_graph_pool_in_same_fx=share
        )
        for rows in (64, 48, 32):
            compiled(torch.randn(rows, 16))
        buffers = [c._buffers[0].untyped_storage().data_ptr() for c in captured(backend).captures]
        reserved.append(len(set(buffers)))
    assert reserved == [1, 3]


@torch.no_grad()
def test_use_graph_pool_shares_memory_between_graphs() -> None:
    places = []
    for function in (lambda x: x + 1, lambda x: x * 2):
        compiled, backend = compile_for_replay(function, use_graph_pool=(0, 7))
        x = torch.randn(16)
        assert same_bits(compiled(x), function(x))
        places.append(captured(backend).captures[0]._buffers[0].data_ptr())
        last = captured(backend)
    assert places[0] == places[1]
    assert last.pool.bytes_reserved == 64
    torchair.reset()


@torch.no_grad()
def test_in_place_passes() -> None:
    def f(state: Tensor, x: Tensor, i: Tensor) -> Tensor:
        state.index_copy_(0, i, x)
        y = (x * 2).index_fill(0, i[:1], 1.0)
        return y + state.sum()

    found = {}
    for options in ({}, {"input_inplace_pass": False}, {"inplace_pass": False}):
        compiled, backend = compile_for_replay(f, **options)
        states = [torch.zeros(4, 3), torch.zeros(4, 3)]
        x, i = torch.randn(2, 3), torch.tensor([1, 0])
        assert same_bits(compiled(states[0], x, i), f(states[1], x, i)) and same_bits(*states)
        operators = captured(backend).captures[0].operators
        names = {name.split("::")[1].split(".")[0] for name in operators}
        found[tuple(options)] = names & {"index_copy", "index_copy_", "copy_", "index_fill_"}
    assert found == {
        (): {"index_copy_", "index_fill_"},
        ("input_inplace_pass",): {"index_copy", "copy_", "index_fill_"},
        ("inplace_pass",): {"index_copy_"},
    }


@torch.no_grad()
def test_remove_noop_ops() -> None:
    counts = []
    for remove in (True, False):
        compiled, backend = compile_for_replay(
            lambda x: x.view(2, 2).view(4).clone().add(1), remove_noop_ops=remove
        )
        x = torch.randn(4)
        assert same_bits(compiled(x), x + 1)
        counts.append(len(captured(backend).captures[0].operators))
    assert counts[0] < counts[1]


@torch.no_grad()
def test_custom_passes_see_the_graph() -> None:
    seen: list[str] = []

    def add_to_sub(gm: torch.fx.GraphModule, inputs: Any, config: Any) -> None:
        for node in gm.graph.nodes:
            if node.target is torch.ops.aten.add.Tensor:
                node.target = torch.ops.aten.sub.Tensor
        seen.append("pre")

    def note(gm: torch.fx.GraphModule, inputs: Any, config: Any) -> None:
        seen.append("post")

    compiled, _ = compile_for_replay(
        lambda x: x + 1, post_grad_custom_pre_pass=add_to_sub, post_grad_custom_post_pass=note
    )
    assert torch.equal(compiled(torch.ones(2)), torch.zeros(2))
    assert seen == ["pre", "post"]


@torch.no_grad()
def test_record_statistics(caplog: pytest.LogCaptureFixture) -> None:
    compiled, _ = compile_for_replay(lambda x: x / x, record_statistics_debug_info=True)
    with caplog.at_level(logging.DEBUG, logger="torchair"):
        compiled(torch.tensor([0.0, 2.0, 4.0]))
    lines = [record.getMessage() for record in caplog.records if record.name == "torchair"]
    assert any("input x: float32[3] min 0 max 4 mean 2 norm 4.47214" in line for line in lines)
    assert any("output 0: float32[3] min 1" in line and "1 NaN" in line for line in lines)


@torch.no_grad()
def test_check_replay_poisons_what_is_not_refreshed() -> None:
    compiled, backend = compile_for_replay(lambda x: x + 1)
    compiled(torch.ones(4))
    assert captured(backend).captures[0]._buffers[0].isnan().all()
    compiled, backend = compile_for_replay(lambda x: x + 1, check_replay=False)
    compiled(torch.ones(4))
    assert torch.equal(captured(backend).captures[0]._buffers[0], torch.ones(4))


@torch.no_grad()
def test_flat_configuration_and_mode_npugraph_ex() -> None:
    torch._dynamo.reset()
    config = NpuGraphExConfig()
    config.clone_input = False
    backend = torchair.get_npu_backend(compiler_config=config.compiler_config())
    compiled = torch.compile(lambda x: x * 3, backend=backend, fullgraph=True)
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 3.0))
    assert captured(backend).captures[0].staged == []


def test_the_cann_engine_is_refused_clearly() -> None:
    config = torchair.CompilerConfig()
    config.mode, config.engine = "reduce-overhead", "cann"
    compiled = torch.compile(
        lambda x: x + 1, backend=torchair.get_npu_backend(compiler_config=config)
    )
    with pytest.raises(EngineError, match="through torch_npu, which is not here"):
        compiled(torch.ones(2))


def test_engine_auto_takes_the_host_without_torch_npu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "is_available", lambda: True)
    config = torchair.CompilerConfig()
    config.mode, config.engine = "reduce-overhead", "auto"
    compiled = torch.compile(
        lambda x: x + 1, backend=torchair.get_npu_backend(compiler_config=config)
    )
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
