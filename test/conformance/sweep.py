"""Runs groups of samples in worker processes, which may die, and collects their outcomes."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import resource
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from conformance.harness import CRASH, TIMEOUT, Outcome, run_sample
from conformance.samples import Group, samples_of

RSS_LIMIT = 3 << 20
"""Kilobytes of resident memory after which a worker is replaced."""

CAPTURE = {"capture_scalar_outputs": True, "capture_dynamic_output_shape_ops": True}
"""Dynamo settings that let sizes depend on data."""


@dataclass(frozen=True)
class Plan:
    """What to run and how thoroughly.

    Args:
        limit: samples per group of static shapes; None is all.
        dynamic_limit: samples per group of dynamic shapes; None is all.
        inplace_limit: samples per in-place group.
        dynamo: how many of a group's samples go through ``torch.compile``; the others take the
            direct path. None is all.
        seconds: CPU time limit of a sample.
        processes: worker processes.
    """

    limit: int | None = 4
    dynamic_limit: int | None = 2
    inplace_limit: int | None = 1
    dynamo: int | None = 1
    seconds: float = 60.0
    processes: int = 1

    def limit_of(self, group: Group) -> int | None:
        """How many samples of a group run."""
        if group.inplace:
            return self.inplace_limit
        return self.dynamic_limit if group.mode == "dynamic" else self.limit

    @property
    def patience(self) -> float:
        """Wall time without a word from a worker after which it hangs: even a busy machine gives it
        the CPU time of a few samples by then."""
        return 60 + 10 * self.seconds

    def path(self, position: int) -> str:
        """The path of the sample at a position of its group."""
        return "dynamo" if self.dynamo is None or position < self.dynamo else "direct"


def prepare_process() -> None:
    """Settings of every process that runs samples: one thread, quiet, data-dependent shapes on."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    for name, value in CAPTURE.items():
        setattr(torch._dynamo.config, name, value)


def run_group(group: Group, plan: Plan, first: int = 0) -> Iterator[Callable[[], Outcome]]:
    """Each sample of a group from position ``first`` on, as a call that runs it."""
    for position, (index, sample) in enumerate(samples_of(group, plan.limit_of(group)).items()):
        if position >= first:
            path = plan.path(position)
            yield lambda i=index, s=sample, p=path: run_sample(group, i, s, p, plan.seconds)


def sweep(
    groups: Iterable[Group], plan: Plan, observe: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Run all groups; outcomes in the order they finish.

    Args:
        groups: what to run.
        plan: how.
        observe: called with every outcome as it arrives.
    """
    queue = deque((group, 0) for group in groups)
    outcomes: list[Outcome] = []

    def record(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if observe is not None:
            observe(outcome)

    workers = [_Worker(plan) for _ in range(max(1, min(plan.processes, len(queue))))]
    try:
        while queue or any(w.group is not None for w in workers):
            for worker in workers:
                if worker.group is None and queue:
                    worker.send(*queue.popleft())
            _collect(workers, queue, record)
    finally:
        for worker in workers:
            worker.stop()
    return outcomes


def _collect(
    workers: list[_Worker], queue: deque[tuple[Group, int]], record: Callable[[Outcome], None]
) -> None:
    """Wait for news from any worker and handle it."""
    busy = [w for w in workers if w.group is not None]
    ready = multiprocessing.connection.wait([w.pipe for w in busy], timeout=1.0)
    for worker in busy:
        if worker.pipe in ready:
            worker.receive(record)
        elif time.monotonic() > worker.deadline:
            worker.hangs = True
            worker.process.kill()
        if worker.died:
            group, position = worker.restart(record)
            queue.appendleft((group, position))


@dataclass
class _Worker:
    """A process and the group it is working on."""

    plan: Plan
    group: Group | None = None
    position: int = 0
    deadline: float = 0.0
    died: bool = False
    hangs: bool = False
    process: Any = field(init=False)
    pipe: Any = field(init=False)

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.plan), daemon=True)
        self.process.start()
        theirs.close()
        self.died = self.hangs = False

    def send(self, group: Group, position: int) -> None:
        if not self.process.is_alive():
            self._start()
        self.group, self.position = group, position
        self.deadline = time.monotonic() + self.plan.patience
        self.pipe.send((group, position))

    def receive(self, record: Callable[[Outcome], None]) -> None:
        try:
            message = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            self.died = True
            return
        self.deadline = time.monotonic() + self.plan.patience
        if isinstance(message, Outcome):
            self.position += 1
            record(message)
            return
        self.group = None
        if message == "full":
            self.process.join()
            self._start()

    def restart(self, record: Callable[[Outcome], None]) -> tuple[Group, int]:
        """Record the sample that killed the process; returns where the group goes on."""
        assert self.group is not None
        group, position = self.group, self.position
        indices = list(samples_of(group, self.plan.limit_of(group)))
        if position < len(indices):  # else it died between its last sample and saying so
            status, cause = CRASH, f"the process died (exit code {self.process.exitcode})"
            if self.hangs:
                status, cause = TIMEOUT, f"nothing for {self.plan.patience:.0f} s"
            where = (group.op, group.dtype, group.mode, group.inplace)
            path = self.plan.path(position)
            record(Outcome(*where, path, indices[position], status, cause))
        self.group = None
        self._start()
        return group, position + 1

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(pipe: Any, plan: Plan) -> None:
    """The worker process: groups in, outcomes out."""
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare_process()
    while True:
        try:
            group, first = pipe.recv()
        except EOFError:
            return
        for run in run_group(group, plan, first):
            pipe.send(run())
        torch._dynamo.reset()
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > RSS_LIMIT:
            pipe.send("full")
            return
        pipe.send("done")
