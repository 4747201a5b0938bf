"""Traces host kernels with fake tensors into a flat list of ATen calls.

While a graph is specialised to concrete shapes, a value is either *known* (a constant, a shape, or
computed from such: a real tensor, folded at once) or *traced* (a fake tensor; every ATen call on it
is
recorded as an instruction).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

from torchair.backend_ge.host.aten_schema import communicates
from torchair.backend_ge.host.program import AtenCall, Slot, Trace

KNOWN_LIMIT = 65536
"""Largest number of elements of a value that is folded at specialisation."""


class DataDependentError(Exception):
    """A shape or an axis depends on tensor data, so the graph cannot be flattened."""


_local = threading.local()


def known_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """The real tensor behind a value that is known now.

    Raises:
        DataDependentError: the value is only known when the graph runs.
    """
    if not isinstance(tensor, FakeTensor):
        return tensor
    tracer: Tracer | None = getattr(_local, "tracer", None)
    real = None if tracer is None else tracer.reals.get(id(tensor))
    if real is None:
        raise DataDependentError
    return real


class Tracer(TorchDispatchMode):
    """Records ATen calls made on fake tensors.

    Attributes:
        origin: index of the graph node whose kernel runs now.
        stream: where its calls run.
        calls: recorded instructions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake_mode = FakeTensorMode(allow_non_fake_inputs=False)
        self.origin = 0
        self.stream = 0
        self.calls: list[AtenCall] = []
        self.slots: dict[int, Slot] = {}
        self.reals: dict[int, torch.Tensor] = {}
        self.inputs: list[Slot] = []
        self.constants: dict[Slot, torch.Tensor] = {}
        self._alive: list[torch.Tensor] = []
        self._fakes: dict[int, FakeTensor] = {}

    def add_input(self, like: torch.Tensor) -> torch.Tensor:
        """A fake graph input with the sizes, strides, dtype and device of a real tensor."""
        with self.fake_mode:
            fake = torch.empty_strided(
                like.size(), like.stride(), dtype=like.dtype, device=like.device
            )
            if like.storage_offset():
                fake = fake.as_strided(like.size(), like.stride())
        self.inputs.append(self._bind(fake))
        return fake

    def fake_of(self, real: torch.Tensor) -> torch.Tensor:
        """The fake stand-in of a known tensor, made a constant of the program."""
        found = self._fakes.get(id(real))
        if found is None:
            found = self.fake_mode.from_tensor(real)
            self._fakes[id(real)] = found
            self._alive.append(real)
            self.reals[id(found)] = real
            slot = self._bind(found)
            self.constants[slot] = real
        return found

    def slot_of(self, fake: torch.Tensor) -> Slot:
        """Slot of a traced value."""
        return self.slots[id(fake)]

    def storages(self) -> dict[Slot, int]:
        """What the memory of each slot is known by."""
        fakes = [t for t in self._alive if id(t) in self.slots]
        return {self.slots[id(t)]: t.untyped_storage()._cdata for t in fakes}

    def record(self, op: Any, *args: Any) -> torch.Tensor:
        """Record one call made by the lowering itself."""
        with active(self):
            return op(*args)

    def trace(self, outputs: list[torch.Tensor]) -> Trace:
        """The finished trace, without calls and constants that nothing uses."""
        kept = [self.slot_of(o) for o in outputs]
        used = set(kept)
        calls: list[AtenCall] = []
        for call in reversed(self.calls):
            if has_effects(call.op) or any(r in used for r in call.results):
                used.update(_slots_in((call.args, call.kwargs)))
                calls.append(call)
        constants = {s: t for s, t in self.constants.items() if s in used}
        return Trace(self.inputs, constants, calls[::-1], kept)

    def _bind(self, fake: torch.Tensor) -> Slot:
        found = self.slots.get(id(fake))
        if found is None:
            found = self.slots[id(fake)] = Slot(len(self.slots))
            self._alive.append(fake)
        return found

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace == "prim":
            return result
        tensors = _tensors_in(result) if func._schema.returns else []
        to_slot = lambda t: self._bind(self._as_fake(t))  # noqa: E731
        call = AtenCall(
            func,
            tree_map_only(torch.Tensor, to_slot, args),
            tree_map_only(torch.Tensor, to_slot, kwargs),
            [None if t is None else self._bind(t) for t in tensors],
            self.origin,
            self.stream,
        )
        self.calls.append(call)
        return result

    def _as_fake(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake_of(tensor)


@cache
def has_effects(op: Any) -> bool:
    """Whether a call must be made even when nobody reads its results."""
    writes = op._schema.is_mutable or not op._schema.returns
    return writes or torch.Tag.nondeterministic_seeded in op.tags or communicates(op)


@contextmanager
def active(tracer: Tracer) -> Iterator[Tracer]:
    """Run kernels under a tracer: calls on fake tensors are recorded."""
    previous = getattr(_local, "tracer", None)
    _local.tracer = tracer
    try:
        with torch.no_grad(), tracer.fake_mode, tracer:
            yield tracer
    finally:
        _local.tracer = previous


@contextmanager
def real_execution() -> Iterator[None]:
    """Run kernels on real tensors, whatever modes the caller (a compiler) has switched on."""
    with _disable_current_modes(), torch.no_grad():
        yield


def _tensors_in(result: Any) -> list[torch.Tensor | None]:
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, list | tuple):
        return [t for item in result for t in _tensors_in(item)]
    return [None] if result is None else []


def _slots_in(value: Any) -> Iterator[Slot]:
    if isinstance(value, Slot):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _slots_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _slots_in(item)
