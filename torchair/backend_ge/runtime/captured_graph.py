"""A graph of mode reduce-overhead: the cache of its captures, and what happens to each call.

A call with a known key replays its capture. An unknown key is captured, until the limit is reached:
from then on calls with unknown keys run eagerly, with a warning that says what changed.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._C._dynamo.guards import TensorGuards
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import _disable_current_modes

from torchair.backend_ge.host.timed_run import TIMED_RUNS, TimedCall, timed_run
from torchair.backend_ge.runtime import host_values
from torchair.backend_ge.runtime.aten_graph import AtenGraph
from torchair.backend_ge.runtime.capture import Capture, CapturePolicy
from torchair.backend_ge.runtime.capture_key import CaptureKey, key_of, key_of_specs, nearest
from torchair.backend_ge.runtime.interpret import Observer, interpret
from torchair.backend_ge.runtime.specialise import (
    Composite,
    SpecialiseOptions,
    TensorSpec,
    specialise,
    trace_calls,
)
from torchair.backend_ge.runtime.staging import StagingPool, pool_of
from torchair.backend_ge.runtime.statistics import log_statistics
from torchair.backend_ge.runtime.update_slots import UpdateSlots

COUNTERS = "npugraph_ex"
"""Group of ``torch._dynamo.utils.counters`` in which captures are counted."""

HISTORY = 64
"""Captures and eager calls that are remembered with their reason."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Options of capture and replay; names as in ``CompilerConfig``.

    Args:
        limit: live captures of the graph (``static_capture_size_limit``).
        policy: treatment of inputs and outputs.
        frozen_parameter: parameters are constants of the captures.
        force_recapture: capture anew on every call.
        run_eagerly: never capture.
        pool: handle of a shared pool (``use_custom_pool``).
        share_pool: captures of the graph lie on top of each other.
        reinplace_values: see ``specialise``.
        composite: operators that are traced into others.
        observer: makes what sees every call of a graph that runs eagerly because of it.
    """

    limit: int = 64
    policy: CapturePolicy = CapturePolicy()  # noqa: RUF009
    frozen_parameter: bool = False
    force_recapture: bool = False
    run_eagerly: bool = False
    pool: tuple[int, ...] | None = None
    share_pool: bool = True
    reinplace_values: bool = True
    composite: Composite = lambda op: None
    observer: Callable[[], Observer] | None = None


@dataclass(slots=True)
class CaptureCounts:
    """What has happened to the calls of one graph.

    Args:
        captures: captures made, recaptures included.
        recaptures: captures made although the key was known.
        replays: calls that replayed a capture.
        eager: calls that ran operator by operator.
        history: what each capture was made for, or why a call was not captured; newest last.
    """

    captures: int = 0
    recaptures: int = 0
    replays: int = 0
    eager: int = 0
    history: list[str] = field(default_factory=list[str])


class CapturedGraph:
    """An aten graph with its captures. Any number of threads may call it.

    Args:
        graph: the graph.
        name: for messages and counters.
        options: see there.
        strides: from all arguments of a call to the wanted strides of each output.

    Raises:
        UnsupportedOpError: a number or shape depends on tensor data.
    """

    def __init__(
        self,
        graph: AtenGraph,
        name: str,
        options: CaptureOptions,
        strides: Callable[[Sequence[Any]], list[tuple[int, ...] | None]],
    ) -> None:
        self._is_eager = options.run_eagerly or options.observer is not None
        if not self._is_eager:
            host_values.refuse_device_values(graph)
        self.graph, self.name, self.options = graph, name, options
        self.counts = CaptureCounts()
        self.host_values = host_values.decide(graph, numbers=not options.policy.is_on_npu)
        self._strides = strides
        self._positions = [argument.position for argument in graph.arguments]
        self._frozen = self._freezable() if options.frozen_parameter else frozenset[int]()
        self._ignored = self._frozen | self.host_values.slots
        self._tensors = [
            i for i in range(len(self._positions)) if i not in graph.scalars | self._frozen
        ]
        self._guards = sorted(self.host_values.guards)
        self._lock = threading.RLock()
        self._captures: dict[CaptureKey, Capture] = {}
        self._latest: tuple[Any, list[Any], Capture] | None = None
        self._pool: StagingPool | None = None
        self._traced: tuple[list[Any], SpecialiseOptions] | None = None
        self._has_warned = False
        live_graphs.add(self)

    def _freezable(self) -> frozenset[int]:
        written = {
            value.index
            for call in self.graph.calls
            if not call.on_host and call.is_mutable
            for value in call.values()
        }
        weights = (i for i, a in enumerate(self.graph.arguments) if a.is_weight)
        return frozenset(weights) - written

    @property
    def captures(self) -> list[Capture]:
        """The live captures."""
        return list(self._captures.values())

    @property
    def pool(self) -> StagingPool | None:
        """The pool of the latest capture."""
        return self._pool

    def run(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        """Results of one call.

        Args:
            arguments: all arguments of the imported function; those written are written.

        Raises:
            EngineError: naming the operator and the source line.
        """
        if torch._C._len_torch_dispatch_stack():  # a mode would see, and change, every call
            with _disable_current_modes():
                return self._run(arguments)
        return self._run(arguments)

    def _run(self, arguments: Sequence[Any]) -> list[torch.Tensor]:
        inputs = [arguments[position] for position in self._positions]
        outputs = None
        while outputs is None:
            capture = self._find(inputs, arguments)
            if capture is None:
                self.counts.eager += 1
                observer = self.options.observer
                return interpret(self.graph, inputs, None if observer is None else observer())
            outputs = capture.replay(inputs)
            if outputs is None:  # another thread has dropped it
                self._latest = None
        self.counts.replays += 1
        if self.options.policy.log_statistics:
            log_statistics(self.name, self.graph, inputs, outputs)
        return outputs

    def _find(self, inputs: list[Any], arguments: Sequence[Any]) -> Capture | None:
        """The capture for these inputs; None when the call is to run eagerly."""
        if self._is_eager:
            return None
        tensors = [inputs[i] for i in self._tensors]
        numbers = [inputs[i] for i in self._guards]
        latest = self._latest
        if latest is not None and latest[1] == numbers and latest[0].check(*tensors):
            return latest[2]
        capture = self._look_up(inputs, arguments)
        if capture is not None and tensors and not self.options.force_recapture:
            self._latest = (_guards_of(tensors), numbers, capture)
        return capture

    def _look_up(self, inputs: list[Any], arguments: Sequence[Any]) -> Capture | None:
        key = key_of(inputs, self._ignored)
        capture = self._captures.get(key)
        if capture is not None and not self.options.force_recapture:
            return capture
        with self._lock:
            capture = self._captures.get(key)
            if capture is not None and not self.options.force_recapture:
                return capture
            if capture is None and len(self._captures) >= self.options.limit:
                self._warn_limit(key)
                return None
            return self._capture(key, inputs, arguments)

    def _capture(self, key: CaptureKey, inputs: list[Any], arguments: Sequence[Any]) -> Capture:
        specs = [TensorSpec.of(v) if isinstance(v, torch.Tensor) else v for v in inputs]
        frozen = {index: inputs[index].detach() for index in self._frozen}
        old = self._captures.get(key)
        made = self._build(key, specs, frozen, self._strides(arguments))
        counters[COUNTERS][f"captured_{self.name}"] += 1
        if old is not None:
            old.close()
            self.counts.recaptures += 1
            counters[COUNTERS][f"recapture_due_to_force_recapture_{self.name}"] += 1
        return made

    def _build(
        self,
        key: CaptureKey,
        specs: list[Any],
        frozen: dict[int, torch.Tensor],
        strides: list[tuple[int, ...] | None],
    ) -> Capture:
        options = self.options
        slots = UpdateSlots(self.graph, self.host_values)
        chosen = SpecialiseOptions(
            frozen=frozen,
            slots=slots if self.host_values.uses else None,
            strides=strides,
            composite=options.composite,
            reinplace_values=options.reinplace_values,
        )
        self._traced = specs, chosen
        try:
            specialised = specialise(self.graph, specs, chosen)
        except BaseException:
            slots.close()
            raise
        if self._pool is None or not options.share_pool:
            self._pool = pool_of(options.pool)
        made = Capture(
            *(self.graph, key, specialised, specs, frozen, slots, self._pool, options.policy),
            on_move=self._note_move,
        )
        reason = nearest(self.graph.arguments, list(self._captures), key)
        self._note(f"captured: {reason}")
        self._captures[key] = made
        self.counts.captures += 1
        return made

    def timed_calls(self) -> list[tuple[TimedCall, str, str | None]]:
        """Every call of a run with a clock, with its operator and source line.

        The run takes made-up inputs of the geometry that was captured last; it is empty before any
        capture, and where numbers are updated before each replay.
        """
        if self._traced is None or self._traced[1].slots is not None:
            return []
        trace, _, positions = trace_calls(self.graph, *self._traced)
        inputs = [self._traced[0][i].make() for i in positions]
        for tensor in inputs:
            tensor.fill_(1 if tensor.is_floating_point() else 0)
        found, _ = timed_run(trace, inputs, repeats=TIMED_RUNS)
        calls = self.graph.calls
        last = len(calls) - 1
        origins = [calls[min(call.origin, last)] for call in found]
        return [
            (call, origin.origin or origin.name, origin.source)
            for call, origin in zip(found, origins, strict=True)
        ]

    def prepare(self, arguments: Sequence[Any]) -> None:
        """Capture for a call without making it, if that is not done yet.

        Args:
            arguments: a ``TensorSpec`` or number per argument of the imported function.
        """
        if self._is_eager or self._frozen:  # frozen parameters are there in a call only
            return
        inputs = [arguments[position] for position in self._positions]
        with self._lock:
            key = key_of_specs(inputs, self._ignored)
            if key in self._captures or len(self._captures) >= self.options.limit:
                return
            self._build(key, inputs, {}, self._strides(arguments))

    def _warn_limit(self, key: CaptureKey) -> None:
        changed = nearest(self.graph.arguments, list(self._captures), key)
        self._note(f"eager: {changed}")
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"{self.name}: the limit of {self.options.limit} captures is reached; calls with new "
            f"keys run eagerly from now on. This call differs from the nearest capture in {changed}"
            f"\nTry: pad inputs to fewer sizes (torchair.inference.set_dim_gears), or raise "
            f"config.debug.aclgraph.static_capture_size_limit",
            UserWarning,
            stacklevel=2,
        )

    def _note_move(self, names: list[str], is_written: bool) -> None:
        """A capture with fixed addresses is made again."""
        why = "mutated_input" if is_written else "parameter_or_input"
        self._note(f"captured again: {', '.join(names)} moved")
        self.counts.captures += 1
        self.counts.recaptures += 1
        counters[COUNTERS][f"captured_{self.name}"] += 1
        counters[COUNTERS][f"recapture_due_to_{why}_change_{self.name}"] += 1

    def _note(self, what: str) -> None:
        self.counts.history.append(what)
        del self.counts.history[:-HISTORY]

    def reset(self) -> None:
        """Drop all captures; the next call captures again."""
        with self._lock:
            for capture in self._captures.values():
                capture.close()
            self._captures, self._latest, self._pool = {}, None, None
            self._has_warned = False

    def __str__(self) -> str:
        counts = self.counts
        staged = sum(capture.staged_bytes for capture in self.captures)
        pool = 0 if self._pool is None else self._pool.bytes_reserved
        lines = [
            f"{len(self._captures)} live captures, {counts.captures} made ({counts.recaptures} "
            f"recaptures), {counts.replays} replays, {counts.eager} eager calls",
            f"{staged} bytes of inputs staged, pool of {pool} bytes",
        ]
        return "\n".join([*lines, *self.host_values.lines, *counts.history[-8:]])


live_graphs: weakref.WeakSet[CapturedGraph] = weakref.WeakSet()
"""Every graph of the process that may hold captures."""


def _guards_of(tensors: list[torch.Tensor]) -> Any:
    """A native check that tensors are like these: dtype, device, sizes, strides, dispatch keys."""
    sizes: Any = [list(tensor.shape) for tensor in tensors]
    strides: Any = [list(tensor.stride()) for tensor in tensors]
    return TensorGuards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides)
