"""Graph patterns: a small DAG of calls with holes, matched backwards from its root.

    x, eps = value("x"), static("eps")
    mean = call("aten.mean.dim", call("aten.mul.Tensor", x, x), [-1], True)
    RSQRT = call("aten.rsqrt", call("aten.add.Tensor", mean, eps))

    @rewrites(RSQRT)
    def fuse(match, rewriter): ...

A hole that appears twice must hold the same value, and a call that appears twice must match the
same operation. Parameters that a pattern does not mention must have their defaults. Operations
inside a match must not be used outside it, unless the pattern says ``shared``. Matching backtracks
over the operand order of commutative operations and alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from xdsl.ir import Operation, OpResult, SSAValue

from torchair.ir.call_values import read_arguments
from torchair.ir.calls import CallOp
from torchair.ir.private import operands_of
from torchair.ir.rewrite import Pattern, Rewriter

COMMUTATIVE = frozenset(
    f"aten.{name}"
    for name in ("add.Tensor", "mul.Tensor", "maximum", "minimum", "logical_and", "logical_or")
)
"""Operations whose first two operands may be given in either order."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Matches anything its check accepts, and binds it to a name.

    Args:
        name: name in ``Match``; the empty name binds nothing.
        is_static: whether a static Python value is wanted rather than an SSA value; None for both.
        check: accepts or refuses a value.
    """

    name: str
    is_static: bool | None = None
    check: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Matches a result of a call.

    Args:
        names: accepted mnemonics.
        arguments: one pattern or literal per leading parameter.
        named: patterns of further parameters by name.
        result: which result of the operation the pattern stands for.
        shared: whether the operation may have users outside the match.
        key: the same for all results of one call of the pattern.
        producers: per argument, the mnemonics of which one must define it.
    """

    names: tuple[str, ...]
    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict[str, Any])
    result: int = 0
    shared: bool = False
    key: object = field(default_factory=object)
    producers: tuple[frozenset[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        names = [_producers(argument) for argument in (*self.arguments, *self.named.values())]
        object.__setattr__(self, "producers", tuple(n for n in names if n))


@dataclass(frozen=True, slots=True)
class OneOf:
    """Matches what one of its alternatives matches; the first in order wins."""

    alternatives: tuple[Node, ...]


Node: TypeAlias = Hole | Call | OneOf


def value(name: str, check: Callable[[SSAValue], bool] | None = None) -> Hole:
    """A hole for an SSA value."""
    return Hole(name, False, cast("Callable[[Any], bool] | None", check))


def static(name: str, check: Callable[[Any], bool] | None = None) -> Hole:
    """A hole for a static argument: a number, a list, a dtype."""
    return Hole(name, True, check)


ANY = Hole("")
"""Matches everything."""


def call(names: str | Sequence[str], *arguments: Any, **named: Any) -> Call:
    """A call of one of several operations, by mnemonic."""
    accepted = (names,) if isinstance(names, str) else tuple(names)
    return Call(accepted, arguments, named)


def one_of(*alternatives: Node) -> OneOf:
    """The first alternative that matches."""
    return OneOf(alternatives)


def shared(node: Call) -> Call:
    """The same call, allowed to have users outside the match."""
    return replace(node, shared=True)


def result(node: Call, index: int) -> Call:
    """Another result of the same call; both match results of one operation."""
    return replace(node, result=index)


class Match:
    """What a pattern matched.

    Attributes:
        root: operation that the root pattern matched.
        calls: matched operations and whether users outside the match are allowed.
    """

    explains = False
    """Whether ``missed`` wants to hear of every failure."""

    def __init__(self, root: CallOp) -> None:
        self.root = root
        self.calls: dict[CallOp, bool] = {}
        self._bound: dict[str, Any] = {}
        self._operations: dict[object, CallOp] = {}

    def __getitem__(self, name: str) -> Any:
        """The value bound to a hole."""
        return self._bound[name]

    def get(self, name: str) -> Any:
        """The value bound to a hole, or None when the alternative that matched has no such hole."""
        return self._bound.get(name)

    def operation(self, node: Call) -> CallOp | None:
        """The operation that a call of the pattern matched, or None when it matched none."""
        return self._operations.get(node.key)

    def missed(self, pattern: Any, found: Any, op: CallOp, parameter: str) -> None:
        """Hear that an argument of an operation is not what the pattern wants there."""

    def missed_place(self, op: CallOp) -> None:
        """Hear that an operation is in another place (stream, scope) than the root."""

    def bind(self, hole: Hole, found: Any) -> Iterator[None]:
        """Bind a hole while the caller goes on matching."""
        if not hole.name:
            yield
        elif hole.name in self._bound:
            if is_same(self._bound[hole.name], found):
                yield
        else:
            self._bound[hole.name] = found
            yield
            del self._bound[hole.name]

    def hold(self, op: CallOp, node: Call) -> Iterator[None]:
        """Count an operation as matched by a call of the pattern while the caller goes on."""
        known = self.calls.get(op)
        is_new = node.key not in self._operations
        self.calls[op] = node.shared or bool(known)
        self._operations[node.key] = op
        yield
        if is_new:
            del self._operations[node.key]
        if known is None:
            del self.calls[op]
        else:
            self.calls[op] = known

    def escaping(self) -> CallOp | None:
        """A matched operation, not the root, that has a user outside the match; None if none."""
        for op, is_shared in self.calls.items():
            if is_shared or op is self.root:
                continue
            if any(use.operation not in self.calls for res in op.results for use in res.uses):
                return op
        return None


def is_same(left: Any, right: Any) -> bool:
    """Whether two argument values are the same: SSA values by identity, the rest by equality."""
    if isinstance(left, SSAValue) or isinstance(right, SSAValue):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        lefts, rights = cast("list[Any]", left), cast("list[Any]", right)
        return len(lefts) == len(rights) and all(map(is_same, lefts, rights))
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def _match_root(
    alternatives: Sequence[Call], op: CallOp, where: Callable[[Match], bool] | None
) -> Match | None:
    """The first match of calls rooted at an operation that ``where`` accepts, or None."""
    match: Match | None = None
    for alternative in alternatives:
        if op.name not in alternative.names or len(op.results) <= alternative.result:
            continue
        if not _may_match(alternative, op):
            continue
        match = match or Match(op)
        for _ in match_value(alternative, op.results[alternative.result], match):
            if match.escaping() is None and (where is None or where(match)):
                return match
    return None


def _may_match(pattern: Call, op: CallOp) -> bool:
    """Whether the producers that a pattern wants are there at all: most calls fail here."""
    for names in pattern.producers:
        for operand in operands_of(op):
            if type(operand) is OpResult and operand.op.name in names:
                break
        else:
            return False
    return True


def _producers(argument: Any) -> frozenset[str]:
    """Mnemonics of which one must define an argument; none when anything may."""
    if isinstance(argument, Call):
        return frozenset(argument.names)
    if isinstance(argument, OneOf):
        names = [_producers(alternative) for alternative in argument.alternatives]
        return frozenset[str]().union(*names) if all(names) else frozenset()
    return frozenset()


def _required(argument: Any) -> frozenset[frozenset[str]]:
    """Sets of mnemonics of which one each is in every match of an argument."""
    if isinstance(argument, Call):
        below = [_required(item) for item in (*argument.arguments, *argument.named.values())]
        return frozenset((frozenset(argument.names),)).union(*below)
    if isinstance(argument, OneOf):
        first, *others = [_required(alternative) for alternative in argument.alternatives]
        names = _producers(argument)
        return first.intersection(*others) | frozenset((names,) if names else ())
    if isinstance(argument, list | tuple):
        below = [_required(item) for item in cast("Sequence[Any]", argument)]
        return frozenset[frozenset[str]]().union(*below)
    return frozenset()


def _alternatives(pattern: Node) -> list[Call]:
    if isinstance(pattern, Call):
        return [pattern]
    if isinstance(pattern, Hole):
        raise ValueError("the root of a pattern must be a call")
    return [call for node in pattern.alternatives for call in _alternatives(node)]


def match_value(pattern: Any, found: Any, match: Match) -> Iterator[None]:
    """Every way in which a pattern matches a value; bindings hold while the iterator is paused."""
    if isinstance(pattern, Call):
        yield from _match_call(pattern, found, match)
    elif isinstance(pattern, Hole):
        is_static = not _holds_value(found)
        if pattern.is_static in (None, is_static) and (
            pattern.check is None or pattern.check(found)
        ):
            yield from match.bind(pattern, found)
    elif isinstance(pattern, OneOf):
        for alternative in pattern.alternatives:
            yield from match_value(alternative, found, match)
    elif isinstance(pattern, list | tuple):
        items = cast("Sequence[Any]", pattern)
        if isinstance(found, list) and len(cast("list[Any]", found)) == len(items):
            values = cast("list[Any]", found)
            yield from _match_all(
                [(*pair, "") for pair in zip(items, values, strict=True)], match, None
            )
    elif is_same(pattern, found):
        yield


def _holds_value(found: Any) -> bool:
    if isinstance(found, list):
        return any(isinstance(item, SSAValue) for item in cast("list[Any]", found))
    return isinstance(found, SSAValue)


def _match_call(pattern: Call, found: Any, match: Match) -> Iterator[None]:
    if not isinstance(found, SSAValue):
        return
    op = found.owner
    if not isinstance(op, CallOp) or op.name not in pattern.names:
        return
    if op.results[pattern.result] is not found:
        return
    if op.attributes != match.root.attributes:
        match.missed_place(op)
        return
    known = match.operation(pattern)
    if known is not None:
        if known is op:
            yield from match.hold(op, pattern)
        return
    if not match.explains and not _may_match(pattern, op):
        return
    for _ in match.hold(op, pattern):
        for pairs in _pairings(pattern, op):
            yield from _match_all(pairs, match, op)


_Pair: TypeAlias = tuple[Any, Any, str]
"""A pattern, the argument it is for, and the parameter's name."""


def _pairings(pattern: Call, op: CallOp) -> Iterator[list[_Pair]]:
    """Patterns paired with arguments, in every operand order that means the same."""
    given = read_arguments(op)
    wanted = list(pattern.arguments)
    parameters = op.schema.parameters
    if len(wanted) > len(given):
        return
    for parameter in parameters[len(wanted) :]:
        wanted.append(pattern.named.get(parameter.name, parameter.default))
    names = [parameter.name for parameter in parameters]
    pairs = list(zip(wanted, given, names, strict=True))
    yield pairs
    if op.name in COMMUTATIVE:
        swapped = [(wanted[0], given[1], names[1]), (wanted[1], given[0], names[0])]
        yield [*swapped, *pairs[2:]]


def _match_all(pairs: list[_Pair], match: Match, op: CallOp | None) -> Iterator[None]:
    """Match several arguments of an operation at once, the most telling (calls) first."""
    if not pairs:
        yield
        return
    first = next((i for i, pair in enumerate(pairs) if isinstance(pair[0], Call)), 0)
    rest = pairs[:first] + pairs[first + 1 :]
    pattern, found, parameter = pairs[first]
    is_missed = True
    for _ in match_value(pattern, found, match):
        is_missed = False
        yield from _match_all(rest, match, op)
    if is_missed and op is not None and match.explains:
        match.missed(pattern, found, op, parameter)
        for _ in _match_all(rest, match, op):  # the rest counts as far as it matches
            match.missed(pattern, found, op, parameter)
            break


def match_outputs(
    outputs: Sequence[Call], match: Match, where: Callable[[Match], bool] | None = None
) -> bool:
    """Match a pattern that has several outputs; the bindings stay in ``match`` on success.

    Args:
        outputs: the first is matched at ``match.root``. Each other is a call inside the pattern of
            one before it, or is found among the users of what those bound.
        where: accepts or refuses a match; when it refuses, the search goes on.
    """
    first, *others = outputs
    root = match.root
    if root.name not in first.names or len(root.results) <= first.result:
        return False
    for _ in match_value(first, root.results[first.result], match):
        for _ in _match_others(others, match):
            if match.escaping() is None and (where is None or where(match)):
                return True
    return False


def _match_others(outputs: Sequence[Call], match: Match) -> Iterator[None]:
    if not outputs:
        yield
        return
    for candidate in _candidates(outputs[0], match) or ():
        for _ in match_value(outputs[0], candidate, match):
            yield from _match_others(outputs[1:], match)


def _candidates(node: Call, match: Match) -> list[SSAValue] | None:
    """Values that a call may match, found upwards from what is bound; None if nothing below is."""
    op = match.operation(node)
    if op is not None:
        return [op.results[node.result]]
    arguments = [*_flat(node.arguments), *_flat(tuple(node.named.values()))]
    below = [_candidates(item, match) for item in arguments if isinstance(item, Call)]
    holes = [match.get(item.name) for item in arguments if isinstance(item, Hole)]
    below += [[value] for value in holes if isinstance(value, SSAValue)]
    known = [values for values in below if values is not None]
    if not known:
        return None
    users = [use.operation for value in min(known, key=len) for use in value.uses]
    return [
        op.results[node.result]
        for op in dict.fromkeys(users)
        if op.name in node.names and len(op.results) > node.result
    ]


def _flat(arguments: Sequence[Any]) -> Iterator[Any]:
    for item in arguments:
        if isinstance(item, list | tuple):
            yield from _flat(cast("Sequence[Any]", item))
        else:
            yield item


RewriteFn = Callable[[Match, Rewriter], None]


def rewrites(
    *patterns: Node, where: Callable[[Match], bool] | None = None
) -> Callable[[RewriteFn], Pattern]:
    """Declare a rewrite of whatever one of several graph patterns matches.

    The function replaces ``match.root`` through the rewriter, or returns without a change to refuse
    the match. What the replacement leaves without users is erased.

    Args:
        patterns: tried in order.
        where: accepts or refuses a match by types and shapes; when it refuses, the search goes on.
    """
    roots = [_alternatives(node) for node in patterns]
    names = tuple(dict.fromkeys(name for calls in roots for call in calls for name in call.names))

    def declare(function: RewriteFn) -> Pattern:
        def apply(op: CallOp, rewriter: Rewriter) -> None:
            for calls in roots:
                match = _match_root(calls, op, where)
                if match is None:
                    continue
                function(match, rewriter)
                if op in rewriter.erased:
                    erase_unused(match.calls, rewriter)
                    return

        apply.__name__ = function.__name__
        return Pattern(names, apply, _required(OneOf(patterns)))

    return declare


def erase_unused(calls: Mapping[CallOp, bool], rewriter: Rewriter) -> None:
    """Erase the matched operations that nobody uses any more, users first."""
    pending: list[Operation] = [op for op in calls if op not in rewriter.erased]
    progress = True
    while progress:
        progress = False
        for op in list(pending):
            if not any(True for res in op.results for _ in res.uses):
                rewriter.erase(op)
                pending.remove(op)
                progress = True
