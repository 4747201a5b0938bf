"""The cann engine on the strict fake: results equal eager, and no rule of CANN is broken."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.device import FakeCann
from fake_cann.fixtures import compile_text, engine_on, loaded_fake, unary_graph
from models import Llama

import torchair
from torchair.backend_ge.cann import process
from torchair.backend_ge.cann.engine import CannEngine
from torchair.config import ge_keys
from torchair.errors import ArtifactError, ConfigError, EngineError
from torchair.frontend.compile import parameter_indices
from torchair.inference import set_dim_gears
from torchair.ir.text import parse_module
from torchair.ops import npu_print
from torchair.tools.context import make_context

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")


@pytest.fixture(params=["wrapper", "session"])
def fake(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FakeCann]:
    """The fake, driven by one of GE's two interfaces; checked after the engine is closed."""
    loaded = loaded_fake(tmp_path_factory.mktemp("cann"))
    with engine_on(loaded, request.param, monkeypatch):
        yield loaded


def compiled(function: Callable[..., Any], *, dynamic: bool = False, **options: Any) -> Any:
    config = torchair.CompilerConfig()
    config.engine = "cann"
    for path, value in options.items():
        config.set_option(path.replace("__", "."), value)
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(function, backend=backend, dynamic=dynamic)


def assert_same(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


# ---------------------------------------------------------------- through torch.compile


@pytest.mark.parametrize("dynamic", [False, True])
def test_results_equal_eager(fake: FakeCann, dynamic: bool) -> None:
    def f(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.softmax(x @ y, -1)
        return z * 2, z.sum(0)

    g = compiled(f, dynamic=dynamic)
    for rows in (3, 5):
        x, y = torch.randn(rows, 4), torch.randn(4, 6)
        assert_same(g(x, y), f(x, y))


@pytest.mark.parametrize("dynamic", [False, True])
def test_inputs_are_written_as_in_eager(fake: FakeCann, dynamic: bool) -> None:
    def step(cache: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        cache.mul_(0.5).add_(x)
        return cache * x

    g = compiled(step, dynamic=dynamic)
    ours, theirs = torch.zeros(4, 4).t(), torch.zeros(4, 4).t()
    for _ in range(3):
        x = torch.randn(4, 4)
        assert_same(g(ours, x), step(theirs, x))
        assert_same(ours, theirs)


def test_training_step_equals_eager(fake: FakeCann) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.GELU(), torch.nn.Linear(7, 2))
    twin = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.GELU(), torch.nn.Linear(7, 2))
    twin.load_state_dict(model.state_dict())
    x = torch.randn(3, 5)
    compiled(model)(x).square().sum().backward()
    twin(x).square().sum().backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("dynamic", [False, True])
def test_decoder_equals_eager(fake: FakeCann, dynamic: bool) -> None:
    torch.manual_seed(0)
    model = Llama(layers=1).eval()
    decode = compiled(model, dynamic=dynamic)
    with torch.no_grad():
        for length in (5, 8):
            tokens = torch.randint(0, 128, (2, length))
            torch.testing.assert_close(decode(tokens), model(tokens))


def test_numbers_travel_as_host_scalars(fake: FakeCann) -> None:
    def f(x: torch.Tensor, n: int, scale: float) -> torch.Tensor:
        return x[: n - 1] * scale + n

    g = compiled(f, dynamic=True)
    x = torch.randn(9, 2)
    for n, scale in ((3, 0.5), (4, 2.5), (9, -1.0)):
        assert_same(g(x, n, scale), f(x, n, scale))


def test_exported_program_runs(fake: FakeCann) -> None:
    model = torch.nn.Linear(4, 2).eval()
    x = torch.randn(3, 4)
    config = torchair.CompilerConfig()
    config.engine = "cann"
    program = torchair.compile_exported_program(
        torch.export.export(model, (x,)), compiler_config=config
    )
    torch.testing.assert_close(program(x), model(x))


# ---------------------------------------------------------------- graphs as text


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        ("f32", torch.float32),
        ("f16", torch.float16),
        ("bf16", torch.bfloat16),
        ("i32", torch.int32),
        ("i64", torch.int64),
        ("i8", torch.int8),
    ],
)
def test_element_types(fake: FakeCann, element: str, dtype: torch.dtype) -> None:
    graph = compile_text(unary_graph().replace("f32", element))
    x = torch.tensor([[-2, -1, 0], [1, 2, 3]], dtype=dtype)
    (result,) = graph.run([x])
    assert_same(result, torch.relu(x))


