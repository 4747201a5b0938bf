"""Native programs: a flat list of traced ATen calls that runs in C++ without Python per call.

``Program(trace)`` chooses a route for every call (call_routes.py), numbers tensors as registers
that are freed at their last use (emission.py), and hands the result to the native executor. Its
second run is observed, and memory is planned from that (planning.py); inputs of the same layout run
the planned program from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchair import _native
from torchair.backend_ge.host.aten_schema import bind_arguments, schema_of
from torchair.backend_ge.host.call_routes import DispatcherRoute, ProxyRoute, PythonRoute
from torchair.backend_ge.host.emission import Emitted, emit
from torchair.backend_ge.host.lowered import Lowered, lower
from torchair.backend_ge.host.planning import plan_memory
from torchair.backend_ge.host.proxy import Proxy, from_capsules, to_capsules
from torchair.backend_ge.host.schedule import Schedule, schedule_of
from torchair.backend_ge.host.trace import AtenCall, Slot, Trace

__all__ = ["AtenCall", "BoundProgram", "Program", "ProgramError", "Slot", "Trace"]

_ROUTE_NAMES = {ProxyRoute: "proxy", DispatcherRoute: "dispatcher", PythonRoute: "python"}
_BELOW_AUTOGRAD = ("ADInplaceOrView", "AutogradOther", "AutogradFunctionality")
_BELOW_AUTOGRAD += ("AutogradNestedTensor",)


class ProgramError(RuntimeError):
    """A call failed. The message has torch's text; ``origin`` is the call's, ``op`` its name."""

    def __init__(self, origin: int, op: str, text: str) -> None:
        super().__init__(f"{op}: {text}")
        self.origin = origin
        self.op = op


class _Version:
    """One native form of a program, with what Python needs to know of its instructions."""

    def __init__(self, trace: Trace, lowered: Lowered, emitted: Emitted) -> None:
        calls = [trace.calls[index] for index in emitted.calls]
        self.native = emitted.native
        self.results = emitted.results
        self._origins = [(call.origin, str(call.op)) for call in calls]
        self._proxy: Proxy | None = lowered.proxy  # keeps the executor alive

    @property
    def labels(self) -> list[str]:
        return [op for _, op in self._origins]

    def error(self, error: _native.OperatorError) -> ProgramError:
        """The same with the call's origin."""
        instruction, text = error.args
        origin, op = self._origins[instruction]
        return ProgramError(origin, op, text)


