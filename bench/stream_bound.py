"""A proved lower bound of schedules on a few streams, sharper than work and critical path alone.

Three arguments, each for the streams of ``Problem`` that fork from the first and join it again:

- Between the end of a task p and the start of a task t lies the work of all tasks after p and
  before t. At most one stream has the whole span for it: any other needs an event after p to begin,
  and its event before t to end.
- Of the tasks that a task waits for, those on other streams come an event later, and those on its
  own stream came one after the other.
- In any span of time, the parts of the tasks that must lie in it, given the earliest start and the
  latest end of each, fit on the streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchair.passes.scheduling.problem import Problem, lower_bound
from torchair.passes.scheduling.reduction import reduce_problem

Times = NDArray[np.floating[Any]]

LARGEST = 700
"""Tasks that take time, above which only ``lower_bound`` is computed: the rest is cubic."""
LARGEST_FOR_SPANS = 300
STEPS = 12
"""Halvings in the search for the longest impossible makespan."""


def proved_bound(problem: Problem) -> float:
    """No schedule of a problem is shorter, in microseconds.

    Args:
        problem: tasks that may run on any stream; where tasks have a stream already, the bound
            holds as well.
    """
    small = reduce_problem(problem).problem
    simple = lower_bound(problem)
    if not 1 < small.count < len(small.costs) <= LARGEST:
        return simple
    costs = np.array(small.costs)
    after = small.after()
    mirror = [[len(after) - 1 - task for task in users] for users in reversed(after)]
    ancestors = _ancestors(small.before)
    first = _earliest_starts(costs, small.before, ancestors, small)
    last = _earliest_starts(costs[::-1], mirror, ancestors.T[::-1, ::-1], small)[::-1]
    best = max(simple, float((first + costs + last).max()))
    if len(costs) > LARGEST_FOR_SPANS:
        return best
    return _longest_impossible(first, last, costs, small.count, best)


def _ancestors(before: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """``found[t, p]``: whether task t comes after task p."""
    found = np.zeros((len(before), len(before)), bool)
    for task, earlier in enumerate(before):
        for source in earlier:
            found[task] |= found[source]
            found[task, source] = True
    return found


def _earliest_starts(
    costs: Times, before: Sequence[Sequence[int]], ancestors: NDArray[np.bool_], problem: Problem
) -> Times:
    """When each task starts at the earliest (or, in the mirror, how long it is from its end to the
    end of the function)."""
    comes_after = ancestors.astype(float)
    between = (comes_after.T * costs) @ comes_after.T
    spans = _shortest_spans(between, problem.count, problem.event, problem.event)
    opening = _shortest_spans(comes_after @ costs, problem.count, problem.fork, problem.event)
    starts, ends = np.zeros_like(costs), np.zeros_like(costs)
    for task, earlier in enumerate(before):
        start = opening[task]
        if earlier:
            sources = np.nonzero(ancestors[task])[0]
            start = max(
                start,
                float((ends[sources] + spans[sources, task]).max()),
                _last_arrival(earlier, starts, costs, problem.event),
            )
        starts[task], ends[task] = start, start + costs[task]
    return starts


def _shortest_spans(work: Times, count: int, begin: float, end: float) -> Times:
    """The least time in which the streams do some work, when all but one lose `begin` at its start
    and all but one lose `end` at its end."""

    def capacity(span: Times) -> Times:
        rest = np.maximum(0.0, span - begin - end)
        same = span + (count - 1) * rest
        others = np.maximum(0.0, span - begin) + np.maximum(0.0, span - end) + (count - 2) * rest
        return np.maximum(same, others)

    low, high = np.zeros_like(work), work.copy()
    for _ in range(40):
        middle = (low + high) / 2
        fits = capacity(middle) >= work
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    return low


def _last_arrival(earlier: Sequence[int], starts: Times, costs: Times, event: float) -> float:
    """When a task starts at the earliest, whichever of those it needs are on its stream."""
    latest_first = sorted(earlier, key=lambda task: -(starts[task] + costs[task]))
    ends = [float(starts[task] + costs[task]) for task in latest_first]
    best = ends[0] + event
    for size in range(1, len(earlier) + 1):
        own = 0.0
        for task in sorted(latest_first[:size], key=starts.__getitem__):
            own = max(own, float(starts[task])) + float(costs[task])
        best = min(best, max(own, ends[size] + event if size < len(earlier) else 0.0))
    return best


def _longest_impossible(
    first: Times, last: Times, costs: Times, count: int, possible: float
) -> float:
    """The longest makespan found that no schedule has."""
    low, high = possible, 1.5 * possible
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _fits(first, middle - last, costs, count):
            high = middle
        else:
            low = middle
    return low


def _fits(first: Times, due: Times, costs: Times, count: int) -> bool:
    """Whether, in every span, what must be done in it is not more than the streams can do."""
    begins = np.unique(np.concatenate([first, due - costs]))
    ends = np.unique(np.concatenate([due, first + costs]))
    for begin in begins:
        later = ends[ends > begin]
        length = (later - begin)[:, None]
        early = np.clip(first + costs - begin, 0.0, costs)
        late = np.clip(later[:, None] - due + costs, 0.0, costs)
        needed = np.minimum(np.minimum(early, late), length).sum(1)
        if (needed > count * length[:, 0] + 1e-6).any():
            return False
    return True
