"""Indexed rewrite sweep: patterns are found by the mnemonic of their root, operations visited once.

    @pattern("aten.neg")
    def cancel_double_negation(op, rewriter):
        inner = defining_op(op.operands[0], "aten.neg")
        if inner is not None:
            rewriter.replace(op, [inner.operands[0]])

A sweep goes forward over each block, then revisits only operations that a rewrite touched, at most
``MAX_FIRINGS`` times each. New operations take the location of the one they replace.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, OpResult, SSAValue
from xdsl.traits import IsTerminator

from torchair.errors import VerifyError
from torchair.ir import private
from torchair.ir.calls import CallOp
from torchair.ir.location import describe, is_known

MAX_FIRINGS = 16
"""How often patterns may fire on one operation before they are declared to loop."""

CallT = TypeVar("CallT", bound=CallOp)
PatternFn = Callable[[CallOp, "Rewriter"], None]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rewrite rooted at one of several mnemonics.

    Args:
        roots: mnemonics of operations to try it on.
        apply: edits the graph through the rewriter, or returns without a change.
        requires: sets of mnemonics; where one of these sets does not occur in a block at all, the
            pattern cannot fire.
    """

    roots: tuple[str, ...]
    apply: PatternFn
    requires: frozenset[frozenset[str]] = frozenset()

    @property
    def name(self) -> str:
        """Name for reports."""
        return self.apply.__name__


def pattern(*roots: str) -> Callable[[PatternFn], Pattern]:
    """Declare a pattern by the mnemonics of its root operation."""
    return lambda apply: Pattern(roots, apply)


def defining_op(value: object, *names: str) -> CallOp | None:
    """The operation that defines a value, when it is a call with one of these mnemonics."""
    if type(value) is not OpResult:
        return None
    op = value.op
    return op if op.name in names and isinstance(op, CallOp) else None


PLACEMENT_PREFIX = "stream."
"""What attributes that place an operation on a stream or in a scope begin with."""


def placement_of(op: Operation) -> dict[str, Attribute]:
    """The attributes that an operation made for another one takes over from it."""
    return {k: v for k, v in op.attributes.items() if k.startswith(PLACEMENT_PREFIX)}


class PatternIndex(dict[str, list[Pattern]]):
    """Patterns by the mnemonic of their root, in order of precedence: those that may fire.

    Args:
        patterns: all of them.
        present: mnemonics that occur in the block.
    """

    def __init__(self, patterns: Sequence[Pattern], present: Iterable[str]) -> None:
        super().__init__()
        self.roots = {root for item in patterns for root in item.roots}
        self._patterns = patterns
        self._present = set(present)
        self._fill()

    def _fill(self) -> None:
        self.clear()
        self._is_whole = True
        for item in self._patterns:
            if any(self._present.isdisjoint(names) for names in item.requires):
                self._is_whole = False
                continue
            for root in item.roots:
                self.setdefault(root, []).append(item)

    def add_present(self, name: str) -> None:
        """Say that a mnemonic occurs from now on."""
        if name not in self._present:
            self._present.add(name)
            if not self._is_whole:
                self._fill()


