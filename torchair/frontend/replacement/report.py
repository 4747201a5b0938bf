"""How often replacements matched; for those that never did, the closest miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xdsl.dialects.builtin import DictionaryAttr, ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import BlockArgument, Operation, SSAValue

from torchair.dialects.stream.attributes import label_of
from torchair.frontend.replacement.sizes import expression_of
from torchair.ir.calls import CallOp
from torchair.ir.conversion import argument_attributes, build_function
from torchair.ir.graph_pattern import Call, Hole, Match, match_outputs, match_value
from torchair.ir.location import source_of
from torchair.ir.private import append_op, create_op

if TYPE_CHECKING:
    from torchair.frontend.replacement.apply_replacements import Application

OWN_RESULT = "it was made by this replacement"
INEXACT = "an argument of a call is another one"


@dataclass(frozen=True, slots=True)
class ClosestMiss:
    """The place where a pattern came closest to a match.

    Args:
        matched: how many calls of the pattern were there.
        calls: how many calls the pattern has.
        reason: what was different.
        op: mnemonic of the operation concerned; empty when there is none.
        source: the user's ``file:line``, or None.
    """

    matched: int
    calls: int
    reason: str
    op: str = ""
    source: str | None = None

    def __str__(self) -> str:
        place = f" at {self.op}" if self.op else ""
        source = f" ({self.source})" if self.source else ""
        return f"{self.matched} of {self.calls} calls{place}{source}: {self.reason}"


@dataclass
class ReplacementStatistics:
    """What a replacement did in one graph.

    Attributes:
        name: of the search function.
        calls: how many calls the pattern has.
        matches: how often it was replaced.
        refused: why places with the right calls were left alone, and how often.
    """

    name: str
    calls: int
    matches: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    explain: Callable[[], ClosestMiss | None] | None = field(default=None, repr=False)
    _closest: ClosestMiss | None = None

    def refuse(self, reason: str) -> None:
        """Count a refusal."""
        if reason != OWN_RESULT:
            self.refused[reason] += 1

    @property
    def closest_miss(self) -> ClosestMiss | None:
        """Where it came closest when it never matched; looked for when first asked."""
        if self.explain is not None:
            self._closest, self.explain = self.explain(), None
        return self._closest

    def __str__(self) -> str:
        text = f"replaced {self.name}: {self.matches} times"
        if self.matches == 0:
            return f"{text}; closest: {self.closest_miss or 'none of its calls is in the graph'}"
        refused = "; ".join(f"{reason} ({count})" for reason, count in self.refused.items())
        return f"{text}, refused: {refused}" if refused else text


def explain_later(module: ModuleOp, applications: Sequence[Application]) -> None:
    """Let statistics find their closest miss in the module as it is now."""
    if not applications:
        return
    copy = _copied(module)
    for application in applications:
        application.statistics.explain = _explainer(application, copy)


def _explainer(application: Application, module: ModuleOp) -> Callable[[], ClosestMiss | None]:
    return lambda: _Search(application).run(module)


class _Explained(Match):
    """A match that remembers how far it came and what stopped it."""

    explains = True

    def __init__(self, root: CallOp) -> None:
        super().__init__(root)
        self.reached = 0
        self.reason = ""
        self.at: CallOp = root

    def note(self, reason: str, op: CallOp) -> None:
        if len(self.calls) > self.reached:
            self.reached, self.reason, self.at = len(self.calls), reason, op

    def missed(self, pattern: Any, found: Any, op: CallOp, parameter: str) -> None:
        self.note(f"{parameter}: expected {self._wanted(pattern)}, found {_found(found)}", op)

    def missed_place(self, op: CallOp) -> None:
        streams = f"expected {label_of(self.root) or 'main'!r}, found {label_of(op) or 'main'!r}"
        same = label_of(self.root) == label_of(op)
        text = "other scope attributes than the last call" if same else f"stream: {streams}"
        self.note(text, op)

    def escaping(self) -> CallOp | None:
        op = super().escaping()
        if op is not None:
            users = [use.operation for res in op.results for use in res.uses]
            outside = next(user for user in users if user not in self.calls)
            self.note(f"used outside of the pattern, by {_described(outside)}", op)
        return op

    def _wanted(self, pattern: Any) -> str:
        if isinstance(pattern, Call):
            known = self.operation(pattern)
            same = "" if known is None else "the same "
            return same + " or ".join(pattern.names)
        if isinstance(pattern, Hole):
            if pattern.check is not None:
                return "another size"
            return f"'{pattern.name}'" if self.get(pattern.name) is not None else "a tensor"
        return str(pattern)


class _Search:
    """Looks for the place where a pattern comes closest."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.pattern = application.loose
        self.best: ClosestMiss | None = None

    def run(self, module: ModuleOp) -> ClosestMiss | None:
        ops = _calls(module)
        root = self.pattern.roots[0]
        for op in ops:
            if op.name in root.names:
                self._whole(op)
        if self.best is None or self.best.matched < len(self.pattern.calls):
            for node, _ in reversed(self.pattern.calls):
                if node.key is not root.key:
                    self._part(node, ops)
        return self.best

    def _whole(self, op: CallOp) -> None:
        """Match everything at one root, and hear why it fails."""
        match = _Explained(op)
        refusals: list[tuple[str, CallOp]] = []

        def where(found: Match) -> bool:
            exact: list[_Explained] = []

            def explained(root: CallOp) -> Match:
                exact.append(_Explained(root))
                return exact[-1]

            reason = self.application.refusal(found, explained) or ""
            told = reason == INEXACT and exact[0].reason
            refusals.append((exact[0].reason, exact[0].at) if told else (reason, op))
            return False

        match_outputs(self.pattern.roots, match, where)
        if refusals:
            self._note(len(self.pattern.calls), *refusals[0])
        elif match.reason:
            self._note(match.reached, match.reason, match.at)
        else:
            self._note(1, "the other results of the pattern are not computed", op)

    def _part(self, node: Call, ops: Sequence[CallOp]) -> None:
        """Match what is below one call of the pattern, wherever it is."""
        parents = [
            name
            for parent, _ in self.pattern.calls
            if any(isinstance(a, Call) and a.key is node.key for a in parent.arguments)
            for name in parent.names
        ]
        for op in ops:
            if op.name not in node.names:
                continue
            match = _Explained(op)
            for _ in match_value(node, op.results[node.result], match):
                users = [_name(use.operation) for res in op.results for use in res.uses]
                wanted = " or ".join(dict.fromkeys(parents)) or "nothing"
                found = ", ".join(dict.fromkeys(users)) or "nothing"
                self._note(len(match.calls), f"used by {found}, expected by {wanted}", op)
                break
            else:
                self._note(match.reached, match.reason, match.at)

    def _note(self, matched: int, reason: str, op: CallOp) -> None:
        if self.best is None or matched > self.best.matched:
            source = source_of(op.location)
            self.best = ClosestMiss(matched, len(self.pattern.calls), reason, op.name, source)


