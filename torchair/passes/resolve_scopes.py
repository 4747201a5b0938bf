"""User scopes and events, from marker operators to attributes and stream operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.traits import IsTerminator

from torchair.dialects.stream import MAIN, RecordOp, WaitOp, label_of
from torchair.dialects.stream import attributes as names
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.calls import CallOp
from torchair.ir.location import describe
from torchair.ir.private import iter_ops
from torchair.passes.rewrite_pass import RewritePass
from torchair.passes.scheduling.tasks import is_size

_MARKERS = ("air.", "streams.")
CURRENT_STREAM = 0
"""Number of the stream that is current outside of the graph, as the import counts streams."""


@dataclass(frozen=True)
class ResolveScopesPass(RewritePass):
    """Turns scopes into attributes of what stands inside, and event calls into stream operations.

        air.scope_enter(keys = ["_user_stream_label"], values = ["side"])
        air.wait([%r])                          stream.wait %t {stream.label = "side"}
        %1 = aten.exp(%0)                ->     %1 = aten.exp(%0) {stream.label = "side"}
        air.scope_exit()

    A wait for a tensor becomes a record after its producer and a wait. Inner scopes override outer
    ones. Wrong nesting, unknown tags and streams, a wait without record and values out of range
    are errors with the user's line.
    Numeric class: exact. Shown by: test/lit/passes/resolve-scopes.mlir
    """

    name = "resolve-scopes"
    numeric_class: ClassVar[str] = "exact"

    def rewrite(self, module: ModuleOp) -> bool:
        changed = False
        for function in module.ops:
            if isinstance(function, FuncOp) and not function.is_declaration:
                block = function.body.block
                if any(name.startswith(_MARKERS) for name in {op.name for op in iter_ops(block)}):
                    _Resolution(block).run()
                    changed = True
        return changed


class _Resolution:
    """One walk over a block."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.scopes: list[tuple[Operation, dict[str, Attribute]]] = []
        self.current: dict[str, Attribute] = {}
        self.tokens: dict[SSAValue, SSAValue] = {}
        self.after: dict[tuple[Operation, str], SSAValue] = {}
        self.events: dict[str, SSAValue] = {}
        self.labels: set[str] = {MAIN}
        self.named: list[tuple[Operation, str]] = []
        self.erased: list[Operation] = []

    def run(self) -> None:
        """Resolve all markers.

        Raises:
            ConversionError: markers that do not fit together.
        """
        for op in iter_ops(self.block):
            handler = _HANDLERS.get(op.name)
            if handler is not None and isinstance(op, CallOp):
                handler(self, op)
                self.erased.append(op)
            elif op.name.startswith("streams."):
                raise _refuse(op, "a graph cannot wait for the host here", "use events instead")
            else:
                self._place(op)
        if self.scopes:
            raise _refuse(
                self.scopes[-1][0],
                "this scope is entered and never left",
                "leave every 'with' block inside the compiled function; a graph break in it "
                "(torch._dynamo.explain shows them) cuts a scope in two",
            )
        for op, label in self.named:
            if label not in self.labels:
                known = ", ".join(sorted(self.labels - {MAIN})) or "none"
                raise _refuse(op, f"no stream is called '{label}'", f"streams here: {known}")
        for op in reversed(self.erased):
            self._erase(op)

    def _place(self, op: Operation) -> None:
        if not op.has_trait(IsTerminator) and not is_size(op):
            for key, value in self.current.items():
                op.attributes.setdefault(key, value)
        self.labels.add(label_of(op))

    def _erase(self, op: Operation) -> None:
        if any(result.first_use is not None for result in op.results):
            raise _refuse(
                op,
                "an event is used as a tensor",
                "pass results of record() to wait() and npu_wait_tensor() only",
            )
        self.block.erase_op(op)

    # ------------------------------------------------------------ scopes

    def enter(self, op: CallOp) -> None:
        keys, values, _ = op.arguments()
        try:
            added = names.scope_attributes(keys, values)
        except ConversionError as error:
            label, source = describe(op)
            raise ConversionError(
                error.what,
                expected=error.expected,
                found=error.found,
                op=label,
                loc=source,
                hint="correct the arguments of the scope at this line",
            ) from error
        self.scopes.append((op, added))
        self._merge()
        self.labels.add(self._label())

    def leave(self, op: CallOp) -> None:
        if not self.scopes:
            raise _refuse(
                op,
                "a scope is left that was never entered",
                "enter and leave every scope with one 'with' block inside the compiled function",
            )
        self.scopes.pop()
        self._merge()

    def _merge(self) -> None:
        merged: dict[str, Attribute] = {}
        for _, added in self.scopes:
            merged.update(added)
        if merged.get(names.SUPER_KERNEL) == interned.string(""):
            merged.pop(names.SUPER_KERNEL)
            merged.pop(names.SUPER_KERNEL_OPTIONS, None)
        self.current = merged

    def _label(self) -> str:
        found: Any = self.current.get(names.LABEL)
        return MAIN if found is None else found.data

    # ------------------------------------------------------------ events

    def record(self, op: CallOp) -> None:
        self.tokens[op.results[0]] = self._record_here(self._label(), op)

    def wait(self, op: CallOp) -> None:
        """A wait for events and for the producers of tensors; graph inputs are there already."""
        tokens: list[SSAValue] = []
        for value in op.arguments()[0]:
            token = self.tokens.get(value) or self._token_after(value)
            if token is not None and token not in tokens:
                tokens.append(token)
        self._wait_here(self._label(), tokens, op)

    def tagged_record(self, op: CallOp) -> None:
        self.events[op.argument("tag")] = self._record_here(self._label(), op)

    def tagged_wait(self, op: CallOp) -> None:
        self._wait_for(op.argument("tag"), self._label(), op)

    def record_stream(self, op: CallOp) -> None:
        """Lifetimes follow from the uses; only the name is checked."""
        self.named.append((op, op.argument("tagged_stream")))

    def torch_record(self, op: CallOp) -> None:
        event, stream = op.arguments()
        self.events[f"torch event {event}"] = self._record_here(_torch_label(stream), op)

    def torch_wait(self, op: CallOp) -> None:
        event, stream = op.arguments()
        self._wait_for(f"torch event {event}", _torch_label(stream), op)

    def torch_wait_stream(self, op: CallOp) -> None:
        waiting, awaited = op.arguments()
        token = self._record_here(_torch_label(awaited), op)
        self._wait_here(_torch_label(waiting), [token], op)

    def torch_record_stream(self, op: CallOp) -> None:
        """Lifetimes follow from the uses."""

    def _wait_for(self, tag: str, label: str, op: CallOp) -> None:
        token = self.events.get(tag)
        if token is None:
            known = ", ".join(self.events) or "none"
            raise _refuse(
                op,
                f"a wait without record: event '{tag}' is not recorded before this line",
                f"record it earlier in the same graph; recorded so far: {known}",
            )
        self._wait_here(label, [token], op)

    def _record_here(self, label: str, before: Operation) -> SSAValue:
        record = RecordOp.make(label, before.location)
        self.block.insert_op_before(record, before)
        return record.token

    def _wait_here(self, label: str, tokens: Sequence[SSAValue], before: Operation) -> None:
        if tokens:
            self.block.insert_op_before(WaitOp.make(label, tokens, before.location), before)

    def _token_after(self, value: SSAValue) -> SSAValue | None:
        producer = value.owner
        if isinstance(producer, Block):
            return None
        label = label_of(producer)
        found = self.after.get((producer, label))
        if found is None:
            record = RecordOp.make(label, producer.location)
            self.block.insert_op_after(record, producer)
            found = self.after[producer, label] = record.token
        return found


def _torch_label(stream: int) -> str:
    return MAIN if stream == CURRENT_STREAM else names.torch_stream_label(stream)


def _refuse(op: Operation, what: str, hint: str) -> ConversionError:
    label, source = describe(op)
    return ConversionError(what, op=label, loc=source, hint=hint)


_HANDLERS: dict[str, Callable[[_Resolution, CallOp], None]] = {
    "air.scope_enter": _Resolution.enter,
    "air.scope_exit": _Resolution.leave,
    "air.record": _Resolution.record,
    "air.wait": _Resolution.wait,
    "air.tagged_event_record": _Resolution.tagged_record,
    "air.tagged_event_wait": _Resolution.tagged_wait,
    "air.record_tagged_stream": _Resolution.record_stream,
    "streams.record_event": _Resolution.torch_record,
    "streams.wait_event": _Resolution.torch_wait,
    "streams.wait_stream": _Resolution.torch_wait_stream,
    "streams.record_stream": _Resolution.torch_record_stream,
}