class Rewriter:
    """Edits made by patterns: keeps locations, and records what must be visited again.

    Args:
        index: the patterns of a sweep.

    Attributes:
        edits: how many edits were made.
        erased: operations that are no longer in the block.
        made: values that patterns share: what was made for a key stays available in this sweep.
    """

    def __init__(self, index: PatternIndex | None = None) -> None:
        self.edits = 0
        self.erased: set[Operation] = set()
        self.made: dict[object, SSAValue] = {}
        self.wide: dict[Operation, list[SSAValue]] = {}
        self._index = PatternIndex((), ()) if index is None else index
        self._pending: dict[Operation, None] = {}

    @property
    def changed(self) -> bool:
        """Whether anything was edited."""
        return self.edits > 0

    def visit_again(self, op: Operation) -> None:
        """Let the patterns of an operation be tried (again), before those that wait already."""
        if op.name in self._index.roots:
            self._pending.pop(op, None)
            self._pending[op] = None

    def is_visiting(self, op: Operation) -> None:
        """An operation is looked at now: what was said about it before is seen to."""
        self._pending.pop(op, None)

    def next_visit(self) -> Operation | None:
        """The operation to look at next, None when there is none left."""
        return self._pending.popitem()[0] if self._pending else None

    def create(
        self,
        cls: type[CallT],
        values: Sequence[object],
        result_types: Sequence[Attribute],
        before: Operation,
    ) -> CallT:
        """Build an operation and insert it before ``before``, whose location it takes."""
        op = cls.build_call(values, result_types, before.location)
        self.insert(op, before)
        return op

    def insert(self, op: Operation, before: Operation) -> None:
        """Insert a detached operation, which takes over an unknown location and its place."""
        block = before.parent
        assert block is not None, "the anchor of an insertion must be in a block"
        private.insert_before(block, op, before)
        if not is_known(op.location):
            op.location = before.location
        if before.attributes and not op.attributes:
            op.attributes.update(placement_of(before))
        self.modified(op)

    def replace(self, op: Operation, values: Sequence[SSAValue | None]) -> None:
        """Replace an operation's results and erase it; None stands for a result without uses."""
        for result, value in zip(op.results, values, strict=True):
            if value is None or value is result:
                continue
            self.replace_value(result, value)
        self.erase(op)

    def replace_value(self, old: SSAValue, new: SSAValue) -> None:
        """Redirect all uses of a value."""
        users = private.redirect_uses(old, new, self.wide)
        for user in users:
            self.visit_again(user)
        self.edits += bool(users)

    def erase(self, op: Operation) -> None:
        """Erase an operation without uses; its operands' producers are visited again."""
        block = op.parent
        assert block is not None, "only attached operations can be erased"
        operands = private.operands_of(op)
        private.erase_op(block, op)
        self.erased.add(op)
        self._pending.pop(op, None)
        self.edits += 1
        for operand in operands:
            if type(operand) is OpResult:
                self.visit_again(operand.op)

    def modified(self, op: Operation) -> None:
        """Say that an operation was edited in place, or is new."""
        self._index.add_present(op.name)
        self.visit_again(op)
        self.edits += 1


Visit = Callable[[Operation, dict[str, list[Pattern]], Rewriter], bool]
"""Tries patterns on an operation and says whether one fired, like ``try_patterns``."""

_visit: ContextVar[Visit | None] = ContextVar("visit", default=None)


@contextmanager
def visiting(visit: Visit) -> Generator[None]:
    """Let sweeps in this context call ``visit`` in the place of ``try_patterns``, which it may
    call."""
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)


def sweep(module: ModuleOp, patterns: Iterable[Pattern]) -> bool:
    """Apply patterns to every block of every function until none fires; returns whether any did.

    Raises:
        VerifyError: a set of patterns keeps firing on the same operation.
    """
    listed = tuple(patterns)
    changed = False
    for function in module.ops:
        for region in function.regions:
            for block in region.blocks:
                changed |= _sweep_block(block, listed)
    return changed


def _sweep_block(block: Block, patterns: Sequence[Pattern]) -> bool:
    ops = list(private.iter_ops(block))
    index = PatternIndex(patterns, {op.name for op in ops})
    if not index:
        return False
    rewriter = Rewriter(index)
    last = block.last_op
    if last is not None and last.has_trait(IsTerminator):
        rewriter.wide[last] = list(private.operands_of(last))
    visit = _visit.get() or try_patterns
    for op in ops:
        if op.name in index and op not in rewriter.erased:
            rewriter.is_visiting(op)
            visit(op, index, rewriter)
    budget = MAX_FIRINGS * (len(ops) + 1)
    firings: dict[Operation, int] = {}
    while (op := rewriter.next_visit()) is not None:
        if op.name in index and visit(op, index, rewriter):
            firings[op] = firings.get(op, 0) + 1
            budget -= 1  # patterns that undo each other fire once on each of ever new operations
            if firings[op] > MAX_FIRINGS or budget < 0:
                _report_loop(op, index)
    for op, operands in rewriter.wide.items():
        private.assign_wide(op, operands)
    return rewriter.changed


def try_patterns(op: Operation, index: dict[str, list[Pattern]], rewriter: Rewriter) -> bool:
    """Try the patterns of an operation; returns whether one fired."""
    candidates = index.get(op.name)
    if candidates is None or not isinstance(op, CallOp):
        return False
    edits = rewriter.edits
    for candidate in candidates:
        candidate.apply(op, rewriter)
        if rewriter.edits != edits:
            if op not in rewriter.erased:
                rewriter.visit_again(op)
            return True
    return False


def _report_loop(op: Operation, index: PatternIndex) -> None:
    label, source = describe(op)
    names = ", ".join(p.name for p in index[op.name])
    raise VerifyError(
        f"rewrite patterns do not come to rest on '{op.name}' after {MAX_FIRINGS} rewrites",
        found=f"patterns rooted there: {names}",
        op=label,
        loc=source,
        hint="make one of these patterns return without a change when its result is already there",
    )
