"""Plans the memory of a program from what its values were in one run.

A new value that only other calls read gets a place in the arena, and its call writes there. Views
of such values, of inputs and of constants are made once. Everything else stays as it is: outputs,
what shares memory with them, values whose shape depends on data, and what Python code may keep.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from torchair import _native
from torchair.backend_ge.host.arena import Block, plan_arena
from torchair.backend_ge.host.aten_schema import schema_of
from torchair.backend_ge.host.call_routes import PythonRoute
from torchair.backend_ge.host.emission import Layout, Places
from torchair.backend_ge.host.lowered import Lowered, LoweredCall, Rewrites, lower
from torchair.backend_ge.host.out_variants import out_call
from torchair.backend_ge.host.products import RowProduct, row_product
from torchair.backend_ge.host.schedule import Schedule
from torchair.backend_ge.host.trace import AtenCall, Trace

Observed = tuple[int, list[int], list[int], int, int, int]
"""dtype, sizes, strides, storage offset in elements, storage bytes, storage address."""

Observations = list[list[Observed | None]]
"""What ``_native.Program.observe`` tells: inputs and constants first, then the results of calls."""

_DATA_DEPENDENT = (torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output)
_ABSOLUTE_VIEWS = ("aten::as_strided",)  # their offset counts from the begin of the storage
_SILENT_VIEWS = ("aten::_unsafe_view",)  # their schemas do not say that they are views


@dataclass(frozen=True, slots=True)
class Fact:
    """What a value was in the observed run, with offsets in bytes."""

    layout: Layout
    offset: int
    storage_bytes: int
    storage: int

    @staticmethod
    def of(observed: Observed) -> Fact:
        dtype, sizes, strides, offset, storage_bytes, storage = observed
        in_bytes = offset * _native.element_size(dtype)
        return Fact((dtype, sizes, strides), in_bytes, storage_bytes, storage)

    @property
    def bytes(self) -> int:
        """From the first to behind the last element; 0 for an empty tensor."""
        dtype, sizes, strides = self.layout
        if 0 in sizes:
            return 0
        last = sum((n - 1) * s for n, s in zip(sizes, strides, strict=True))
        return (last + 1) * _native.element_size(dtype)

    @property
    def is_plain(self) -> bool:
        """Whether a tensor over the same memory is the same.

        Complex ones may be conjugates, and quantised ones have more than their elements.
        """
        return self.bytes > 0 and self.layout[0] in _plain_dtypes()


@functools.cache
def _plain_dtypes() -> frozenset[int]:
    names = ("bool", "uint8", "int8", "int16", "int32", "int64")
    names += ("float16", "bfloat16", "float32", "float64")
    return frozenset(_native.torch_enumerator(f"aoti_torch_dtype_{name}") for name in names)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """A planned program, ready to be emitted.

    Args:
        lowered: the calls.
        places: where values live.
        max_live: bytes that no arena could do without.
        products: calls that the program computes itself.
        viewed_inputs: inputs of which views, or products, are made from their address alone.
    """

    lowered: Lowered
    places: Places
    max_live: int
    products: list[int]
    viewed_inputs: list[int]


def plan_memory(
    trace: Trace, lowered: Lowered, observations: Observations, schedule: Schedule
) -> MemoryPlan | None:
    """The plan; None when there is nothing to plan with.

    Args:
        trace: the program.
        lowered: its calls as they were observed, one instruction each.
        observations: of a run.
        schedule: of the trace.
    """
    negated = any(call.op.name().startswith("aten::_neg_view") for call in trace.calls)
    if negated or any(constant.is_neg() for constant in trace.constants.values()):
        return None  # such a tensor is more than a place in memory
    facts = _Facts(trace, lowered, observations)
    layouts = [facts.of.get(value) for value in lowered.values.inputs]
    known = [fact.layout for fact in layouts if fact is not None]
    if len(known) != len(layouts):
        return None
    decisions = _decide(trace, lowered, facts)
    blocks = _blocks(lowered, facts, decisions)
    is_before = schedule.is_before if schedule.n_streams > 1 else None
    arena = plan_arena(list(blocks.values()), is_before)
    offsets = dict(zip(blocks, arena.offsets, strict=True))
    planned = lower(trace, decisions.rewrites)
    places = _places(lowered, planned, facts, decisions, offsets)
    places.input_layouts, places.arena_bytes = known, arena.size
    products = list(decisions.rewrites.products)
    taken = [value for index in products for value in lowered.calls[index].operands]
    viewed = {facts.root[value] for value in (*decisions.placed, *taken)}
    viewed_inputs = [i for i, value in enumerate(lowered.values.inputs) if value in viewed]
    return MemoryPlan(planned, places, arena.max_live, products, viewed_inputs)


class _Facts:
    """What is known of the values of a trace.

    Attributes:
        of: layout and storage of values; those without a plain strided tensor are missing.
        root: the value whose memory a value shares: itself, or an earlier one.
        changing: values whose shape may be another one in the next run.
        exposed: roots of outputs, and of what code may keep that is not ours.
    """

    def __init__(self, trace: Trace, lowered: Lowered, observations: Observations) -> None:
        self.of: dict[int, Fact] = {}
        self.root: dict[int, int] = {}
        self.changing: set[int] = set()
        self.exposed: set[int] = set()
        fixed = lowered.values.inputs + [value for value, _ in lowered.values.constants]
        for value, observed in zip(fixed, observations[0], strict=True):
            self._note(value, observed, value)
        for call, found in zip(lowered.calls, observations[1:], strict=True):
            self._note_call(trace.calls[call.index], call, found)
        self.exposed.update(self.root[value] for value in lowered.outputs)

    def _note(self, value: int, observed: Observed | None, root: int) -> None:
        self.root[value] = root
        if observed is not None:
            self.of[value] = Fact.of(observed)

    def _note_call(
        self, traced: AtenCall, call: LoweredCall, found: Sequence[Observed | None]
    ) -> None:
        if traced.op.namespace != "aten" or isinstance(call.route, PythonRoute):
            self.exposed.update(self.root[value] for value in call.operands)
        changing = traced.op.namespace != "aten" or _is_data_dependent(traced)
        changing = changing or any(value in self.changing for value in call.operands)
        sharers = list(call.operands)
        values = [value for value in call.results if value is not None]
        for value, observed in zip(values, found, strict=True):
            if value in self.root:  # written in place
                if observed is None or self.of.get(value) != Fact.of(observed):
                    self.changing.add(value)
                continue
            self._note(value, observed, self._sharer(observed, sharers, value))
            sharers.append(value)
            if changing or observed is None:
                self.changing.add(value)

    def _sharer(self, observed: Observed | None, sharers: Iterable[int], default: int) -> int:
        """The root of the first value with the same storage. All of these are alive right now."""
        storage = 0 if observed is None else observed[5]
        for value in sharers:
            if storage and value in self.of and self.of[value].storage == storage:
                return self.root[value]
        return default


def _is_data_dependent(call: AtenCall) -> bool:
    return any(tag in call.op.tags for tag in _DATA_DEPENDENT)


@dataclass(slots=True)
class _Decisions:
    """What becomes of each call.

    Attributes:
        rewrites: calls that change.
        planned: values that get a place in the arena.
        placed: values that are views made once.
    """

    rewrites: Rewrites = field(default_factory=Rewrites)
    planned: set[int] = field(default_factory=set[int])
    placed: set[int] = field(default_factory=set[int])


def _decide(trace: Trace, lowered: Lowered, facts: _Facts) -> _Decisions:
    decisions = _Decisions()
    n_constants = len(trace.constants)
    given = [*lowered.values.inputs, *(v for v, _ in lowered.values.constants[:n_constants])]
    known = {value for value in given if value not in facts.exposed and value in facts.of}
    for call in lowered.calls:
        traced = trace.calls[call.index]
        results = [value for value in call.defined if value is not None]
        if not results or len(results) != len(call.results):
            continue
        product = _row_product(traced, call, facts)
        if product is not None:
            decisions.rewrites.products[call.index] = product
        if any(not _may_have_a_place(value, facts) for value in results):
            if product is not None and (out := out_call(traced.op, traced.args, traced.kwargs)):
                decisions.rewrites.out_calls[call.index] = out
                decisions.rewrites.allocated.add(call.index)
            continue
        known.update(value for value in results if _is_an_operand(value, call, facts, known))
        if _is_placed_view(traced, call, results, facts, known):
            decisions.rewrites.dropped.add(call.index)
            decisions.placed.update(results)
            known.update(results)
        elif all(_is_whole(value, facts) for value in results):
            out = out_call(traced.op, traced.args, traced.kwargs)
            if out is not None:
                decisions.rewrites.out_calls[call.index] = out
                decisions.planned.update(results)
                known.update(results)
    return decisions


def _row_product(traced: AtenCall, call: LoweredCall, facts: _Facts) -> RowProduct | None:
    """What the call computes, when it is a product that the program computes itself."""
    values = [*call.operands, *(value for value in call.defined if value is not None)]
    if any(value in facts.changing or value not in facts.of for value in values):
        return None
    layouts = [facts.of[operand].layout for operand in call.operands]
    return row_product(traced.op, layouts, traced.kwargs)


def _may_have_a_place(value: int, facts: _Facts) -> bool:
    fact = facts.of.get(value)
    root = facts.root[value]
    if fact is None or not fact.is_plain or value in facts.changing or root in facts.changing:
        return False
    return root not in facts.exposed


def _is_placed_view(
    traced: AtenCall, call: LoweredCall, results: Sequence[int], facts: _Facts, known: set[int]
) -> bool:
    """Whether the call does nothing but view one value whose place is known."""
    name = schema_of(traced.op).name
    is_view = traced.op.is_view or name in _SILENT_VIEWS
    if not is_view or name in _ABSOLUTE_VIEWS or len(call.operands) != 1:
        return False
    (base,) = call.operands
    return base in known and all(facts.root[value] == facts.root[base] for value in results)


def _is_an_operand(value: int, call: LoweredCall, facts: _Facts, known: set[int]) -> bool:
    """Whether a result is an operand once more, written or not, whose place is known."""
    return any(
        operand in known
        and facts.root[operand] == facts.root[value]
        and facts.of[operand] == facts.of[value]
        for operand in call.operands
    )


def _is_whole(value: int, facts: _Facts) -> bool:
    """Whether a value is new and fills its storage."""
    fact = facts.of[value]
    return facts.root[value] == value and fact.offset == 0 and fact.bytes == fact.storage_bytes


def _blocks(lowered: Lowered, facts: _Facts, decisions: _Decisions) -> dict[int, Block]:
    """Per planned value, its memory and the calls that use any value in it."""
    uses: dict[int, list[int]] = {value: [] for value in decisions.planned}
    first: dict[int, int] = {}
    for call in lowered.calls:
        for value in call.defined:
            if value in decisions.planned:
                first[value] = call.index
        if call.index in decisions.rewrites.dropped:
            continue
        for value in {*call.operands, *(v for v in call.results if v is not None)}:
            root = facts.root[value]
            if root in uses:
                uses[root].append(call.index)
    return {
        value: Block(facts.of[value].bytes, first[value], tuple(uses[value])) for value in first
    }


def _places(
    old: Lowered,
    new: Lowered,
    facts: _Facts,
    decisions: _Decisions,
    offsets: dict[int, int],
) -> Places:
    """Places by the values of the new calls; the old ones only say which result of which call."""
    places = Places()
    renamed = dict(zip(_given(old), _given(new), strict=False))
    for old_call, new_call in zip(old.calls, new.calls, strict=True):
        for value, target in zip(old_call.defined, new_call.defined, strict=True):
            if value is None or target is None:
                continue
            root = facts.root[value]
            fact = facts.of.get(value)
            if fact is None:
                continue
            if value in decisions.planned:
                places.arena[target] = (offsets[value], fact.layout)
            elif value in decisions.placed and root in offsets:
                places.arena[target] = (offsets[root] + fact.offset, fact.layout)
            elif value in decisions.placed:
                offset = fact.offset - facts.of[root].offset
                places.views[target] = (renamed[root], offset, fact.layout)
    return places


def _given(lowered: Lowered) -> list[int]:
    return lowered.values.inputs + [value for value, _ in lowered.values.constants]
