"""Scopes, events and prints of the user: traced, compiled, emitted as GE has them, run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

import torchair
from torchair import ops, scope
from torchair.backend_ge import proto
from torchair.backend_ge.emit import emit
from torchair.backend_ge.host.engine import HostEngine
from torchair.backend_ge.load import load
from torchair.errors import ConversionError, TorchairError
from torchair.ir.text import print_module


def compile_and_emit(
    function: Callable[..., Any], *args: Tensor, monkeypatch: pytest.MonkeyPatch
) -> proto.GraphDef:
    """Compile, compare with eager, and give the emitted graph."""
    graphs: list[proto.GraphDef] = []
    plain = HostEngine.compile

    def keep(self: HostEngine, data: bytes, options: Any = None) -> Any:
        model = proto.ModelDef()
        model.ParseFromString(data)
        assert emit(load(data), model.name).SerializeToString(deterministic=True) == (
            model.SerializeToString(deterministic=True)
        )
        graphs.append(model.graph[0])
        return plain(self, data, options)

    monkeypatch.setattr(HostEngine, "compile", keep)
    torch._dynamo.reset()
    found = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)(*args)
    torch.testing.assert_close(found, function(*args), rtol=0, atol=0)
    return graphs[-1]


def node(graph: proto.GraphDef, ge_type: str) -> proto.OpDef:
    return next(op for op in graph.op if op.type == ge_type)


def texts(op: proto.OpDef) -> dict[str, Any]:
    """The scope attributes of a node: text, or truth value."""
    wanted = ("_user", "_enable", "_op_", "_super", "torchair_enable")
    found = {k: v for k, v in op.attr.items() if k.startswith(wanted)}
    return {k: v.s.decode() if v.WhichOneof("value") == "s" else v.b for k, v in found.items()}


def test_stream_switch_is_three_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Tensor) -> Tensor:
        with scope.npu_stream_switch("s1", 3):
            y = torch.mm(x, x)
        return torch.relu(y)

    graph = compile_and_emit(f, torch.randn(4, 4), monkeypatch=monkeypatch)
    product = next(op for op in graph.op if "MatMul" in op.type)
    assert texts(product) == {
        "_user_stream_label": "s1",
        "_user_stream_priority": "3",
        "_enable_inner_parallel": True,
    }
    assert texts(node(graph, "Relu")) == {}


def test_scopes_nest_and_inner_ones_win(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Tensor) -> Tensor:
        with scope.super_kernel("sp1", "a=1"), scope.limit_core_num(2, 3):
            x = torch.relu(x)
            with scope.limit_core_num(4, 8), scope.super_kernel("", ""):
                x = torch.exp(x)
        with scope.op_never_timeout(), scope.data_dump():
            return torch.neg(x)

    graph = compile_and_emit(f, torch.randn(4), monkeypatch=monkeypatch)
    assert texts(node(graph, "Relu")) == {
        "_super_kernel_scope": "sp1",
        "_super_kernel_options": "a=1",
        "_op_aicore_num": "2",
        "_op_vectorcore_num": "3",
    }
    assert texts(node(graph, "Exp")) == {"_op_aicore_num": "4", "_op_vectorcore_num": "8"}
    assert texts(node(graph, "Neg")) == {
        "_op_exec_never_timeout": True,
        "torchair_enable_data_dump": "True",
    }


def test_wait_is_a_control_edge_to_the_next_node_of_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def f(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.exp(x)
        done = ops.record()
        a = torch.neg(z)
        with scope.npu_stream_switch("s1"):
            ops.wait([done])
            b = torch.relu(z)
            c = torch.abs(z)
        return y + a, b, c

    graph = compile_and_emit(f, torch.randn(4), torch.randn(4), monkeypatch=monkeypatch)
    assert list(node(graph, "Relu").input)[1:] == ["Exp:-1"]
    for other in ("Abs", "Neg"):
        assert not [i for i in node(graph, other).input if i.endswith(":-1")]


def test_wait_for_a_tensor_waits_for_its_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        with scope.npu_stream_switch("s1"):
            y = torch.exp(x)
            z = torch.abs(x)
        ops.wait([y])
        return torch.relu(x), y + z

    graph = compile_and_emit(f, torch.randn(4), monkeypatch=monkeypatch)
    assert list(node(graph, "Relu").input)[1:] == ["Exp:-1"]


def test_wait_tensor_is_an_identity_with_a_control_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        with scope.npu_stream_switch("s1"):
            y = torch.exp(x)
        return scope.npu_wait_tensor(torch.neg(x), y), y

    graph = compile_and_emit(f, torch.randn(4), monkeypatch=monkeypatch)
    assert list(node(graph, "Identity").input) == ["Neg:0", "Exp:-1"]


def test_tagged_events(monkeypatch: pytest.MonkeyPatch) -> None:
    event = ops.npu_create_tagged_event("tag")

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        with scope.npu_stream_switch("s1"):
            y = torch.exp(x)
            ops.npu_tagged_event_record(event)
        ops.npu_record_tagged_stream(x, "s1")
        ops.npu_tagged_event_wait(event)
        return torch.relu(x), y

    graph = compile_and_emit(f, torch.randn(4), monkeypatch=monkeypatch)
    assert list(node(graph, "Relu").input)[1:] == ["Exp:-1"]


def test_prints_are_chained_and_keep_the_graph_alive(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def f(x: Tensor) -> Tensor:
        y = x + 1
        ops.npu_print("y is", y, 3, True, tensor_detail=True)
        ops.npu_print(y.to(torch.bfloat16))
        return y

    graph = compile_and_emit(f, torch.ones(2), monkeypatch=monkeypatch)
    first, second = (op for op in graph.op if op.type == "PrintV2")
    assert list(second.input)[1:] == [f"{first.name}:-1"]
    assert list(node(graph, "NetOutput").input)[1:] == [f"{second.name}:-1"]
    assert first.attr["_kernel"].s == b"extend"
    text = node(graph, "StringFormat")
    assert text.attr["template"].s == b"y is tensor({}, shape={}, dtype=torch.float32) 3 True"
    printed = "y is tensor([2.0 2.0], shape=[2], dtype=torch.float32) 3 True\n[2.0 2.0]\n"
    assert capfd.readouterr().err == printed * 2


def test_print_shortens_and_finds_a_free_placeholder(capfd: pytest.CaptureFixture[str]) -> None:
    ops.npu_print("{}", torch.arange(10), summarize_size=2)
    assert capfd.readouterr().err == "{} [0 1 ... 8 9]\n"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: ops.npu_print("no tensor"), ValueError),
        (lambda x: ops.npu_print(x, [1]), TypeError),
        (lambda x: ops.npu_print(x, summarize_size=0), ValueError),
        (lambda x: ops.npu_print(x, summarize_size=1.5), TypeError),
        (lambda x: ops.npu_print(x, tensor_detail=1), TypeError),
        (lambda x: ops.wait([]), ValueError),
        (lambda x: ops.wait([x, 1]), ValueError),
        (lambda x: scope.op_never_timeout(1), TypeError),
        (lambda x: ops.npu_create_tagged_event(""), ValueError),
        (lambda x: ops.wait(x), ValueError),
        (lambda x: ops.npu_tagged_event_record("tag"), TypeError),
        (lambda x: ops.npu_tagged_event_wait("tag"), TypeError),
        (lambda x: scope.npu_wait_tensor(x, 3), TypeError),
    ],
)
def test_wrong_arguments(call: Callable[[Tensor], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call(torch.ones(2))


def unknown_tag(x: Tensor) -> Tensor:
    torch.ops.air.tagged_event_wait("nobody")
    return x + 1


def left_open(x: Tensor) -> Tensor:
    torch.ops.air.scope_enter(["_user_stream_label"], ["s"])
    return x + 1


def left_twice(x: Tensor) -> Tensor:
    torch.ops.air.scope_exit()
    return x + 1


def no_cores(x: Tensor) -> Tensor:
    with scope.limit_core_num(0, 1):
        return x + 1


def too_many_cores(x: Tensor) -> Tensor:
    with scope.limit_core_num(1000, 1):
        return x + 1


def in_super_kernel(options: str) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        with scope.super_kernel("sk", options):
            return x + 1

    return function


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (in_super_kernel("fast"), "is not key=value"),
        (in_super_kernel("strict-scope-check=maybe"), "does not take this value"),
        (in_super_kernel("stream-fusion=1:strem-fusion=1"), "unknown super kernel option"),
        (unknown_tag, "a wait without record"),
        (left_open, "never left"),
        (left_twice, "never entered"),
        (no_cores, "'_op_aicore_num' is out of range"),
        (too_many_cores, "asks for stream.aicore = 1000"),
    ],
)
def test_misuse_is_refused_with_the_users_line(
    function: Callable[[Tensor], Tensor], words: str
) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
    with pytest.raises(TorchairError, match=words) as caught:
        compiled(torch.ones(2))
    assert __file__ in str(caught.value)


def in_three_scopes(x: Tensor) -> Tensor:
    with scope.npu_stream_switch("a"):
        y = x + 1
    with scope.npu_stream_switch("b"):
        z = x * 2
    return y + z


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_streams": 2}, "the graph needs 3 streams, the device allows 2"),
        ({"max_streams": 2, "stream_pool": 2}, None),
        ({"max_tasks": 1}, "tasks on one stream, the device allows 1"),
        ({"max_events": 1}, None),
        ({"target": "ascend950"}, None),
    ],
)
def test_limits_of_the_device_are_options(options: dict[str, Any], words: str | None) -> None:
    config = torchair.CompilerConfig()
    for name, value in options.items():
        setattr(config.device, name, value)
    torch._dynamo.reset()
    backend = torchair.get_npu_backend(compiler_config=config)
    compiled = torch.compile(in_three_scopes, backend=backend, fullgraph=True)
    if words is not None:
        with pytest.raises(TorchairError, match=words):
            compiled(torch.ones(2))
        return
    assert compiled(torch.ones(2)).tolist() == [4.0, 4.0]
    text = str(torchair.report(backend))
    assert f"expected on {options.get('target', 'host')}:" in text
    assert text.count("    stream ") == options.get("stream_pool", 3)


def test_a_scope_cut_by_a_graph_break_is_refused_with_the_users_line() -> None:
    def cut(x: Tensor) -> Tensor:
        with scope.npu_stream_switch("side"):
            x = x + 1
            torch._dynamo.graph_break()
            return x * 2

    torch._dynamo.reset()
    compiled = torch.compile(cut, backend=torchair.get_npu_backend())
    with pytest.raises(TorchairError, match="entered and never left") as caught:
        compiled(torch.ones(2))
    assert f"{__file__}:{cut.__code__.co_firstlineno + 1}" in str(caught.value)


def test_scopes_do_not_break_the_graph() -> None:
    def f(x: Tensor) -> Tensor:
        with scope.npu_stream_switch("s"):
            return torch.exp(x)

    counter = CompileCounter()
    torch.compile(f, backend=counter, fullgraph=True)(torch.ones(2))
    assert counter.frame_count == 1


def test_training_through_scopes_and_wait_tensor() -> None:
    def f(x: Tensor) -> Tensor:
        with scope.npu_stream_switch("s1"):
            y = torch.sin(x)
        ops.wait([y])
        return (scope.npu_wait_tensor(x * x, y) * y).sum()

    torch._dynamo.reset()
    compiled = torch.compile(f, backend=torchair.get_npu_backend(), fullgraph=True)
    x = torch.randn(5, requires_grad=True)
    (expected,) = torch.autograd.grad(f(x), x)
    (found,) = torch.autograd.grad(compiled(x), x)
    torch.testing.assert_close(found, expected)


def test_fusions_stay_inside_one_stream() -> None:
    """An RMS norm that is cut in two by a stream keeps its parts."""

    def f(x: Tensor, w: Tensor) -> Tensor:
        with scope.npu_stream_switch("s1"):
            scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x * scale * w

    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    x, w = torch.randn(4, 8), torch.randn(8)
    torch.testing.assert_close(torch.compile(f, backend=backend, fullgraph=True)(x, w), f(x, w))
    assert backend.reports[-1].schedule.labels == ["", "s1"]


def test_plain_torch_streams() -> None:
    stream = torch.Stream(device="cpu")
    other = torch.Stream(device="cpu")

    def f(x: Tensor) -> Tensor:
        event = torch.Event(device="cpu")
        with stream:
            y = x + 1
            event.record(stream)
        event.wait(other)
        return y * 2

    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    found = torch.compile(f, backend=backend, fullgraph=True)(torch.ones(3))
    assert torch.equal(found, torch.full((3,), 4.0))
    schedule = backend.reports[-1].schedule
    sum_, product = [task for task in schedule.tasks if task.cost.time]
    assert sum_.label.startswith("torch_stream_") and not product.label


def test_plain_torch_streams_nest() -> None:
    def f(x: Tensor) -> Tensor:
        outer, inner = torch.Stream(device="cpu"), torch.Stream(device="cpu")
        with outer:
            y = x + 1
            with inner:
                z = x * 2
            y = y.exp()
        inner.wait_stream(outer)
        return y + z

    torch._dynamo.reset()
    backend = torchair.get_npu_backend()
    x = torch.ones(3)
    found = torch.compile(f, backend=backend, fullgraph=True)(x)
    assert torch.equal(found, (x + 1).exp() + x * 2)
    tasks = [task for task in backend.reports[-1].schedule.tasks if task.cost.time]
    first, second, third, last = [task.label for task in tasks]
    assert first == third != second and first and second and not last


def test_markers_outside_of_a_graph_are_refused_by_name() -> None:
    def f(x: Tensor) -> Tensor:
        return ops.record() + x.sum()

    torch._dynamo.reset()
    with pytest.raises(ConversionError, match="an event is used as a tensor"):
        torch.compile(f, backend=torchair.get_npu_backend(), fullgraph=True)(torch.ones(2))


def test_dumps_with_scopes_read_back() -> None:
    from torchair.ir.text import parse_module
    from torchair.tools.context import make_context

    text = (
        "func.func @f(%x: tensor<4xf32>) -> tensor<4xf32> {\n"
        "  %e = stream.record : !stream.token\n"
        '  stream.wait %e {stream.label = "s"} : !stream.token\n'
        "  func.return %x : tensor<4xf32>\n}"
    )
    module = parse_module(make_context(), text)
    assert print_module(parse_module(make_context(), print_module(module))) == print_module(module)