def test_what_is_not_dense_is_copied(fake: FakeCann) -> None:
    graph = compile_text(unary_graph("Neg"))
    base = torch.randn(3, 2)
    for x in (base.t(), base.t().neg(), torch.randn(3).expand(2, 3), torch.randn(4, 6)[::2, ::2]):
        assert_same(graph.run([x]), [-x])


def test_empty_tensors(fake: FakeCann) -> None:
    static = compile_text(unary_graph(shape="0x3"))
    assert static.run([torch.empty(0, 3)])[0].shape == (0, 3)
    dynamic = compile_text(unary_graph(shape="?x3"))
    assert dynamic.run([torch.empty(0, 3)])[0].shape == (0, 3)
    assert_same(dynamic.run([torch.ones(2, 3)]), [torch.ones(2, 3)])


ASSIGN = """func.func @f(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = ge.Add(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = ge.Assign(%x, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([%0]) : (tensor<4xf32>) -> ()
}"""


def test_result_that_is_also_written_has_memory_of_its_own(fake: FakeCann) -> None:
    graph = compile_text(ASSIGN)
    assert graph.signature.aliases == ((0, 0),) and graph.signature.returned == 1
    x, y = torch.ones(4), torch.full((4,), 2.0)
    (result,) = graph.run([x, y])
    assert_same(x, torch.full((4,), 3.0))
    assert_same(result, x)
    result.zero_()
    assert_same(x, torch.full((4,), 3.0))


def test_outputs_lie_in_the_memory_of_written_inputs(fake: FakeCann) -> None:
    second = ASSIGN.replace("Assign(%x,", "Assign(%y,")
    graph = compile_text(second)
    reuse = [line for line in fake.lines("options") if "outputReuseInput" in line]
    route = process.engine({}, 0, owned=True).route
    assert reuse == (
        ["graph 0: ge.exec.outputReuseInputMemIndexes=1,0"] if route == "session" else []
    )
    x, y = torch.ones(4), torch.full((4,), 2.0)
    graph.run([x, y])
    assert_same(y, torch.full((4,), 3.0))


def test_memory_comes_from_the_callers_allocator(fake: FakeCann) -> None:
    graph = compile_text(unary_graph(shape="1024x1024"))
    allocated = fake.count("aclrtMalloc")
    x = torch.randn(1024, 1024)
    graph.run([x])
    first = fake.count("aclrtMalloc") - allocated
    for _ in range(3):
        graph.run([x])
    assert fake.count("aclrtMalloc") - allocated == first, "blocks are reused"


def test_refreshable_feature_memory_is_given_in_every_run(fake: FakeCann) -> None:
    config = torchair.CompilerConfig()
    config.experimental_config.memory_efficiency = True
    graph = compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    x = torch.randn(2, 3)
    for _ in range(3):
        assert_same(graph.run([x]), [torch.relu(x)])
    expected = 3 if graph.is_static else 0
    assert fake.count("Session.UpdateGraphFeatureMemoryBase") == expected


def test_calls_come_in_order_and_end_in_the_opposite_one(fake: FakeCann) -> None:
    compile_text(unary_graph()).run([torch.randn(2, 3)])
    process.close()
    calls = [call for call in fake.lines("calls") if not call.startswith("aclrtGet")]
    opened = ["aclInit", "aclrtSetDevice", "GEInitialize", "Session.Session"]
    assert calls[: len(opened)] == opened
    closed = ["Session.~Session", "GEFinalize", "aclrtDestroyStream", "aclrtResetDevice"]
    ends = [call for call in calls if call in (*closed, "aclFinalize")]
    assert ends == [*closed, "aclFinalize"]
    process.close()
    assert fake.count("aclFinalize") == fake.count("GEFinalize") == 1


def test_closed_engine_refuses_and_a_new_one_opens(fake: FakeCann) -> None:
    graph = compile_text(unary_graph())
    graph.run([torch.randn(2, 3)])
    process.close()
    with pytest.raises(EngineError, match="has been closed"):
        graph.run([torch.randn(2, 3)])
    again = compile_text(unary_graph())
    assert_same(again.run([torch.ones(2, 3)]), [torch.ones(2, 3)])
    assert fake.count("aclInit") == 2


def test_graph_is_removed_when_nobody_holds_it(fake: FakeCann) -> None:
    graph = compile_text(unary_graph())
    graph.run([torch.randn(2, 3)])
    kept = compile_text(unary_graph("Neg"))
    del graph
    assert fake.count("Session.RemoveGraph") == 1
    assert_same(kept.run([torch.ones(2, 3)]), [-torch.ones(2, 3)])


