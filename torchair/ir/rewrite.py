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
from xdsl.ir import Attribute, Block, Operation, SSAValue
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
    """A rewrite rooted at one of several mnemonics."""

    roots: tuple[str, ...]
    apply: PatternFn

    @property
    def name(self) -> str:
        """Name for reports."""
        return self.apply.__name__


def pattern(*roots: str) -> Callable[[PatternFn], Pattern]:
    """Declare a pattern by the mnemonics of its root operation."""
    return lambda apply: Pattern(roots, apply)


def defining_op(value: object, *names: str) -> CallOp | None:
    """The operation that defines a value, when it is a call with one of these mnemonics."""
    if not isinstance(value, SSAValue):
        return None
    owner = value.owner
    return owner if isinstance(owner, CallOp) and owner.name in names else None


PLACEMENT_PREFIX = "stream."
"""What attributes that place an operation on a stream or in a scope begin with."""


def placement_of(op: Operation) -> dict[str, Attribute]:
    """The attributes that an operation made for another one takes over from it."""
    return {k: v for k, v in op.attributes.items() if k.startswith(PLACEMENT_PREFIX)}


class Rewriter:
    """Edits made by patterns: keeps locations, and records what must be visited again."""

    def __init__(self) -> None:
        self.worklist: list[Operation] = []
        self.wide: dict[Operation, list[SSAValue]] = {}
        self.changed = False
        self.erased: set[Operation] = set()
        self.made: dict[object, SSAValue] = {}
        """Values that patterns share: what was made for a key stays available in this sweep."""

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
        block.insert_op_before(op, before)
        if not is_known(op.location):
            op.location = before.location
        if before.attributes and not op.attributes:
            op.attributes.update(placement_of(before))
        self.worklist.append(op)
        self.changed = True

    def replace(self, op: Operation, values: Sequence[SSAValue | None]) -> None:
        """Replace an operation's results and erase it; None stands for a result without uses."""
        for result, value in zip(op.results, values, strict=True):
            if value is None or value is result:
                continue
            self.replace_value(result, value)
        self.erase(op)

    def replace_value(self, old: SSAValue, new: SSAValue) -> None:
        """Redirect all uses of a value."""
        self.worklist.extend(use.operation for use in old.uses)
        private.redirect_uses(old, new, self.wide)
        self.changed = True

    def erase(self, op: Operation) -> None:
        """Erase an operation without uses; its operands' producers are visited again."""
        for operand in private.operands_of(op):
            owner = operand.owner
            if isinstance(owner, Operation):
                self.worklist.append(owner)
        block = op.parent
        assert block is not None, "only attached operations can be erased"
        private.erase_op(block, op)
        self.erased.add(op)
        self.changed = True

    def modified(self, op: Operation) -> None:
        """Say that an operation was edited in place."""
        self.worklist.append(op)
        self.changed = True


def index_patterns(patterns: Iterable[Pattern]) -> dict[str, list[Pattern]]:
    """Patterns by the mnemonic of their root, in order of precedence."""
    index: dict[str, list[Pattern]] = {}
    for item in patterns:
        for root in item.roots:
            index.setdefault(root, []).append(item)
    return index


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
    index = index_patterns(patterns)
    changed = False
    for function in module.ops:
        for region in function.regions:
            for block in region.blocks:
                changed |= _sweep_block(block, index)
    return changed


def _sweep_block(block: Block, index: dict[str, list[Pattern]]) -> bool:
    rewriter = Rewriter()
    last = block.last_op
    if last is not None and last.has_trait(IsTerminator):
        rewriter.wide[last] = list(private.operands_of(last))
    visit = _visit.get() or try_patterns
    budget = MAX_FIRINGS
    for op in private.iter_ops(block):
        budget += MAX_FIRINGS
        if op not in rewriter.erased:
            visit(op, index, rewriter)
    firings: dict[Operation, int] = {}
    while rewriter.worklist:
        op = rewriter.worklist.pop()
        if op in rewriter.erased or op.name not in index:
            continue
        if visit(op, index, rewriter):
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
    for candidate in candidates:
        before = len(rewriter.worklist)
        candidate.apply(op, rewriter)
        if op in rewriter.erased:
            return True
        if len(rewriter.worklist) != before:
            rewriter.worklist.append(op)
            return True
    return False


def _report_loop(op: Operation, index: dict[str, list[Pattern]]) -> None:
    label, source = describe(op)
    names = ", ".join(p.name for p in index[op.name])
    raise VerifyError(
        f"rewrite patterns do not come to rest on '{op.name}' after {MAX_FIRINGS} rewrites",
        found=f"patterns rooted there: {names}",
        op=label,
        loc=source,
        hint="make one of these patterns return without a change when its result is already there",
    )