class Program:
    """An immutable program. Any number of threads may run it at once, and it may run itself.

    What calls compute never requires grad, whatever the inputs and the grad mode. The caller sees
    writes to inputs as in eager, and autograd counts them. An output that is an input or a constant
    is that very tensor, not a copy. Outputs are new tensors in every run.

    Args:
        trace: the calls.
        plan: whether memory is planned once the program has run twice.
        arena: where runs have their planned memory, in turns with those of other programs; None:
            in memory that the program keeps. Launches and runs of bound programs keep theirs.

    Raises:
        ValueError: the trace is malformed, e.g. uses a slot before its definition, or waits for an
            event before its record.

    ``routes`` has the route of every call: "proxy", "dispatcher" or "python".
    """

    def __init__(self, trace: Trace, plan: bool = True, arena: _native.Arena | None = None) -> None:
        self._schedule = schedule_of(trace.calls)
        if self._schedule.n_streams > 1:
            _prepare_workers()
        lowered = lower(trace)
        _check_order(lowered, self._schedule)
        self.routes = [_ROUTE_NAMES[type(call.route)] for call in lowered.calls]
        self._plain = _Version(trace, lowered, emit(lowered, self._schedule))
        self._planned: _Version | None = None
        self._arena = arena
        copy = Trace(trace.inputs, trace.constants, list(trace.calls), trace.outputs)
        self._to_plan = (copy, lowered) if plan else None  # given up with the plan
        self._arena_bytes = self._max_live_bytes = 0
        self._products: list[int] = []
        self._n_inputs = len(trace.inputs)
        self._written_inputs = _written_inputs(trace)
        self._viewed_inputs: list[int] = []
        self._runs_before_plan = 1 if plan else -1
        self._planning = threading.Lock()

    @property
    def is_planned(self) -> bool:
        """Whether there is a memory plan already."""
        return self._planned is not None

    @property
    def n_streams(self) -> int:
        """How many streams the calls are on."""
        return self._schedule.n_streams

    @property
    def instructions(self) -> list[str]:
        """Operators of the calls that a run makes, in order: views made once are not among them."""
        return (self._planned or self._plain).labels

    @property
    def products(self) -> list[int]:
        """Calls, by their place in the trace, that the planned program computes without torch."""
        return list(self._products)

    @property
    def arena_bytes(self) -> int:
        """Size of the planned memory of one run; 0 before there is a plan."""
        return self._arena_bytes

    @property
    def max_live_bytes(self) -> int:
        """The most that is alive at one time of what the arena holds."""
        return self._max_live_bytes

    def run(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs the program with the GIL released.

        Raises:
            ValueError: a wrong number of inputs.
            ProgramError: a call failed. Writes to inputs that it or earlier calls made remain.
        """
        inputs = list(inputs)
        if len(inputs) != self._n_inputs:
            raise ValueError(f"the program takes {self._n_inputs} inputs, not {len(inputs)}")
        if torch._C._len_torch_dispatch_stack():
            with _disable_current_modes():  # AOT watches first calls that have custom operators
                return self.run(inputs)
        if torch._C._is_any_autocast_enabled():
            with torch._C._DisableAutocast(), torch._C._AutoDispatchBelowADInplaceOrView():
                return from_capsules(self._run(inputs))
        with torch._C._AutoDispatchBelowADInplaceOrView():
            return from_capsules(self._run(inputs))

    def plan(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Plans memory for inputs like these, by a run on copies of those that it writes.

        The state of the default generator stays as it is. Returns whether there is a plan.
        """
        inputs = [_copy(x) if i in self._written_inputs else x for i, x in enumerate(inputs)]
        generator = torch.default_generator.get_state()
        try:
            below_autograd = torch._C._AutoDispatchBelowADInplaceOrView()
            with torch._C._DisableAutocast(), below_autograd, self._planning:
                if self._to_plan is not None:
                    self._observe(to_capsules(list(inputs)))
        finally:
            torch.default_generator.set_state(generator)
        return self._planned is not None

    def bind(
        self, tensors: Mapping[int, torch.Tensor], pool: _native.runtime.MemoryPool | None = None
    ) -> BoundProgram:
        """The program with some inputs given for good.

        Args:
            tensors: inputs by position.
            pool: where the arena comes from; None: from the system.
        """
        return BoundProgram(self, dict(tensors), pool)

    def _run(self, inputs: list[torch.Tensor]) -> list[_native.Capsule]:
        capsules = to_capsules(inputs)
        version = self._plain
        try:
            if self._planned is not None and not self._is_negated(inputs):
                version = self._planned
                outputs = version.native.run(capsules)
                if outputs is not None:
                    return outputs
                version = self._plain
            elif self._is_turn_to_plan():
                return self._observe_and_release(capsules)
            outputs = version.native.run(capsules)
            assert outputs is not None, "an unplanned program takes every layout"
            return outputs
        except _native.OperatorError as error:
            raise version.error(error) from None
        finally:
            if self._written_inputs:
                self._advance_versions(inputs)

    def _is_turn_to_plan(self) -> bool:
        """Whether this run is the one that memory is planned from; then the lock is held."""
        if self._runs_before_plan != 0:
            self._runs_before_plan -= self._runs_before_plan > 0
            return False
        if not self._planning.acquire(blocking=False):
            return False
        if self._to_plan is None:
            self._planning.release()
            return False
        return True

    def _observe_and_release(self, capsules: list[_native.Capsule]) -> list[_native.Capsule]:
        try:
            return self._observe(capsules)
        finally:
            self._planning.release()

    def _is_negated(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether an input is more than its memory says. Complex ones have no planned views."""
        return any(inputs[index].is_neg() for index in self._viewed_inputs)

    def _observe(self, capsules: list[_native.Capsule]) -> list[_native.Capsule]:
        """A run from which memory is planned. The lock is held."""
        assert self._to_plan is not None, "planned once"
        outputs, observations = self._plain.native.observe(capsules, self._plain.results)
        trace, lowered = self._to_plan
        self._runs_before_plan, self._to_plan = -1, None
        memory = plan_memory(trace, lowered, observations, self._schedule)
        if memory is not None:
            self._arena_bytes, self._max_live_bytes = memory.places.arena_bytes, memory.max_live
            self._viewed_inputs = memory.viewed_inputs
            self._products = memory.products
            emitted = emit(memory.lowered, self._schedule, memory.places, self._arena)
            self._planned = _Version(trace, memory.lowered, emitted)
        return outputs

    def _advance_versions(
        self, inputs: Sequence[torch.Tensor] | Mapping[int, torch.Tensor]
    ) -> None:
        """Lets autograd see the writes, which are made below the layer that counts them."""
        for index in self._written_inputs:
            if not inputs[index].is_inference():
                torch.autograd.graph.increment_version(inputs[index])


class BoundProgram:
    """A program some of whose inputs are bound, which makes calling it cheaper.

    The tensors are kept alive. Their contents may change between runs, not their layout.
    """

    def __init__(
        self,
        program: Program,
        tensors: dict[int, torch.Tensor],
        pool: _native.runtime.MemoryPool | None,
    ) -> None:
        self._program = program
        self._tensors = tensors
        self._pool = pool
        self._free = [i for i in range(program._n_inputs) if i not in tensors]
        if len(self._free) + len(tensors) != program._n_inputs:
            raise ValueError(f"the program has {program._n_inputs} inputs, bound: {list(tensors)}")
        self._version: _Version | None = None
        self._bound: _native.Program | None = None
        self._viewed: list[int] = []

    def run(self, inputs: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
        """As ``Program.run``, with the inputs that are not bound, in order."""
        if len(inputs) != len(self._free):
            raise ValueError(f"the program takes {len(self._free)} more inputs, not {len(inputs)}")
        if torch._C._len_torch_dispatch_stack():
            with _disable_current_modes():
                return self.run(inputs)
        if self._bound is None and self._program.is_planned:
            self._bind()
        bound = self._bound
        if bound is None or torch._C._is_any_autocast_enabled():
            return self._run_with_all(inputs)
        if any(inputs[index].is_neg() for index in self._viewed):
            return self._run_with_all(inputs)
        with torch._C._AutoDispatchBelowADInplaceOrView():
            return self._run_bound(bound, list(inputs))

    def launch(self) -> Launch:
        """A run with fixed addresses, for streams of a device. All inputs must be bound.

        Raises:
            ValueError: some inputs are free.
        """
        version = self._bind()
        assert self._bound is not None
        return Launch(self, version, self._bound.launch(version.labels))

    def _bind(self) -> _Version:
        """Binds the planned form when it takes the tensors, else the plain one."""
        program = self._program
        indices, tensors = list(self._tensors), list(self._tensors.values())
        with torch._C._AutoDispatchBelowADInplaceOrView():
            if program._planned is not None and not any(t.is_neg() for t in tensors):
                try:
                    native = program._planned.native.bind(indices, to_capsules(tensors), self._pool)
                    self._version, self._bound = program._planned, native
                    viewed = set(program._viewed_inputs)
                    self._viewed = [n for n, i in enumerate(self._free) if i in viewed]
                    return program._planned
                except ValueError:  # another layout than that of the plan
                    pass
            self._version = program._plain
            self._bound = program._plain.native.bind(indices, to_capsules(tensors), self._pool)
            return self._version

    def _run_bound(self, bound: _native.Program, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        assert self._version is not None
        try:
            outputs = bound.run(to_capsules(inputs))
        except _native.OperatorError as error:
            raise self._version.error(error) from None
        finally:
            if self._program._written_inputs:
                self._program._advance_versions(self._all(inputs))
        return self._run_with_all(inputs) if outputs is None else from_capsules(outputs)

    def _run_with_all(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        given = self._all(inputs)
        return self._program.run([given[i] for i in range(self._program._n_inputs)])

    def _all(self, inputs: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Every input by its position."""
        return dict(zip(self._free, inputs, strict=True)) | self._tensors


class Launch:
    """A run whose addresses are fixed, for streams that capture it or run it.

    ``put_on(device, streams)`` queues it, one stream per stream of the program. ``outputs()`` are
    the tensors of the latest run, which makes them anew.
    """

    def __init__(self, bound: BoundProgram, version: _Version, native: _native.Launch) -> None:
        self._bound = bound  # keeps the tensors alive
        self._version = version
        self._native = native
        _prepare_workers()

    def put_on(
        self, device: _native.runtime.Device, streams: Sequence[_native.runtime.Stream]
    ) -> None:
        """Queues or captures the calls."""
        self._native.put_on(device, list(streams))

    def outputs(self) -> list[torch.Tensor]:
        """The outputs of the latest run; None for one that is not computed yet."""
        return from_capsules(self._native.outputs())

    def share_memory(self) -> None:
        """Gives the arena back to its pool: graphs of one pool then overwrite each other's."""
        self._native.share_memory()

    def error(self, error: _native.OperatorError) -> ProgramError:
        """What ``Stream.synchronize`` raised, with the call's origin."""
        return self._version.error(error)


def _prepare_workers() -> None:
    """Threads of streams compute below the layers of autograd, as the caller's thread does."""
    keys: Any = torch._C.DispatchKey
    _native.set_worker_excluded_keys([int(getattr(keys, name)) for name in _BELOW_AUTOGRAD])


def _check_order(lowered: Lowered, schedule: Schedule) -> None:
    """ValueError where a call uses a value that another stream may not have computed yet."""
    if schedule.n_streams == 1:
        return
    defined: dict[int, int] = {}
    for call in lowered.calls:
        for value in call.operands:
            first = defined.get(value)
            if first is not None and not schedule.is_before(first, call.index):
                stream, other = (schedule.placements[i][0] for i in (call.index, first))
                raise ValueError(
                    f"call {call.index} on stream {stream} uses what call {first} on stream "
                    f"{other} computes, and does not wait for it"
                )
        defined.update((v, call.index) for v in call.defined if v is not None)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the same layout, gaps and overlaps included."""
    plain = tensor.detach()
    storage = plain.untyped_storage().clone()
    copy = torch.empty(0, dtype=plain.dtype)
    return copy.set_(storage, plain.storage_offset(), plain.size(), plain.stride())


def _written_inputs(trace: Trace) -> list[int]:
    """Indices of inputs that a call writes to, directly or through views that schemas declare."""
    base: dict[object, object] = {}
    written: set[object] = set()
    for call in trace.calls:
        schema = schema_of(call.op)
        by_alias: dict[str, object] = {}
        for argument in bind_arguments(schema, call.args, call.kwargs):
            if not argument.spec.aliases:
                continue
            roots = [base.get(slot, slot) for slot in _slots_in(argument.value)]
            by_alias.update((alias, root) for alias in argument.spec.aliases for root in roots)
            written.update(roots if argument.spec.writes else ())
        for index, slot in enumerate(call.results):
            returned = schema.returns[min(index, len(schema.returns) - 1)]
            for alias in returned.aliases & by_alias.keys():
                base.setdefault(slot, by_alias[alias])
    return [index for index, slot in enumerate(trace.inputs) if slot in written]


def _slots_in(value: object) -> list[Slot]:
    values = value if isinstance(value, list | tuple) else [value]
    return [slot for slot in values if isinstance(slot, Slot)]