def test_threads_compile_and_run_at_once(fake: FakeCann) -> None:
    shared = compile_text(unary_graph("Neg", "?x3"))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            own = compile_text(unary_graph())
            for step in range(5):
                x = torch.full((2, 3), float(number * 10 + step))
                assert_same(own.run([x]), [x])
                y = torch.full((number + 1, 3), float(step))
                assert_same(shared.run([y]), [-y])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


# ---------------------------------------------------------------- options and refusals


def option_values(folder: Path) -> dict[str, object]:
    """A value other than the default for every option that has a key of GE."""
    switches = folder / "switches.json"
    switches.write_text("{}")
    return {
        "experimental_config.memory_efficiency": True,
        "experimental_config.jit_compile": "auto",
        "experimental_config.topology_sorting_strategy": "BFS",
        "experimental_config.static_model_ops_lower_limit": 3,
        "experimental_config.tiling_schedule_optimize": True,
        "experimental_config.cc_parallel_enable": True,
        "ge_config.enable_single_stream": True,
        "ge_config.oo_level": "O3",
        "ge_config.oo_constant_folding": True,
        "ge_config.oo_dead_code_elimination": False,
        "ge_config.export_compile_stat": "1",
        "ge_config.aicore_num": "24|48",
        "ge_config.optimization_switch": "Pass1:on",
        "fusion_config.fusion_switch_file": str(switches),
        "dump_config.enable_dump": True,
        "dump_config.dump_path": str(folder),
        "dump_config.dump_mode": "input",
        "dump_config.quant_dumpable": True,
        "dump_config.dump_step": "0|2",
        "dump_config.dump_layer": "Relu",
        "dump_config.dump_data": "stats",
    }


def test_every_option_with_a_key_of_ge_is_tried(tmp_path: Path) -> None:
    keys = (*ge_keys.LOCAL_KEYS, *ge_keys.GLOBAL_KEYS)
    assert {key.path for key in keys if key.name.startswith("ge.")} == set(option_values(tmp_path))


def test_every_ge_option_arrives(fake: FakeCann, tmp_path: Path) -> None:
    config = torchair.CompilerConfig()
    for path, value in option_values(tmp_path).items():
        config.set_option(path, value)
    local, process_wide = config.ge_options()
    compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    given = fake.lines("options")
    for key, value in local.items():
        assert f"graph 0: {key}={value}" in given
    for key, value in process_wide.items():
        assert f"process: {key}={value}" in given and f"session: {key}={value}" in given
    assert len(local) + len(process_wide) == len(option_values(tmp_path))
    assert "process: ge.exec.deviceId=0" in given and "session: ge.session_device_id=0" in given


@pytest.mark.parametrize("policy", ["zip", "product"])
def test_gears_arrive(fake: FakeCann, policy: str) -> None:
    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(x).sum(0) + y.sum(0)

    g = compiled(f, dynamic=True, inference_config__dynamic_gears_merge_policy=policy)
    x, y = torch.randn(2, 3), torch.randn(8, 3)
    set_dim_gears(x, {0: [2, 4]})
    set_dim_gears(y, {0: [8, 16]})
    assert_same(g(x, y), f(x, y))
    x, y = torch.randn(4, 3), torch.randn(16, 3)
    assert_same(g(x, y), f(x, y))
    given = fake.lines("options")
    sizes = "2,8;4,16" if policy == "zip" else "2,8;2,16;4,8;4,16"
    assert f"graph 0: ge.dynamicDims={sizes}" in given
    assert "graph 0: ge.dynamicNodeType=1" in given
    (shapes,) = [line for line in given if "ge.inputShape" in line]
    assert [entry.split(":")[-1] for entry in shapes.split(";")] == ["-1,3", "-1,3"]
    assert fake.count("Session.AddGraph") == 1


