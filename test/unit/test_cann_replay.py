"""mode="reduce-overhead" on CANN: captured by ACL, replayed on torch's stream, on the fake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.torch_npu_standin import StandIn, Stream
from npu_replay_check import compile_for_npu, on_npu, standin_on_fake
from replay_check import captured, same_bits
from torch import Tensor, nn

from torchair.errors import EngineError
from torchair.scope import npu_stream_switch

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")


@pytest.fixture
def npu(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    with standin_on_fake(tmp_path_factory.mktemp("cann"), monkeypatch) as standin:
        yield standin


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))


@torch.no_grad()
def test_replays_give_eagers_bits(npu: StandIn) -> None:
    reference = Block().eval()
    compiled, backend = compile_for_npu(on_npu(npu, reference))
    for _ in range(3):
        x = torch.randn(4, 8)
        y = compiled(npu.plain_tensor(x))
        npu.synchronize()
        assert same_bits(y, reference(x))
    fake = npu.fake
    assert fake.count("aclmdlRICaptureBegin") == fake.count("aclmdlRICaptureEnd") == 1
    assert fake.count("aclmdlRIExecuteAsync") == 3
    assert captured(backend).counts.captures == 1
    assert npu.pools[0].reused > 0, "what a call frees, a later one uses"


class Cache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("keys", torch.zeros(16, 8))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        self.keys.index_copy_(0, position, self.linear(x))
        return torch.softmax(x @ self.keys.t(), -1) @ self.keys


@torch.no_grad()
def test_a_cache_is_written_where_it_is(npu: StandIn) -> None:
    reference = Cache()
    model = on_npu(npu, reference)
    compiled, backend = compile_for_npu(model)
    for step in range(8):
        x, position = torch.randn(1, 8), torch.tensor([step])
        y = compiled(npu.plain_tensor(x), npu.plain_tensor(position))
        npu.synchronize()
        assert same_bits(y, reference(x, position)), step
    assert same_bits(model.keys, reference.keys)
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_what_moved_is_captured_again(npu: StandIn) -> None:
    reference = Cache()
    model = on_npu(npu, reference)
    compiled, backend = compile_for_npu(model)
    x, position = torch.randn(1, 8), torch.tensor([3])
    given = npu.plain_tensor(x), npu.plain_tensor(position)
    for name in ("nothing", "keys", "linear.weight"):
        if name != "nothing":
            owner, _, leaf = name.rpartition(".")
            for module in (reference, model):
                tensor = getattr(module.get_submodule(owner), leaf)
                values = tensor.detach() * 2
                tensor.data = values if module is reference else npu.plain_tensor(values)
        y = compiled(*given)
        npu.synchronize()
        assert same_bits(y, reference(x, position)), name
    assert captured(backend).counts.recaptures == 2
    assert "captured again: self.keys moved" in str(captured(backend))
    assert npu.fake.count("aclmdlRIDestroy") == 2


def test_streams_of_the_user_become_streams_of_the_capture(npu: StandIn) -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        a = x @ y
        with npu_stream_switch("side"):
            b = torch.relu(x - y)
            c = b.transpose(0, 1)
        return torch.sigmoid(a) + c * 2

    compiled, backend = compile_for_npu(f)
    with torch.no_grad():
        for _ in range(3):
            x, y = torch.randn(4, 4), torch.randn(4, 4)
            z = compiled(npu.plain_tensor(x), npu.plain_tensor(y))
            npu.synchronize()
            assert same_bits(z, f(x, y))
    assert set(captured(backend).captures[0].streams) == {0, 1}
    assert npu.fake.count("aclrtStreamWaitEvent") >= 3


@torch.no_grad()
def test_one_capture_for_each_shape(npu: StandIn) -> None:
    reference = Block().eval()
    compiled, backend = compile_for_npu(on_npu(npu, reference), dynamic=True)
    for rows in (2, 3, 2, 5, 3):
        x = torch.randn(rows, 8)
        y = compiled(npu.plain_tensor(x))
        npu.synchronize()
        assert same_bits(y, reference(x)), rows
    assert captured(backend).counts.captures == 3
    assert len(npu.pools) == 1, "captures of one graph share their memory"


@torch.no_grad()
def test_calls_on_other_streams_follow_each_other(npu: StandIn) -> None:
    compiled, _ = compile_for_npu(lambda x: torch.tanh(x) * 2, clone_output=True)
    first, second = npu.make_stream(), npu.make_stream()
    results: list[tuple[Tensor, Tensor]] = []
    for stream in (first, second, second, first):
        x = torch.randn(4)
        npu.stream = stream.npu_stream
        results.append((compiled(npu.plain_tensor(x)), torch.tanh(x) * 2))
    npu.synchronize()  # the last stream waits for the others
    for y, expected in results:
        assert same_bits(y, expected)


@torch.no_grad()
def test_a_replay_overwrites_outputs_unless_they_are_cloned(npu: StandIn) -> None:
    for is_cloned in (False, True):
        compiled, _ = compile_for_npu(lambda x: x * 3, clone_output=is_cloned)
        first = compiled(npu.plain_tensor(torch.ones(4)))
        second = compiled(npu.plain_tensor(torch.full((4,), 2.0)))
        npu.synchronize()
        assert second.tolist() == [6.0] * 4
        assert first.tolist() == ([3.0] * 4 if is_cloned else [6.0] * 4)


def test_training_keeps_what_autograd_keeps(npu: StandIn) -> None:
    """Two forward passes before the backward ones: what is saved must outlive the second."""
    reference = Block()
    model = on_npu(npu, reference)
    compiled, _ = compile_for_npu(model)
    inputs = [torch.randn(4, 8) for _ in range(2)]
    outputs = [compiled(npu.plain_tensor(x)) for x in inputs]
    npu.synchronize()
    for y, x in zip(outputs, inputs, strict=True):
        assert torch.allclose(y.detach(), reference(x).detach(), atol=1e-6)
    for y in outputs:
        with npu.on(npu.current()):
            y.sum().backward()
        npu.synchronize()
    sum(reference(x).sum() for x in inputs).backward()
    for (name, made), (_, expected) in zip(
        model.named_parameters(), reference.named_parameters(), strict=True
    ):
        assert torch.allclose(made.grad, expected.grad, atol=1e-5), name


@pytest.mark.parametrize(
    "function",
    [
        "aclmdlRICaptureBegin", "aclmdlRICaptureGetInfo", "aclrtCreateEventExWithFlag",
        "aclrtRecordEvent", "aclrtStreamWaitEvent", "aclrtLaunchHostFunc", "aclmdlRICaptureEnd",
        "aclmdlRIExecuteAsync", "aclmdlRIGetId",
    ],
)  # fmt: skip
@torch.no_grad()
def test_a_failed_call_leaves_streams_and_cache_usable(npu: StandIn, function: str) -> None:
    def f(x: Tensor) -> Tensor:
        with npu_stream_switch("side"):
            a = torch.relu(x)
        return torch.tanh(x) + a

    compiled, _ = compile_for_npu(f)
    x = torch.randn(4)
    given = npu.plain_tensor(x)
    npu.fake.inject(function, 507899, 2 if function == "aclrtLaunchHostFunc" else 1)
    with pytest.raises(EngineError, match="507899"):
        compiled(given)
    y = compiled(given)
    npu.synchronize()
    assert same_bits(y, f(x)), function


def test_an_operator_that_fails_is_named_with_its_line(npu: StandIn) -> None:
    library = torch.library.Library("cann_replay_bad", "DEF")
    library.define("sometimes(Tensor x) -> Tensor")

    def fail(x: Tensor) -> Tensor:
        raise ValueError("no kernel for this shape")

    library.impl("sometimes", fail, "CPU")
    torch.library.register_fake("cann_replay_bad::sometimes", torch.empty_like)
    compiled, _ = compile_for_npu(lambda x: torch.ops.cann_replay_bad.sometimes(x * 2))
    with pytest.raises(EngineError, match="no kernel for this shape") as caught, torch.no_grad():
        compiled(npu.plain_tensor(torch.ones(3)))
    text = str(caught.value)
    assert "cann_replay_bad.sometimes" in text and "test_cann_replay.py" in text
    library._destroy()


@torch.no_grad()
def test_random_numbers_are_refused(npu: StandIn) -> None:
    compiled, _ = compile_for_npu(lambda x: x + torch.rand_like(x))
    with pytest.raises(EngineError, match="draws random numbers") as caught:
        compiled(npu.plain_tensor(torch.ones(3)))
    assert "test_cann_replay.py" in str(caught.value)


@torch.no_grad()
def test_inputs_elsewhere_are_refused(npu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "device", torch.device("xpu", 0))
    compiled, _ = compile_for_npu(lambda x: x + 1)
    with pytest.raises(EngineError, match="the input 'x' of a graph that is captured on an NPU"):
        compiled(torch.ones(3))
