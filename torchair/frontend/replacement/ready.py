"""Patterns that are given ready, in Inductor's pattern classes, as patterns of our matcher.

``CallFunction``, ``KeywordArg``, ``ExclusiveKeywordArg``, ``Ignored``, ``ListOf`` and
``MultiOutputPattern`` have a counterpart. Classes whose matches have no fixed arguments or results
are refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._inductor import pattern_matcher as inductor
from torch.utils import _pytree as pytree

from torchair.errors import ConfigError
from torchair.frontend.fake_types import static_value
from torchair.frontend.fx_import import aten_name
from torchair.frontend.replacement.pattern import FunctionPattern, require_connected, roots_of
from torchair.frontend.replacement.trace import Parameters
from torchair.ir.graph_pattern import ANY, Call, Hole, result

_REFUSED = {
    inductor.Arg: "it has no name, so nothing says which parameter it is: use KeywordArg",
    inductor.RepeatedExpr: "it has any number of results, and a replacement has a fixed one",
    inductor.CallFunctionVarArgs: "it hands over its arguments without names: use CallFunction",
    inductor.CallMethod: "graphs have no calls of methods: use CallFunction of an overload",
    inductor.CallMethodVarArgs: "graphs have no calls of methods: use CallFunction of an overload",
    inductor.CallModule: "graphs have no calls of modules: use CallFunction of overloads",
    inductor.CallModuleVarArgs: "graphs have no calls of modules: use CallFunction of overloads",
}


@dataclass(frozen=True, slots=True)
class ReadyPattern:
    """A pattern that was given.

    Args:
        pattern: of our matcher.
        targets: overloads by mnemonic.
        kept: which results of the replacement are used, by number.
        results: how many results the replacement must have.
        scalars: parameters that stand for numbers, with their example.
        exclusive: parameters of which no two may be the same value.
        text: what it looks for, to tell patterns apart.
    """

    pattern: FunctionPattern
    targets: Mapping[str, Any]
    kept: tuple[int, ...]
    results: int
    scalars: Mapping[str, float | int]
    exclusive: frozenset[str]
    text: str

    def number_difference(self, found: int) -> str | None:
        """What is wrong with a number of results; None when it is right."""
        return None if found == self.results else f"{found} results instead of {self.results}"


def ready_pattern(expression: Any, parameters: Parameters, name: str) -> ReadyPattern:
    """Translate a pattern.

    Args:
        expression: a ``PatternExpr`` of ``torch._inductor.pattern_matcher``.
        parameters: those of the search function, which the pattern's ``KeywordArg`` name.
        name: of the search function, for messages.

    Raises:
        ConfigError: the pattern has no counterpart.
    """
    if not isinstance(expression, inductor.PatternExpr):
        raise ConfigError(
            f"search_fn_pattern of '{name}' is no pattern",
            expected="a PatternExpr of torch._inductor.pattern_matcher",
            found=type(expression).__name__,
        )
    several = isinstance(expression, inductor.MultiOutputPattern)
    outputs: Sequence[Any] = expression.outputs if several else [expression]
    kept = tuple(index for index, output in enumerate(outputs) if output is not None)
    translation = _Translation(parameters, name)
    translation.count(outputs)
    calls = [translation.output(outputs[index]) for index in kept]
    order = tuple((call, None) for call in translation.calls)
    roots = roots_of(calls, order)
    names = tuple(parameters.tensors())
    pattern = FunctionPattern(tuple(calls), roots, order, names)
    require_connected(pattern, name)
    return ReadyPattern(
        pattern,
        translation.targets,
        kept,
        len(outputs),
        translation.scalars,
        frozenset(translation.exclusive),
        inductor.PatternPrettyPrinter.run(expression, "pattern"),
    )


@dataclass
class _Translation:
    """One pattern on its way.

    Attributes:
        calls: in order, arguments before the calls that take them.
    """

    parameters: Parameters
    name: str
    calls: list[Call] = field(default_factory=list[Call])
    targets: dict[str, Any] = field(default_factory=dict[str, Any])
    scalars: dict[str, float | int] = field(default_factory=dict[str, float | int])
    exclusive: set[str] = field(default_factory=set[str])
    _known: dict[int, Call] = field(default_factory=dict[int, Call])
    _uses: dict[int, int] = field(default_factory=dict[int, int])
    _outputs: set[int] = field(default_factory=set[int])

    def count(self, outputs: Sequence[Any]) -> None:
        """How often each call is used inside of the pattern, and which ones are outputs."""
        pending = [output for output in outputs if output is not None]
        self._outputs.update(id(_called(output)) for output in pending)
        seen: set[int] = set()
        while pending:
            node = pending.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for child in {id(c): c for c in _children(node)}.values():
                self._uses[id(child)] = self._uses.get(id(child), 0) + 1
                pending.append(child)

    def output(self, node: Any) -> Call:
        found = self._pattern(node, None)
        if isinstance(found, Call):
            return found
        raise self._refusal(node, "a result must be a call")

    def _pattern(self, node: Any, place: int | None) -> Any:
        """A pattern or literal; ``place`` is the entry of a list that it stands for."""
        if not isinstance(node, inductor.PatternExpr):
            return self._literal(node, place)
        if isinstance(node, inductor.Ignored):
            return ANY
        if isinstance(node, inductor.KeywordArg | inductor.ExclusiveKeywordArg):
            return self._argument(node, place)
        if isinstance(node, inductor.ListOf):
            return self._list(node)
        if isinstance(node, inductor.CallFunction):
            return self._call(node, place)
        reason = next((text for kind, text in _REFUSED.items() if isinstance(node, kind)), None)
        raise self._refusal(node, reason or "our matcher has no counterpart of it")

    def _literal(self, value: Any, place: int | None) -> Any:
        if isinstance(value, list | tuple):
            return [self._pattern(item, place) for item in value]
        return static_value(value)

    def _argument(self, node: Any, place: int | None) -> Hole:
        if node.name not in self.parameters.names:
            raise self._refusal(node, f"'{self.name}' has no parameter of this name")
        if isinstance(node, inductor.ExclusiveKeywordArg):
            self.exclusive.add(node.name)
        value = self.parameters.values[self.parameters.names.index(node.name)]
        if isinstance(value, bool | int | float):
            self.scalars[node.name] = value
            return Hole(node.name, True)
        tensors = list(self.parameters.tensors((node.name,)))
        if isinstance(value, torch.Tensor) or (place is not None and place < len(tensors)):
            return Hole(tensors[place if len(tensors) > 1 and place is not None else 0], False)
        raise self._refusal(node, f"the example of '{node.name}' is neither tensor nor number")

    def _list(self, node: Any) -> list[Any]:
        """As many entries as the examples of the parameters in it."""
        if node.partial:
            raise self._refusal(node, "entries that do not match belong to no parameter")
        names = [n.name for n in patterns_below(node) if isinstance(n, inductor.KeywordArg)]
        values = [self.parameters.values[self.parameters.names.index(n)] for n in names]
        lengths = {len(v) for v in map(pytree.tree_leaves, values) if v and len(v) > 1}
        lengths |= {len(v) for v in values if isinstance(v, list | tuple)}
        if len(lengths) != 1:
            raise self._refusal(
                node, "its length is that of the list that example_inputs has for its KeywordArg"
            )
        return [self._pattern(node.pattern, place) for place in range(lengths.pop())]

    def _call(self, node: Any, place: int | None) -> Call:
        known = self._known.get(id(node)) if place is None else None
        if known is not None:
            return known
        if node.fns[0] is operator.getitem:
            found = self._item(node, place)
        else:
            found = self._function(node, place)
            self.calls.append(found)
        self._known[id(node)] = found
        return found

    def _item(self, node: Any, place: int | None) -> Call:
        source, index = node.args
        call = self._pattern(source, place)
        if not isinstance(call, Call) or not isinstance(index, int):
            raise self._refusal(node, "getitem takes a call and a number")
        return result(call, index)

    def _function(self, node: Any, place: int | None) -> Call:
        overloads = [fn for fn in node.fns if isinstance(fn, torch._ops.OpOverload)]
        if not overloads:
            raise self._refusal(node, "it is no operator of torch.ops")
        self.targets.update((aten_name(op), op) for op in overloads)
        optional = {a.name: ANY for op in overloads for a in op._schema.arguments if a.kwarg_only}
        named = {name: self._pattern(value, place) for name, value in node.kwargs.items()}
        return Call(
            tuple(dict.fromkeys(aten_name(op) for op in overloads)),
            tuple(self._pattern(value, place) for value in node.args),
            {**optional, **named},
            shared=id(node) in self._outputs or self._may_have_other_users(node),
        )

    def _may_have_other_users(self, node: Any) -> bool:
        if isinstance(node.users, inductor.Multiple):
            return True
        return node.users > self._uses.get(id(node), 0)

    def _refusal(self, node: Any, reason: str) -> ConfigError:
        return ConfigError(
            f"search_fn_pattern of '{self.name}' cannot be translated",
            found=f"{node!r}: {reason}",
            hint="leave search_fn_pattern out: the pattern is then made from search_fn",
        )


def _called(node: Any) -> Any:
    """The call whose result a pattern stands for."""
    while isinstance(node, inductor.CallFunction) and node.fns[0] is operator.getitem:
        node = node.args[0]
    return node


def _children(node: Any) -> list[Any]:
    """Patterns directly below a pattern."""
    if isinstance(node, inductor.ListOf):
        return [node.pattern]
    leaves: list[Any] = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
    leaves += getattr(node, "outputs", ())
    found: list[Any] = []
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, list | tuple):
            leaves.extend(leaf)
        elif isinstance(leaf, inductor.PatternExpr):
            found.append(leaf)
    return found


def patterns_below(node: Any) -> list[Any]:
    """A pattern and all patterns below it; one that is used twice is there twice."""
    found, pending = [], [node]
    while pending:
        found.append(pending.pop())
        pending.extend(_children(found[-1]))
    return found
