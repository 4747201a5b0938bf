"""The pass that applies registered replacements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from xdsl.dialects.builtin import ArrayAttr, ModuleOp
from xdsl.ir import BlockArgument, Operation, SSAValue

from torchair.frontend.replacement.pattern import type_difference
from torchair.frontend.replacement.report import (
    INEXACT,
    OWN_RESULT,
    ReplacementStatistics,
    explain_later,
)
from torchair.frontend.replacement.rule import Replacement, Specialised
from torchair.frontend.replacement.sizes import first_difference
from torchair.frontend.replacement.trace import Clean, Traced
from torchair.ir.calls import CallOp
from torchair.ir.graph_pattern import Match, erase_unused, match_outputs
from torchair.ir.location import source_of
from torchair.ir.private import create_op, set_type
from torchair.ir.rewrite import Pattern, Rewriter, placement_of, sweep
from torchair.passes.rewrite_pass import RewritePass


@dataclass(frozen=True)
class ApplyReplacementsPass(RewritePass):
    """Replaces what the search functions of registered replacements compute.

    Numeric class: approximates (the replacements are the user's).
    Shown by: test/unit/test_replacement.py

    Attributes:
        replacements: in order of precedence at one root.
        clean: how the graph was prepared; the functions are prepared alike.
        statistics: one per replacement, of the last run.
    """

    name = "apply-replacements"
    numeric_class: ClassVar[str] = "approximates"
    replacements: tuple[Replacement, ...] = ()
    clean: Clean = field(default_factory=Clean)
    statistics: list[ReplacementStatistics] = field(
        default_factory=list[ReplacementStatistics], compare=False
    )

    def rewrite(self, module: ModuleOp) -> bool:
        made: dict[Operation, frozenset[Replacement]] = {}
        runs = [Application(item, self.clean, made) for item in self.replacements]
        changed = sweep(module, [run.pattern() for run in runs])
        for run in runs:
            run.finish(module)
        self.statistics[:] = [run.statistics for run in runs]
        unmatched = [run for run in runs if run.statistics.matches == 0]
        explain_later(module, unmatched)
        return changed


class Application:
    """One replacement while a module is rewritten.

    Args:
        replacement: what to apply.
        clean: how the module was prepared.
        made: what replacements each operation that they inserted comes from.
    """

    def __init__(
        self,
        replacement: Replacement,
        clean: Clean,
        made: dict[Operation, frozenset[Replacement]],
    ) -> None:
        self.replacement = replacement
        self.clean = clean
        self.loose = replacement.loose(clean)
        self.statistics = ReplacementStatistics(replacement.name, len(self.loose.calls))
        self.inserted: list[Traced] = []
        self._made = made
        self._refused: set[CallOp] = set()
        self._dead: list[dict[CallOp, bool]] = []
        self._accepted: tuple[Match, Specialised, Traced, Operation] | None = None

    def pattern(self) -> Pattern:
        """The rewrite of the sweep."""

        def apply(op: CallOp, rewriter: Rewriter) -> None:
            reasons: list[str | None] = []

            def accept(match: Match) -> bool:
                reasons.append(self.refusal(match))
                return reasons[-1] is None

            if match_outputs(self.loose.roots, Match(op), accept):
                self._replace(rewriter)
            elif reasons and reasons[0] and op not in self._refused:  # ops are visited again
                self._refused.add(op)
                self.statistics.refuse(reasons[0])

        apply.__name__ = self.replacement.name
        return Pattern(self.loose.roots[0].names, apply)

    def finish(self, module: ModuleOp) -> None:
        """Erase what could not be erased during the sweep, and declare new custom operators."""
        for calls in self._dead:
            erase_unused({op: True for op in calls if op.parent is not None}, Rewriter())
        _add_schemas(module, self.inserted)

    def refusal(self, match: Match, exact_match: Callable[[CallOp], Match] = Match) -> str | None:
        """Why a loose match is none; None accepts it."""
        if not any(_outside_users(value, match) for value in self.loose.values(match)):
            return "no result is used"
        if any(self.replacement in self._made.get(op, ()) for op in match.calls):
            return OWN_RESULT
        if not self.replacement.are_exclusive(match):
            return "two exclusive arguments are the same value"
        scalars = {name: match[name] for name in self.replacement.scalars}
        types = [match[name].type for name in self.loose.arguments]
        found = self.replacement.specialised(self.clean, types, scalars)
        if isinstance(found, str):
            return found
        exact = exact_match(match.root)
        reasons: list[str | None] = []

        def fits(candidate: Match) -> bool:
            reasons.append(_type_reason(found, candidate, types))
            return reasons[-1] is None

        if not match_outputs(found.pattern.roots, exact, fits):
            return next(iter(reasons), None) or _inexact(found, match)
        source = source_of(match.root.location)
        if not self.replacement.accepts(found, exact, scalars, source):
            return "extra_check returned False"
        if isinstance(found.replacing, str):
            return found.replacing
        anchor = _anchor(exact, found.pattern.values(exact), _used_arguments(found, exact))
        if anchor is None:
            return "a result is used before all arguments are computed"
        self._accepted = (exact, found, found.replacing, anchor)
        return None

    def _replace(self, rewriter: Rewriter) -> None:
        assert self._accepted is not None
        match, found, replacing, anchor = self._accepted
        following = match.root.next_op  # the sweep goes on there
        origin = [self._made.get(op, frozenset[Replacement]()) for op in match.calls]
        history = frozenset({self.replacement}).union(*origin)
        arguments = [match[name] for name in found.pattern.arguments]
        inlined = _inline(replacing, arguments, match.root, anchor, rewriter, self._made, history)
        values = [inlined[value] for value in found.results()]
        for old, new in zip(found.pattern.values(match), values, strict=True):
            if not isinstance(new, BlockArgument) and new.owner in self._made:
                set_type(new, old.type)
            rewriter.replace_value(old, new)
        erase_unused({op: True for op in match.calls if op is not following}, rewriter)
        if following in match.calls:
            self._dead.append(match.calls)
        self.statistics.matches += 1
        self.inserted.append(replacing)


def _type_reason(found: Specialised, match: Match, types: Sequence[Any]) -> str | None:
    """How the types of an exact match differ from those that were traced; None when they do not."""
    if [match[name].type for name in found.pattern.arguments] != list(types):
        return INEXACT
    if found.searched is None and isinstance(found.replacing, Traced):
        results = [value.type for value in found.results()]
        given = [value.type for value in found.pattern.values(match)]
        difference = first_difference(given, results)
        return f"replace_fn returns something else: {difference}" if difference else None
    return type_difference(found.pattern, match, found.sizes)


def _inexact(found: Specialised, match: Match) -> str:
    """Why a loose match is not exact, when types are not the reason."""
    if len(found.pattern.calls) != len(match.calls):
        names = ", ".join(op.name for _, op in found.pattern.calls if op is not None)
        return f"for these types search_fn is other calls: {names}"
    return INEXACT


def _outside_users(value: SSAValue, match: Match) -> list[Operation]:
    return [use.operation for use in value.uses if use.operation not in match.calls]


def _used_arguments(found: Specialised, match: Match) -> list[SSAValue]:
    """What the replacement reads of the graph."""
    assert isinstance(found.replacing, Traced)
    arguments = found.replacing.function.body.block.args
    names = found.pattern.arguments
    return [match[n] for n, a in zip(names, arguments, strict=True) if a.first_use is not None]


def _anchor(
    match: Match, outputs: Sequence[SSAValue], arguments: Sequence[SSAValue]
) -> Operation | None:
    """The operation to insert before: after the arguments, before every user; None if none is."""
    if len(outputs) == 1 and outputs[0].owner is match.root:
        return match.root
    owners = {value.owner for value in outputs}
    span = _span(match.root, owners)
    last = max(i for i, op in enumerate(span) if op in owners)
    users = {user for value in outputs for user in _outside_users(value, match)}
    place = next((i for i, op in enumerate(span[:last]) if op in users), last)
    late = {value.owner for value in arguments}
    return None if any(op in late for op in span[place:]) else span[place]


def _span(root: Operation, owners: set[Any]) -> list[Operation]:
    """The operations of a block around one of them, such that all of some are among them."""
    before: list[Operation] = []
    after: list[Operation] = [root]
    missing = owners - {root}
    while missing:
        previous, following = (before or after[:1])[-1].prev_op, after[-1].next_op
        for op, ops in ((previous, before), (following, after)):
            if op is not None:
                ops.append(op)
                missing.discard(op)
    return [*reversed(before), *after]


def _inline(
    traced: Traced,
    arguments: Sequence[SSAValue],
    root: CallOp,
    anchor: Operation,
    rewriter: Rewriter,
    made: dict[Operation, frozenset[Replacement]],
    history: frozenset[Replacement],
) -> dict[SSAValue, SSAValue]:
    """Copy a function's operations in front of another one; returns the copy of each value."""
    body = traced.function.body.block
    block = anchor.parent
    assert block is not None
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments, strict=True))
    for op in body.ops:
        if not isinstance(op, CallOp):
            continue
        operands = [values[operand] for operand in op.operands]
        types = [result.type for result in op.results]
        attributes = placement_of(root)
        new = create_op(type(op), operands, types, dict(op.properties), root.location, attributes)
        block.insert_op_before(new, anchor)
        rewriter.modified(new)
        made[new] = history
        values.update(zip(op.results, new.results, strict=True))
    return values


def _add_schemas(module: ModuleOp, inserted: Sequence[Traced]) -> None:
    """Give the module the schemas of the custom operators that came into it."""
    known = module.attributes.get("aten.schemas")
    schemas = dict.fromkeys(known.data) if isinstance(known, ArrayAttr) else {}
    count = len(schemas)
    for traced in dict.fromkeys(inserted):
        more = traced.module.attributes.get("aten.schemas")
        schemas.update(dict.fromkeys(more.data) if isinstance(more, ArrayAttr) else {})
    if len(schemas) > count:
        module.attributes["aten.schemas"] = ArrayAttr(list(schemas))
