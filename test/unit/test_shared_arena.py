"""Programs that take turns in one arena: results are eager's, memory is that of the largest run."""

from __future__ import annotations

import random
import threading

import torch
from recorded_programs import assert_identical, record
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

from torchair import _native
from torchair.backend_ge.host.program import Program

aten = torch.ops.aten


def body(x: Tensor) -> Tensor:
    """Needs three tensors of its input's size at one time."""
    y = x.cos() + x
    return (y.sin() * y + x).sum(0)


def inputs_of(rows: int) -> Tensor:
    return torch.linspace(-2, 2, rows * 8).view(rows, 8)


def planned(rows: int, arena: _native.Arena) -> Program:
    x = inputs_of(rows)
    program = Program(record(body, [x])[0], arena=arena)
    assert program.plan([x]) and program.arena_bytes > 0
    return program


def check(program: Program, rows: int) -> None:
    assert_identical(program.run([inputs_of(rows)])[0], body(inputs_of(rows)))


def test_memory_is_that_of_the_largest_run():
    arena = _native.Arena()
    programs = {rows: planned(rows, arena) for rows in (3, 50, 7, 20)}
    assert arena.bytes_reserved == 0, "planning runs have no place in it"
    largest = 0
    for rows in (3, 50, 7, 3, 20, 50, 7):
        check(programs[rows], rows)
        largest = max(largest, -(-programs[rows].arena_bytes // 64) * 64)
        assert arena.bytes_reserved == largest


def test_outputs_stay_when_another_program_runs():
    arena = _native.Arena()
    first, second = planned(20, arena), planned(50, arena)
    kept = first.run([inputs_of(20)])[0]
    check(second, 50)
    check(first, 20)
    assert_identical(kept, body(inputs_of(20)))


def test_programs_without_planned_values_take_nothing():
    arena = _native.Arena()
    program = Program(record(lambda x: x + 1, [inputs_of(3)])[0], arena=arena)
    for _ in range(4):
        assert_identical(program.run([inputs_of(3)])[0], inputs_of(3) + 1)
    assert arena.bytes_reserved == 0


def test_arena_outlives_the_programs_that_use_it_last():
    arena = _native.Arena()
    program = planned(20, arena)
    check(program, 20)
    del arena
    check(program, 20)


def test_threads_have_a_block_each():
    arena = _native.Arena()
    programs = {rows: planned(rows, arena) for rows in (3, 20, 50)}
    failures: list[int] = []

    def work(seed: int) -> None:
        order = random.Random(seed)
        for _ in range(60):
            rows = order.choice(list(programs))
            if not torch.equal(programs[rows].run([inputs_of(rows)])[0], body(inputs_of(rows))):
                failures.append(rows)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert arena.bytes_reserved <= 4 * (-(-programs[50].arena_bytes // 64) * 64)


def test_a_kernel_may_run_a_program_of_the_same_arena():
    arena = _native.Arena()
    inner = planned(20, arena)
    library = torch.library.Library("torchair_arena_test", "DEF")
    library.define("run_inner(Tensor x) -> Tensor")
    library.impl("run_inner", lambda x: inner.run([x])[0], "CompositeExplicitAutograd")
    run_inner = torch.ops.torchair_arena_test.run_inner.default

    def outer(x: Tensor) -> Tensor:
        y = x.cos() + x
        z = y.sin() * 2
        return run_inner(x) + (y * z).sum(0)

    trace, expected = record(outer, [inputs_of(20)])
    program = Program(trace, arena=arena)
    for _ in range(5):
        assert_identical(program.run([inputs_of(20)])[0], expected[0])
    assert program.is_planned


def test_captures_of_one_graph_share_memory():
    compiled, backend = compile_for_replay(body, dynamic=True)
    sizes = (30, 64, 90)
    with torch.no_grad():
        for _ in range(4):
            for rows in sizes:
                assert same_bits(compiled(inputs_of(rows)), body(inputs_of(rows)))
    graph = captured(backend)
    assert len(graph.captures) == len(sizes) and graph.pool is not None
    largest = 3 * 90 * 8 * 4
    assert graph.pool.arena.bytes_reserved == largest
