"""The proved bound of ``bench/stream_bound.py`` against all schedules of tiny problems."""

from __future__ import annotations

import itertools
import random
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.context import Context

from torchair.passes.schedule_streams import ScheduleStreamsPass
from torchair.passes.scheduling.list_schedule import list_schedule
from torchair.passes.scheduling.planned import read_schedule
from torchair.passes.scheduling.problem import Problem, joined, lower_bound, simulate
from torchair.passes.verify_schedule import VerifySchedulePass

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from stream_bound import proved_bound
from stream_graphs import GRAPHS

LARGE = ("8 layers", "9 blocks", "16 layers", "64 experts", "deep", "50 x", "100 x", "200 x", "300")
SMALL = [name for name in GRAPHS if not any(part in name for part in LARGE)]


def random_problem(r: random.Random, size: int, count: int) -> Problem:
    """Tasks that fork from the first stream and join it again."""
    costs = [r.choice((1.0, 2.5, 4.0)) for _ in range(size)]
    before = [sorted(r.sample(range(n), r.randint(0, min(2, n)))) for n in range(size)]
    event = r.choice((0.0, 0.5, 3.0))
    fixed = [*[-1] * size, 0]
    return Problem(
        [*costs, 0.0], [*before, [*range(size)]], fixed, range(count), count, event, event
    )


def shortest(problem: Problem) -> float:
    """The shortest makespan of all orders and placements."""
    size = len(problem.costs) - 1
    best = float("inf")
    for order in itertools.permutations(range(size)):
        place = {task: number for number, task in enumerate(order)}
        if any(place[s] > place[t] for t in order for s in problem.before[t]):
            continue
        for streams in itertools.product(range(problem.count), repeat=size):
            plan = simulate(problem, [*streams, 0], [*order, size])
            best = min(best, plan.makespan)
    return best


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 5), st.integers(2, 3))
def test_no_schedule_is_shorter_than_the_proved_bound(
    r: random.Random, size: int, count: int
) -> None:
    problem = random_problem(r, size, count)
    bound, optimum = proved_bound(problem), shortest(problem)
    assert lower_bound(problem) <= bound <= optimum + 1e-6
    assert list_schedule(problem).makespan >= optimum - 1e-6


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(10, 40), st.integers(2, 4))
def test_no_plan_is_shorter_than_the_proved_bound(r: random.Random, size: int, count: int) -> None:
    problem = random_problem(r, size, count)
    assert proved_bound(problem) <= list_schedule(problem).makespan + 1e-6


@pytest.mark.parametrize(("count", "optimum"), [(2, 10.0), (4, 8.0)])
def test_work_that_begins_and_ends_alone_is_proved_to_take_longer(
    count: int, optimum: float
) -> None:
    """One task, then six at once, then one: the six need two or three rounds."""
    costs = [2.0] * 8 + [0.0]
    before = [[], *[[0]] * 6, [*range(1, 7)], [7]]
    problem = Problem(costs, before, [*[-1] * 8, 0], range(count), count, 0.0)
    assert list_schedule(problem).makespan == optimum
    assert lower_bound(problem) == max(6.0, 16.0 / count)
    assert proved_bound(problem) > optimum - 1.1


@pytest.mark.parametrize("count", [2, 4])
def test_schedules_of_the_bench_graphs_are_near_their_bounds(count: int) -> None:
    ratios: list[float] = []
    for name in SMALL:
        module = GRAPHS[name]()
        ScheduleStreamsPass(streams=str(count), sync="events").apply(Context(), module)
        VerifySchedulePass().apply(Context(), module)
        schedule = read_schedule(module, "ascend910b")
        costs = [task.cost.time for task in schedule.tasks]
        free = [-1] * len(costs)
        event = schedule.event
        before = joined(schedule.before)
        problem = Problem(costs, before, free, range(count), count, event, event)
        ratios.append(schedule.makespan / lower_bound(problem))
        assert schedule.makespan <= schedule.work
        assert 1 - 1e-9 <= schedule.makespan / proved_bound(problem) <= 1.05, name
    assert statistics.median(ratios) <= 1.05