def _found(value: Any) -> str:
    if isinstance(value, BlockArgument):
        return f"an argument of the graph ({value.type})"
    if isinstance(value, SSAValue):
        text = expression_of(value)
        return _described(value.owner) if text is None else text
    if isinstance(value, list):
        return f"[{', '.join(_found(item) for item in value)}]"
    return str(value)


def _described(op: Any) -> str:
    source = source_of(op.location) if isinstance(op, Operation) else None
    return f"{_name(op)} ({source})" if source else _name(op)


def _name(op: Any) -> str:
    return "the graph's results" if op.name == "func.return" else op.name


def _calls(module: ModuleOp) -> list[CallOp]:
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    return [op for f in functions for op in f.body.block.ops if isinstance(op, CallOp)]


def _copied(module: ModuleOp) -> ModuleOp:
    return ModuleOp([_copied_function(op) for op in module.ops if isinstance(op, FuncOp)])


def _copied_function(function: FuncOp) -> FuncOp:
    body = function.body.block
    types = [argument.type for argument in body.args]
    entries = [DictionaryAttr(entry) for entry in argument_attributes(function)]
    results = list(function.function_type.outputs)
    copy, block = build_function(function.sym_name.data, types, results, entries)
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, block.args, strict=True))
    for op in body.ops:
        operands = [values[operand] for operand in op.operands]
        types = [result.type for result in op.results]
        properties, attributes = dict(op.properties), dict(op.attributes)
        new = create_op(type(op), operands, types, properties, op.location, attributes)
        append_op(block, new)
        values.update(zip(op.results, new.results, strict=True))
    return copy
