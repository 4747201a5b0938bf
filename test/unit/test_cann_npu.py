"""Graphs on torch_npu's streams, tensors and memory; torch_npu is a stand-in on the fake CANN."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.fixtures import compile_text, engine_on, loaded_fake, unary_graph
from fake_cann.torch_npu_standin import StandIn, torch_npu

from torchair.backend_ge.cann import process
from torchair.errors import EngineError

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")


@pytest.fixture(params=["wrapper", "session"])
def npu(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StandIn]:
    fake = loaded_fake(tmp_path_factory.mktemp("cann"))
    with (
        engine_on(fake, request.param, monkeypatch, checked=False),
        torch_npu(fake, monkeypatch) as standin,
    ):
        yield standin
    assert fake.count("GEFinalize") == 0, "torch_npu ends GE"
    standin.close()
    assert fake.count("aclInit") == fake.count("aclFinalize") == 1
    assert fake.lines("breaches") == [] and not fake.errors
    assert fake.lines("leaks") == ["GE, which was not finalized"]


@pytest.mark.parametrize("shape", ["2x3", "?x3"])
def test_work_is_queued_on_torchs_stream(npu: StandIn, shape: str) -> None:
    graph = compile_text(unary_graph("Neg", shape))
    x = npu.tensor(torch.randn(2, 3))
    copies = npu.fake.count("aclrtMemcpy")
    (first,) = graph.run([x])
    (second,) = graph.run([first])
    assert npu.fake.count("aclrtMemcpy") == copies, "nothing goes through the host"
    npu.synchronize()
    torch.testing.assert_close(second.as_subclass(torch.Tensor), x.as_subclass(torch.Tensor))


ASSIGN = """func.func @f(%x: tensor<SHAPExf32>, %y: tensor<SHAPExf32>) -> tensor<SHAPExf32> {
  %0 = ge.Add(%x, %y) : (tensor<SHAPExf32>, tensor<SHAPExf32>) -> tensor<SHAPExf32>
  %1 = ge.Assign(%x, %0) : (tensor<SHAPExf32>, tensor<SHAPExf32>) -> tensor<SHAPExf32>
  ge.NetOutput([%0]) : (tensor<SHAPExf32>) -> ()
}"""


def test_inputs_are_written_in_place(npu: StandIn) -> None:
    graph = compile_text(ASSIGN.replace("SHAPE", "4"))
    x, y = npu.tensor(torch.ones(4)), npu.tensor(torch.full((4,), 2.0))
    address = x.data_ptr()
    if graph.route == "wrapper":
        pytest.skip("GE makes the outputs there, and torch copies: needs a device's operators")
    for _ in range(3):
        graph.run([x, y])
        npu.synchronize()
    assert x.data_ptr() == address and x.tolist() == [7.0] * 4


def test_refused_memory_has_torchs_text(npu: StandIn) -> None:
    graph = compile_text(unary_graph("Neg", "?x3"))
    x = npu.tensor(torch.randn(2, 3))
    graph.run([x])
    npu.fake.set_memory(1)
    with pytest.raises(EngineError, match=r"NPU out of memory \(207001\)") as caught:
        graph.run([x])
    assert "the framework's allocator refused" in str(caught.value)
    npu.fake.set_memory(0)
    graph.run([x])


def test_one_stream_for_a_graph(npu: StandIn) -> None:
    graph = compile_text(unary_graph("Neg"))
    x = npu.tensor(torch.randn(2, 3))
    graph.run([x])
    first, npu.stream = npu.stream, npu.stream + 8
    with pytest.raises(EngineError, match="stream of its first run only"):
        graph.run([x])
    npu.stream = first
    graph.run([x])
    process.close()


PRODUCT = """func.func @f(%x: tensor<2x3xf32>, %w: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = ge.Mul(%x, %w) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  ge.NetOutput([%0]) : (tensor<2x3xf32>) -> ()
}"""


def test_frozen_parameters_are_bound_when_the_graph_is_loaded(npu: StandIn) -> None:
    graph = compile_text(PRODUCT, **{"ge.frozen": [1]})
    if graph.route == "wrapper":
        pytest.skip("the plain-C interface does not load graphs")
    w = npu.tensor(torch.full((2, 3), 3.0))
    for value in (1.0, 2.0):
        (y,) = graph.run([npu.tensor(torch.full((2, 3), value)), w])
        npu.synchronize()
        assert y.tolist() == [[3.0 * value] * 3] * 2
    told = f"load 0: ge.exec.frozenInputIndexes=1,{w.data_ptr()},24"
    assert told in npu.fake.lines("options")
    assert npu.fake.count("GeSessionLoadGraph") == 1
    assert npu.fake.count("GeSessionExecuteGraphWithStreamAsync") == 2
    w.mul_(2)  # in place: seen
    (y,) = graph.run([npu.tensor(torch.ones(2, 3)), w])
    npu.synchronize()
    assert y.tolist() == [[6.0] * 3] * 2
    with pytest.raises(EngineError, match=r"the frozen parameter '.*' has moved"):
        graph.run([npu.tensor(torch.ones(2, 3)), npu.tensor(torch.ones(2, 3))])
