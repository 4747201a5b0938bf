"""mode="reduce-overhead" on CANN: captured by ACL, replayed on torch's stream, on the fake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from fake_cann.build import build, compiler
from fake_cann.torch_npu_standin import StandIn, Stream
from npu_replay_check import compile_for_npu, on_npu, standin_on_fake
from replay_check import captured, same_bits
from test_cann_libraries import run_script
from torch import Tensor, nn

from torchair.backend_ge.runtime.npu_device import npu_device
from torchair.errors import EngineError
from torchair.inference import set_dim_gears
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


@pytest.mark.parametrize(
    ("mode", "is_other_thread", "is_allowed"),
    [
        ("global", False, False),
        ("global", True, False),
        ("thread_local", False, False),
        ("thread_local", True, True),
        ("relaxed", False, True),
    ],
)
@torch.no_grad()
def test_capture_error_mode_decides_who_may_copy(
    npu: StandIn, mode: str, is_other_thread: bool, is_allowed: bool
) -> None:
    """An operator makes a blocking copy while it is captured, itself or by another thread."""
    library = torch.library.Library("cann_replay_copy", "DEF")
    library.define("copied(Tensor x) -> Tensor")
    device = npu_device().runtime
    source, target = npu.plain_tensor(torch.ones(4)), npu.plain_tensor(torch.zeros(4))

    def copied(x: Tensor) -> Tensor:
        if not captures:
            return x + 1
        captures.pop()
        copy = partial(device.copy, target.data_ptr(), source.data_ptr(), source.nbytes)
        with ThreadPoolExecutor(1) as other:
            (other.submit(copy) if is_other_thread else finished(copy)).result()
        return x + 1

    captures = [1]
    library.impl("copied", copied, "CPU")
    torch.library.register_fake("cann_replay_copy::copied", torch.empty_like)
    compiled, _ = compile_for_npu(
        lambda x: torch.ops.cann_replay_copy.copied(x) * 2, capture_error_mode=mode
    )
    given = npu.plain_tensor(torch.ones(3))
    if not is_allowed:
        with pytest.raises(EngineError, match="107030"):
            compiled(given)
    y = compiled(given)
    npu.synchronize()
    assert y.tolist() == [4.0] * 3
    library._destroy()


def finished(action: Callable[[], None]) -> Future[None]:
    """The outcome of an action on this thread."""
    future: Future[None] = Future()
    try:
        future.set_result(action())
    except Exception as error:
        future.set_exception(error)
    return future


@torch.no_grad()
def test_graphs_of_one_pool_share_memory_and_follow_each_other(npu: StandIn) -> None:
    functions = [lambda x: torch.tanh(x) * 2 + x, lambda x: torch.sin(x) * 2 + x]
    compiled = []
    for function in functions:
        made, _ = compile_for_npu(function, use_graph_pool=(0, 3), clone_output=True)
        x = torch.randn(4)
        assert same_bits(results_of(npu, made, x), function(x))
        compiled.append((made, function))
    assert len(npu.pools) == 1
    streams = [npu.make_stream() for _ in range(2)]
    for step in range(4):
        made, function = compiled[step % 2]
        npu.stream = streams[step // 2].npu_stream
        x = torch.randn(4)
        assert same_bits(results_of(npu, made, x), function(x)), step


def results_of(npu: StandIn, compiled: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    y = compiled(npu.plain_tensor(x))
    npu.synchronize()
    return y


@torch.no_grad()
def test_gears_are_captured_as_they_come(npu: StandIn) -> None:
    compiled, backend = compile_for_npu(lambda x: torch.relu(x) * 2, dynamic=True)
    for rows in (4, 8, 4):
        x = torch.randn(rows, 3)
        given = npu.plain_tensor(x)
        if rows == 4:
            set_dim_gears(given, {0: [4, 8]})
        y = compiled(given)
        npu.synchronize()
        assert same_bits(y, torch.relu(x) * 2), rows
    assert captured(backend).counts.captures == 2


@torch.no_grad()
def test_results_that_are_inputs_constants_or_nothing(npu: StandIn) -> None:
    weight = nn.Parameter(npu.plain_tensor(torch.randn(4)))

    def f(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x.add_(1)
        return x, weight.view(2, 2), torch.arange(3) + 1

    compiled, _ = compile_for_npu(f)
    for _ in range(2):
        x = npu.plain_tensor(torch.zeros(4))
        same, view, made = compiled(x)
        npu.synchronize()
        assert same.data_ptr() == x.data_ptr() and x.tolist() == [1.0] * 4
        assert view.data_ptr() == weight.data_ptr() and made.tolist() == [1, 2, 3]


def test_operators_of_another_thread_are_refused(
    npu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASK_QUEUE_ENABLE", "2")
    compiled, _ = compile_for_npu(lambda x: x + 1)
    with pytest.raises(EngineError, match="prepares operators on another thread"):
        compiled(npu.plain_tensor(torch.ones(3)))


@torch.no_grad()
def test_the_tasks_of_a_capture_are_listed_in_a_file(
    npu: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compiled, backend = compile_for_npu(lambda x: x * 2 + 1, deadlock_check=True)
    compiled(npu.plain_tensor(torch.ones(3)))
    listed = json.loads(Path(f"{backend.reports[0].name}_tasks.json").read_text())
    assert len(listed) == 2


EXIT = """
import sys, torch, pytest
from pathlib import Path
from fake_cann.device import FakeCann
from fake_cann.torch_npu_standin import torch_npu
from npu_replay_check import compile_for_npu
folder = Path({folder!r})
fake = FakeCann(folder, folder / "libfake_cann.so")
import atexit

def report():
    npu.close()
    fake.check()
    print("clean", flush=True)

patch = pytest.MonkeyPatch()
scope = torch_npu(fake, patch)
npu = scope.__enter__()
atexit.register(report)  # what torch_npu does: before ours, so after it at the end
compiled, _ = compile_for_npu(lambda x: x * 2)
with torch.no_grad():
    kept = compiled, compiled(npu.plain_tensor(torch.ones(4)))
"""


def test_a_process_ends_clean_with_captures_alive(tmp_path: Path) -> None:
    build("9.1.0", tmp_path)
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + EXIT
    printed = run_script(script.format(folder=str(tmp_path)), tmp_path)
    assert printed.split() == ["clean"]