def test_tasks_are_listed_in_a_file(
    fake: FakeCann, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = torchair.CompilerConfig()
    config.debug.deadlock_check = True
    graph = compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    if graph.route == "wrapper":
        with pytest.warns(UserWarning, match="graph_tasks.json is not written: the tasks"):
            graph.run([torch.ones(2, 3)])
        return
    for _ in range(2):
        graph.run([torch.ones(2, 3)])
    assert json.loads(Path("graph_tasks.json").read_text())
    assert fake.count("GeSessionGraphDebugJSONPrint") == 1


def test_what_graphs_print_is_shown(fake: FakeCann, capfd: pytest.CaptureFixture[str]) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        npu_print("sum", x.sum())
        return x + 1

    g = compiled(f)
    assert_same(g(torch.ones(3)), torch.full((3,), 2.0))
    g(torch.ones(3))
    fake.print("text of the device\n")
    process.close()
    assert "text of the device\n" in capfd.readouterr().err
    assert fake.count("acltdtCreateChannelWithCapacity") == 1
    assert fake.count("acltdtDestroyChannel") == 1


def test_a_channel_that_cannot_be_made(fake: FakeCann) -> None:
    fake.inject("acltdtCreateChannelWithCapacity", 507899)
    with pytest.raises(EngineError, match="what the graph prints cannot be shown"):
        compiled(lambda x: (npu_print(x), x + 1)[1])(torch.ones(3))


def test_tuning_is_refused(fake: FakeCann) -> None:
    config = torchair.CompilerConfig()
    config.aoe_config.aoe_mode = "2"
    with pytest.raises(ConfigError, match=r"libaoe_tuning.so have no public interface"):
        compile_text(unary_graph(), **{"ge.options": config.as_dict()})


def test_dump_configuration_of_acl(fake: FakeCann, tmp_path: Any) -> None:
    file = tmp_path / "dump.json"
    file.write_text("{}")
    config = torchair.CompilerConfig()
    config.dump_config.dump_config_path = str(file)
    compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    process.close()
    calls = fake.lines("calls")
    order = [calls.index(f"aclmdl{name}Dump") for name in ("Init", "Set", "Finalize")]
    assert order == sorted(order) and order[2] < calls.index("aclFinalize")


def test_other_process_options_are_refused_by_name(fake: FakeCann) -> None:
    config = torchair.CompilerConfig()
    compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    config.ge_config.aicore_num = "1|2"
    with pytest.raises(ConfigError, match=r"ge\.aicoreNum=1\|2") as caught:
        compile_text(unary_graph(), **{"ge.options": config.as_dict()})
    assert "(not set)" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.ones(2, 4), "another shape"),
        (torch.ones(2, 3, 1), "another shape"),
        (torch.ones(2, 3, dtype=torch.int32), "another type"),
    ],
)
def test_wrong_inputs_are_named(fake: FakeCann, value: torch.Tensor, text: str) -> None:
    graph = compile_text(unary_graph())
    with pytest.raises(EngineError, match=text) as caught:
        graph.run([value])
    assert "arg0" in str(caught.value) or "x" in str(caught.value)


def test_wrong_number_of_inputs(fake: FakeCann) -> None:
    with pytest.raises(EngineError, match="wrong number of graph inputs"):
        compile_text(unary_graph()).run([])


def test_files_that_are_no_graphs(fake: FakeCann) -> None:
    with pytest.raises(EngineError, match="not a serialized GE model"):
        CannEngine().compile(b"\xff\xff\xff")
    with pytest.raises(ArtifactError, match="no graph"):
        CannEngine().compile(b"")


def test_unknown_route_is_refused(fake: FakeCann, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(process.ROUTE_VARIABLE, "tcp")
    with pytest.raises(ConfigError, match="auto or wrapper or session"):
        compile_text(unary_graph())


FROZEN = """func.func @f(
    %x: tensor<4xf32> {torchair.index = 0 : i64, torchair.kind = "input"},
    %w: tensor<4xf32> {torchair.index = 1 : i64, torchair.kind = "parameter"},
    %b: tensor<4xf32> {torchair.index = 2 : i64, torchair.kind = "buffer"}) -> tensor<4xf32> {
  %0 = ge.Add(%x, %w) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = ge.Assign(%b, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([%0]) : (tensor<4xf32>) -> ()
}"""


def test_parameters_and_buffers_that_are_not_written_may_be_frozen() -> None:
    module = parse_module(make_context(), FROZEN)
    assert parameter_indices(next(iter(module.ops))) == [1]


def test_a_static_graph_is_loaded_once_and_executed(fake: FakeCann) -> None:
    static, dynamic = compile_text(unary_graph("Neg")), compile_text(unary_graph("Neg", "?x3"))
    x = torch.randn(2, 3)
    for graph in (static, static, dynamic):
        assert_same(graph.run([x]), [-x])
    is_loaded = static.route == "session"
    assert fake.count("GeSessionLoadGraph") == int(is_loaded)
    assert fake.count("GeSessionExecuteGraphWithStreamAsync") == 2 * is_loaded
    assert fake.count("Session.RunGraphWithStreamAsync") == (1 if is_loaded else 3)
