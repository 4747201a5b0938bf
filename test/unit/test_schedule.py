"""The cost model, the list scheduler, the placement of labels, and schedules of graph files."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation

from torchair.backend_ge.emit import emit, serialize
from torchair.backend_ge.load import load
from torchair.dialects.stream import WaitOp, stream_of
from torchair.dialects.stream.limits import LIMITS, limits_of
from torchair.errors import ArtifactError, ConfigError, VerifyError
from torchair.ir.text import parse_module
from torchair.passes.convert_aten_to_ge import ConvertAtenToGePass
from torchair.passes.schedule_streams import ScheduleStreamsPass
from torchair.passes.scheduling.costs import TARGETS, CostModel, target_named
from torchair.passes.scheduling.insertion import insertion_pass
from torchair.passes.scheduling.list_schedule import bottom_levels, list_schedule
from torchair.passes.scheduling.planned import read_schedule
from torchair.passes.scheduling.problem import Plan, Problem, lower_bound, serial_plan, simulate
from torchair.passes.scheduling.reduction import reduce_problem
from torchair.passes.verify_schedule import VerifySchedulePass
from torchair.tools.context import make_context

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from stream_graph_writer import block_of
from stream_graphs import GRAPHS


def parse(*lines: str) -> ModuleOp:
    return parse_module(make_context(), "\n".join(lines))


def only_op(module: ModuleOp) -> Operation:
    return next(iter(block_of(module).ops))


# ---------------------------------------------------------------- cost model


def cost_of(line: str, arguments: str) -> tuple[str, float, float]:
    module = parse(f"func.func @f({arguments}) {{", line, "func.return", "}")
    cost = CostModel(target_named("ascend910b")).cost(only_op(module))
    return cost.unit, cost.time, cost.flops


def test_a_matrix_product_is_cube_work() -> None:
    big = "tensor<4096x4096xf16>"
    line = f"%0 = aten.mm(%a, %b) : ({big}, {big}) -> {big}"
    unit, time, flops = cost_of(line, f"%a: {big}, %b: {big}")
    assert unit == "cube" and flops == 2 * 4096**3
    target = TARGETS["ascend910b"]
    assert time == pytest.approx(target.launch + flops / target.cube)


def test_element_wise_work_is_bound_by_memory() -> None:
    big = "tensor<4096x4096xf32>"
    line = f"%0 = aten.add.Tensor(%a, %b) : ({big}, {big}) -> {big}"
    unit, time, _ = cost_of(line, f"%a: {big}, %b: {big}")
    target = TARGETS["ascend910b"]
    assert unit == "vector"
    assert time == pytest.approx(target.launch + 3 * 4 * 4096**2 / target.memory)


def test_a_gather_reads_what_it_gives_and_an_update_writes_what_it_gets() -> None:
    table, rows, index = "tensor<100000x1024xf16>", "tensor<8x1024xf16>", "tensor<8xi64>"
    row = 8 * 1024 * 2
    target = TARGETS["ascend910b"]
    read = f"%0 = aten.embedding(%t, %i) : ({table}, {index}) -> {rows}"
    time = cost_of(read, f"%t: {table}, %i: {index}")[1]
    assert time == pytest.approx(target.launch + (2 * row + 64) / target.memory)
    write = f"%0 = aten.index_copy_(%t, 0, %i, %r) : ({table}, {index}, {rows}) -> {table}"
    time = cost_of(write, f"%t: {table}, %i: {index}, %r: {rows}")[1]
    assert time < target.launch + 1.0


def test_views_are_free_and_unknown_sizes_are_not() -> None:
    line = "%0 = aten.t(%a) : (tensor<4x8xf32>) -> tensor<8x4xf32>"
    assert cost_of(line, "%a: tensor<4x8xf32>") == ("free", 0.0, 0.0)
    line = "%0 = aten.exp(%a) : (tensor<?x8xf32>) -> tensor<?x8xf32>"
    assert cost_of(line, "%a: tensor<?x8xf32>")[1] > TARGETS["ascend910b"].launch


def test_collectives_take_the_link() -> None:
    line = (
        '%0 = _c10d_functional.all_reduce(%a, reduce_op = "sum", group_name = "0") '
        ": (tensor<4xf32>) -> tensor<4xf32>"
    )
    unit, time, _ = cost_of(line, "%a: tensor<4xf32>")
    assert unit == "link" and time >= TARGETS["ascend910b"].link_latency


def test_targets_have_limits_and_wrong_ones_a_suggestion() -> None:
    assert TARGETS.keys() == LIMITS.keys()
    for lookup in (target_named, limits_of):
        with pytest.raises(ConfigError, match="did you mean 'ascend910b'"):
            lookup("ascend910")


# ---------------------------------------------------------------- list scheduling


def random_problem(r: random.Random, size: int, count: int) -> Problem:
    costs = [r.choice((0.0, 1.0, 2.5, 10.0)) for _ in range(size)]
    before = [sorted(r.sample(range(n), r.randint(0, min(3, n)))) for n in range(size)]
    fixed = [r.randrange(count) if r.random() < 0.2 else -1 for _ in range(size)]
    event, fork = r.choice((0.0, 0.5, 3.0)), r.choice((0.0, 2.0))
    return Problem(costs, before, fixed, range(count), count, event, fork)


def assert_valid(problem: Problem, plan: Plan) -> None:
    assert sorted(plan.order) == list(range(len(problem.costs)))
    place = {task: number for number, task in enumerate(plan.order)}
    assert all(place[s] < place[t] for t, earlier in enumerate(problem.before) for s in earlier)
    assert all(f in (-1, s) for f, s in zip(problem.fixed, plan.streams, strict=True))
    assert simulate(problem, plan.streams, plan.order).makespan == pytest.approx(plan.makespan)
    assert plan.makespan >= lower_bound(problem) - 1e-6


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40), st.integers(1, 4))
def test_plans_are_valid_and_no_longer_than_one_stream(
    r: random.Random, size: int, count: int
) -> None:
    problem = random_problem(r, size, count)
    plan = list_schedule(problem)
    assert_valid(problem, plan)
    assert plan.makespan <= serial_plan(problem).makespan + 1e-6
    after = problem.after()
    levels = bottom_levels(problem, after)
    assert_valid(problem, insertion_pass(problem, problem.before, after, levels))


def test_what_takes_no_time_is_left_out_of_the_search_and_put_back() -> None:
    """A view between two tasks and one of an input; the view that many tasks need stays."""
    costs = [5.0, 0.0, 0.0, 5.0, *[1.0] * 9, 0.0, 1.0]
    before = [[], [0], [], [1, 2], *[[] for _ in range(9)], list(range(4, 13)), [13]]
    problem = Problem(costs, before, [-1] * 15, range(2), 2, 1.0)
    reduction = reduce_problem(problem)
    assert reduction.kept == [0, 3, *range(4, 15)]
    assert reduction.problem.before[1] == [0]
    plan = list_schedule(problem)
    assert_valid(problem, plan)
    assert plan.streams[1] == plan.streams[0] and plan.starts[1] == plan.starts[0] + 5.0


def test_a_stream_that_forks_late_is_not_worth_it() -> None:
    problem = Problem([4.0, 4.0, 0.0], [[], [], [0, 1]], [-1, -1, 0], range(2), 2, 3.0)
    assert list_schedule(problem).makespan == 7.0
    problem.fork = 3.0
    assert list_schedule(problem).makespan == 8.0


def test_a_gap_is_filled_without_delaying_the_critical_path() -> None:
    """One long chain, and short tasks that fit beside it."""
    costs = [10.0] * 5 + [1.0] * 10
    before = [[], [0], [1], [2], [3], *[[] for _ in range(10)]]
    problem = Problem(costs, before, [-1] * 15, range(2), 2, 1.0)
    assert list_schedule(problem).makespan == 50.0


# ---------------------------------------------------------------- placement


def labelled(count: int) -> ModuleOp:
    """A chain of operations, each on a stream of its own."""
    lines = ["func.func @f(%v0: tensor<4xf32>) -> tensor<4xf32> {"]
    for n in range(count):
        place = f'{{stream.label = "layer{n}"}}'
        kind = "(tensor<4xf32>) -> tensor<4xf32>"
        lines.append(f"%v{n + 1} = aten.exp(%v{n}) {place} : {kind}")
    return parse(*lines, f"func.return %v{count} : tensor<4xf32>", "}")


def test_labels_share_a_small_pool_of_streams() -> None:
    module = labelled(31)
    ScheduleStreamsPass(sync="events", pool=4).apply(Context(), module)
    VerifySchedulePass(streams=4).apply(Context(), module)
    ops = [op for op in block_of(module).ops if op.name == "aten.exp"]
    assert {stream_of(op) for op in ops} <= {1, 2, 3}
    labels = [op.attributes["stream.label"] for op in ops]
    assert len(set(labels)) == 31


def test_labels_of_which_one_ends_before_the_next_begins_share_one_stream() -> None:
    module = labelled(31)
    ScheduleStreamsPass(sync="events", pool=4).apply(Context(), module)
    assert sum(isinstance(op, WaitOp) for op in block_of(module).ops) == 2


@pytest.mark.parametrize(
    "options",
    [{"streams": "many"}, {"streams": "0"}, {"sync": "none"}, {"pool": 0}, {"target": "abacus"}],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ScheduleStreamsPass(**{"streams": "auto", **options}).apply(Context(), labelled(2))


def two_chains(side: int) -> ModuleOp:
    """Two chains of four matrix products."""
    kind = f"tensor<{side}x{side}xf16>"
    lines = [f"func.func @f(%a0: {kind}, %b0: {kind}) -> {kind} {{"]
    for n in range(4):
        for name in "ab":
            call = f"aten.mm(%{name}{n}, %{name}0) : ({kind}, {kind}) -> {kind}"
            lines.append(f"%{name}{n + 1} = {call}")
    lines.append(f"%r = aten.add.Tensor(%a4, %b4) : ({kind}, {kind}) -> {kind}")
    return parse(*lines, f"func.return %r : {kind}", "}")


@pytest.mark.parametrize(
    ("streams", "side", "used"), [("auto", 512, 2), ("auto", 8192, 1), ("2", 8192, 2)]
)
def test_a_full_device_gains_nothing_from_more_streams(streams: str, side: int, used: int) -> None:
    """Products of 8192 x 8192 keep the matrix unit busy all the time on one stream."""
    module = two_chains(side)
    ScheduleStreamsPass(streams=streams, sync="events").apply(Context(), module)
    schedule = read_schedule(module, "ascend910b")
    assert len(schedule.labels) == used
    unit, time = schedule.busiest_unit
    assert unit == ("cube" if side == 8192 else "memory")
    assert schedule.expected == max(time, schedule.makespan) and time < schedule.work
    assert schedule.speed_up < 1.02 if side == 8192 else schedule.speed_up > 1.5


def test_an_operation_of_a_user_stays_on_its_stream() -> None:
    module = GRAPHS["two towers"]()
    for number, op in enumerate(block_of(module).ops):
        if op.name == "aten.mm" and number % 2:
            op.attributes["stream.label"] = parse_label("mine")
    before = [op for op in block_of(module).ops if "stream.label" in op.attributes]
    ScheduleStreamsPass(streams="3", sync="events").apply(Context(), module)
    VerifySchedulePass().apply(Context(), module)
    after = [op for op in block_of(module).ops if op.name == "aten.mm"]
    mine = [op for op in after if op.attributes.get("stream.label") == parse_label("mine")]
    assert mine == before
    assert len({stream_of(op) for op in mine}) == 1


def parse_label(text: str) -> object:
    from torchair.ir import interned

    return interned.string(text)


# ---------------------------------------------------------------- graph files

COLLECTIVES = (
    "func.func @f(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {",
    '%1 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") {_user_stream_label = "a"} '
    ": (tensor<4xf32>) -> tensor<4xf32>",
    '%2 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") {_user_stream_label = "b"} '
    ": (tensor<4xf32>) -> tensor<4xf32>",
    "ge.NetOutput([%1, %2]) : (tensor<4xf32>, tensor<4xf32>) -> ()",
    "}",
)


def test_a_deadlock_of_collectives_is_found_in_a_graph_file(tmp_path: Path) -> None:
    from torchair.tools.opt import TorchairOptMain

    path = tmp_path / "graph.air"
    path.write_bytes(serialize(emit(parse(*COLLECTIVES))))
    with pytest.raises(Exception, match="collectives of group 'tp' run in one order"):
        TorchairOptMain([str(path), "-p", "verify-schedule"]).run()
    VerifySchedulePass().apply(Context(), load(serialize(emit(labelled_ge()))))


def reduced(*names: str) -> ModuleOp:
    kind = "(tensor<4xf32>) -> tensor<4xf32>"
    lines = [
        f'%{n} = _c10d_functional.all_reduce(%x, reduce_op = "sum", group_name = "{name}") : {kind}'
        for n, name in enumerate(names)
    ]
    return parse("func.func @f(%x: tensor<4xf32>) {", *lines, "func.return", "}")


def test_the_order_of_collectives_has_a_digest() -> None:
    count, digest = read_schedule(reduced("tp", "dp"), "host").collectives
    assert count == 2
    assert read_schedule(reduced("tp", "dp"), "ascend910b").collectives[1] == digest
    assert read_schedule(reduced("dp", "tp"), "host").collectives[1] != digest


def labelled_ge() -> ModuleOp:
    module = labelled(3)
    ScheduleStreamsPass().apply(Context(), module)
    ConvertAtenToGePass().apply(Context(), module)
    return module


def test_a_cycle_in_a_graph_file_is_refused(tmp_path: Path) -> None:
    model = emit(labelled_ge())
    nodes = [op for op in model.graph[0].op if op.type == "Exp"]
    nodes[0].input.append(f"{nodes[-1].name}:-1")
    with pytest.raises(ArtifactError, match="cycle"):
        load(model.SerializeToString())


def test_labels_beyond_the_limit_of_the_device_are_counted() -> None:
    module = labelled(40)
    with pytest.raises(VerifyError, match="the graph needs 41 streams, the device allows 32"):
        module.attributes["stream.sync"] = parse_label("data")
        VerifySchedulePass(target="ascend310p").apply(Context(), module)
