"""Update slots of one capture: numbers and lists that are replaced before each replay.

On the host device a number in a tensor's place is a 0-d input of the program, and a call whose
lists change goes through one Python operator that reads the list at the moment of the replay.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from torchair.backend_ge.host.call_routes import wrapped_number
from torchair.backend_ge.host.program import AtenCall, Slot
from torchair.backend_ge.host.tracing import Tracer
from torchair.backend_ge.runtime.aten_graph import AtenGraph, Call, Value, fill, values_in
from torchair.backend_ge.runtime.host_values import FILLS, HostValues
from torchair.errors import EngineError

_NUMBERS: dict[type, torch.dtype] = {int: torch.int64, float: torch.float64, bool: torch.bool}
_POISON: dict[type, Any] = {int: -(2**63), float: float("nan"), bool: True}


@dataclass(slots=True)
class UpdateSite:
    """A captured call whose lists change. ``values`` has the numbers of this replay, or None."""

    call: Call
    tensors: list[int]
    values: dict[int, Any] | None = None

    def arguments(self, tensors: list[torch.Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments of the call for this replay.

        Raises:
            EngineError: the numbers have not been updated since the last replay.
        """
        if self.values is None:
            raise _not_updated(self.call, "its list")
        known = {**self.values, **dict(zip(self.tensors, tensors, strict=True))}
        args = [fill(item, known) for item in self.call.args]
        return args, {name: fill(item, known) for name, item in self.call.kwargs.items()}

    def run(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Make the call."""
        args, kwargs = self.arguments(tensors)
        found = self.call.function(*args, **kwargs)
        flat = list(found) if isinstance(found, list | tuple) else [found]
        return [torch.empty(0) if t is None else t for t in flat]


_sites: dict[int, UpdateSite] = {}
_ids = itertools.count()
_library = torch.library.Library("torchair_updates", "DEF")
_library.define("call(Tensor[] tensors, int site) -> Tensor[]")


def site_of(number: int) -> UpdateSite:
    """The site of a call ``torchair_updates.call(tensors, number)``."""
    return _sites[number]


@torch.library.impl(_library, "call", "CompositeExplicitAutograd")
def _call(tensors: list[torch.Tensor], site: int) -> list[torch.Tensor]:
    return _sites[site].run(tensors)


@dataclass(slots=True)
class UpdateSlots:
    """The slots of one capture.

    Args:
        graph: the graph.
        decided: which of its numbers are slots.
    """

    graph: AtenGraph
    decided: HostValues
    tensors: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    """0-d tensor of each number, in the order in which the program takes them."""
    _cells: dict[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])
    _places: dict[int, Slot] = field(default_factory=dict[int, Slot])
    _types: dict[int, type] = field(default_factory=dict[int, type])
    _folded: dict[int, Any] = field(default_factory=dict[int, Any])
    _sites: dict[int, UpdateSite] = field(default_factory=dict[int, UpdateSite])
    _is_updated: bool = False

    def has_call(self, index: int) -> bool:
        """Whether a call of the graph has a slot."""
        return index in self.decided.uses

    def trace(self, index: int, values: dict[int, Any], tracer: Tracer) -> Any:
        """Record a call with its slots; returns its fake results."""
        call = self.graph.calls[index]
        with _disable_current_modes(), tracer.fake_mode, torch.no_grad():
            args = [fill(item, values) for item in call.args]
            kwargs = {name: fill(item, values) for name, item in call.kwargs.items()}
            results = call.function(*args, **kwargs)
        flat = list(results) if isinstance(results, list | tuple) else [results]
        places = [None if t is None else tracer._bind(t) for t in flat]
        if any(use.kind == "update" for use in self.decided.uses[index]):
            tracer.calls.append(self._site_call(index, call, values, tracer, places))
        elif call.name in FILLS:
            tracer.calls.extend(self._fill_calls(index, flat[0], values, tracer))
        else:
            tracer.calls.append(self._number_call(index, call, values, tracer, places))
        return results

    def _number_call(
        self, index: int, call: Call, values: dict[int, Any], tracer: Tracer, places: list[Any]
    ) -> AtenCall:
        slots = {
            use.value: self._place(use.value, values, tracer) for use in self.decided.uses[index]
        }

        def place(item: Any) -> Any:
            if isinstance(item, list):
                return [place(part) for part in item]
            if not isinstance(item, Value):
                return item
            if item.index in slots:
                return slots[item.index]
            found = values[item.index]
            return tracer.slot_of(found) if isinstance(found, torch.Tensor) else found

        op: Any = call.function
        if op._overloadname == "Scalar":
            op = op.overloadpacket.Tensor
        kwargs = {name: place(item) for name, item in call.kwargs.items()}
        return AtenCall(op, tuple(place(item) for item in call.args), kwargs, places, index)

    def _fill_calls(
        self, index: int, result: torch.Tensor, values: dict[int, Any], tracer: Tracer
    ) -> list[AtenCall]:
        """A tensor full of a number: the number in the result's type, expanded and copied."""
        aten = torch.ops.aten
        number = self._place(self.decided.uses[index][0].value, values, tracer)
        with _disable_current_modes(), tracer.fake_mode:
            one = torch.empty((), dtype=result.dtype)
            expanded = one.expand(result.shape)
        shape = list(result.shape)
        contiguous: dict[str, object] = {"memory_format": torch.contiguous_format}
        one, expanded, target = (tracer._bind(t) for t in (one, expanded, result))
        return [
            AtenCall(aten._to_copy.default, (number,), {"dtype": result.dtype}, [one], index),
            AtenCall(aten.expand.default, (one, shape), {}, [expanded], index),
            AtenCall(aten.clone.default, (expanded,), contiguous, [target], index),
        ]

    def _place(self, value: int, values: dict[int, Any], tracer: Tracer) -> Slot:
        """The 0-d input of the program for a number that stands in a tensor's place."""
        if value not in self._places:
            kind = type(values[value])
            self._types[value] = kind
            number = wrapped_number(kind(1))
            self.tensors[value] = number
            # A dispatch mode sees a wrapped number as a Python number, so it is set through this.
            with _disable_current_modes():
                cell = torch.empty(0, dtype=number.dtype)
                self._cells[value] = cell.set_(number.untyped_storage(), 0, (), ())
            with _disable_current_modes(), tracer.fake_mode:
                fake = torch.empty((), dtype=_NUMBERS[kind])
            self._places[value] = tracer._bind(fake)
            tracer.inputs.append(self._places[value])
        return self._places[value]

    def _site_call(
        self, index: int, call: Call, values: dict[int, Any], tracer: Tracer, places: list[Any]
    ) -> AtenCall:
        tensors = [v.index for v in call.values() if isinstance(values[v.index], torch.Tensor)]
        number = next(_ids)
        _sites[number] = self._sites[number] = UpdateSite(call, tensors)
        inputs = [tracer.slot_of(values[v]) for v in tensors]
        op = torch.ops.torchair_updates.call.default
        return AtenCall(op, (inputs, number), {}, places, index)

    def fold(self, values: dict[int, Any]) -> None:
        """Keep the numbers that do not change between replays of this capture."""
        read = [v for index in self.decided.uses for v in self.graph.calls[index].values()]
        read += [v for step in self.decided.steps for v in step.values()]
        self._folded = {
            v.index: values[v.index] for v in read if not isinstance(values[v.index], torch.Tensor)
        }

    def inputs(self) -> list[torch.Tensor]:
        """The tensors of this replay's numbers, in the order in which the program takes them.

        Raises:
            EngineError: a slot has not been updated since the last replay.
        """
        if not self._is_updated and self.decided.uses:
            first = next(iter(self.decided.uses.values()))[0]
            raise _not_updated(self.graph.calls[first.call], first.parameter)
        return list(self.tensors.values())

    def update(self, scalars: dict[int, Any]) -> None:
        """Set every slot.

        Args:
            scalars: the numbers given for the graph's scalar arguments.
        """
        known = {**self._folded, **scalars}
        for step in self.decided.steps:
            known[step.results[0]] = step.function(*[fill(item, known) for item in step.args])
        for value, cell in self._cells.items():
            cell.fill_(known[value])
        for site in self._sites.values():
            site.values = {v.index: known[v.index] for v in _numbers(site)}
        self._is_updated = True

    def poison(self) -> None:
        """Make a replay without an update fail, and any use of old numbers visible."""
        for value, cell in self._cells.items():
            cell.fill_(_POISON[self._types[value]])
        for site in self._sites.values():
            site.values = None
        self._is_updated = False

    def close(self) -> None:
        """Forget the sites; the capture will not run again."""
        for number in self._sites:
            _sites.pop(number, None)


def _numbers(site: UpdateSite) -> list[Value]:
    tensors = set(site.tensors)
    return [v for v in values_in((site.call.args, site.call.kwargs)) if v.index not in tensors]


def _not_updated(call: Call, parameter: str) -> EngineError:
    return EngineError(
        f"the update slot {parameter} of {call.name} was not updated before the replay",
        op=call.origin or call.name,
        loc=call.source,
        hint="report this: the replay would have used the number of an earlier call",
    )
