"""The matcher of graph patterns: backwards from a root, with backtracking over alternatives and the
operand order of commutative operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from xdsl.ir import OpResult, SSAValue

from torchair.ir.call_values import read_arguments
from torchair.ir.calls import CallOp
from torchair.ir.pattern_nodes import COMMUTATIVE, Call, Hole, OneOf, Order, Plan
from torchair.ir.private import VALUE_CLASSES, operands_of, users_of


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

    def bind(self, hole: Hole, found: Any) -> bool:
        """Bind the name of a hole, which is not bound yet; whether its value is the same if it
        is."""
        known = self._bound.setdefault(hole.name, found)
        return known is found or is_same(known, found)

    def is_bound(self, name: str) -> bool:
        """Whether a hole of this name has a value."""
        return name in self._bound

    def unbind(self, names: Sequence[str]) -> None:
        """Forget the values of holes."""
        for name in names:
            del self._bound[name]

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
            for result in op.results:
                if any(user not in self.calls for user in users_of(result)):
                    return op
        return None


def is_same(left: Any, right: Any) -> bool:
    """Whether two argument values are the same: SSA values by identity, the rest by equality."""
    if left.__class__ in VALUE_CLASSES or right.__class__ in VALUE_CLASSES:
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        lefts, rights = cast("list[Any]", left), cast("list[Any]", right)
        return len(lefts) == len(rights) and all(map(is_same, lefts, rights))
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right)


def match_root(
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


def match_value(pattern: Any, found: Any, match: Match) -> Iterator[None]:
    """Every way in which a pattern matches a value; bindings hold while the iterator is paused."""
    if isinstance(pattern, Call):
        yield from _match_call(pattern, found, match)
    elif isinstance(pattern, OneOf):
        for alternative in pattern.alternatives:
            if _may_be(alternative, found):
                yield from match_value(alternative, found, match)
    elif isinstance(pattern, list | tuple):
        items = cast("Sequence[Any]", pattern)
        if isinstance(found, list) and len(cast("list[Any]", found)) == len(items):
            order = _calls_first([(index, item, "") for index, item in enumerate(items)])
            yield from _match_all(order, cast("list[Any]", found), match, None)
    else:
        bound: list[str] = []
        if _fits(pattern, found, match, bound):
            yield
            match.unbind(bound)


_BRANCHING = frozenset((Call, OneOf, list, tuple))
"""Patterns that may match in several ways."""


def _may_be(pattern: Any, found: Any) -> bool:
    """Whether a pattern can match a value by what defines it."""
    if type(pattern) is not Call:
        return True
    return type(found) is OpResult and found.op.name in pattern.names


def _fits(pattern: Any, found: Any, match: Match, bound: list[str]) -> bool:
    """Match a hole or a literal; adds the name that it binds to ``bound``."""
    if type(pattern) is not Hole:
        return is_same(pattern, found)
    if pattern.is_static is not None and pattern.is_static is _holds_value(found):
        return False
    if pattern.check is not None and not pattern.check(found):
        return False
    if not pattern.name:
        return True
    if not match.is_bound(pattern.name):
        bound.append(pattern.name)
    return match.bind(pattern, found)


def _holds_value(found: Any) -> bool:
    if isinstance(found, list):
        return any(item.__class__ in VALUE_CLASSES for item in cast("list[Any]", found))
    return found.__class__ in VALUE_CLASSES


def _match_call(pattern: Call, found: Any, match: Match) -> Iterator[None]:
    if type(found) is not OpResult:
        return
    op = found.op
    if op.name not in pattern.names or not isinstance(op, CallOp):
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
    given = read_arguments(op)
    plan = pattern.plans.get(op.__class__) or _plan(pattern, op)
    if not match.explains:
        for index, literal in plan.literals:
            if not is_same(literal, given[index]):
                return
    for _ in match.hold(op, pattern):
        for order in plan.orders:
            yield from _match_all(order, given, match, op)


def _plan(pattern: Call, op: CallOp) -> Plan:
    """Patterns paired with parameters, in every operand order that means the same."""
    wanted = list(pattern.arguments)
    parameters = op.schema.parameters
    orders: list[Order] = []
    free = 2 if op.name in COMMUTATIVE else 0
    if len(wanted) <= len(parameters):
        for parameter in parameters[len(wanted) :]:
            wanted.append(pattern.named.get(parameter.name, parameter.default))
        names = [parameter.name for parameter in parameters]
        pairs = list(zip(range(len(wanted)), wanted, names, strict=True))
        orders.append(_calls_first(pairs))
        if free:
            swapped = [(1, wanted[0], names[1]), (0, wanted[1], names[0])]
            orders.append(_calls_first([*swapped, *pairs[2:]]))
    kinds = (*_BRANCHING, Hole)
    literals = [(i, w) for i, w in enumerate(wanted) if i >= free and type(w) not in kinds]
    plan = pattern.plans[op.__class__] = Plan(tuple(orders), tuple(literals if orders else ()))
    return plan


def _calls_first(pairs: Sequence[tuple[int, Any, str]]) -> Order:
    """The most telling patterns first."""
    return tuple(sorted(pairs, key=lambda pair: not isinstance(pair[1], Call)))


def _match_all(
    order: Order, given: Sequence[Any], match: Match, op: CallOp | None, position: int = 0
) -> Iterator[None]:
    """Match several arguments of an operation at once, from a position of the order on."""
    bound: list[str] = []
    while position < len(order):
        index, pattern, _ = order[position]
        if type(pattern) in _BRANCHING or not _fits(pattern, given[index], match, bound):
            break
        position += 1
    else:
        yield
        match.unbind(bound)
        return
    index, pattern, parameter = order[position]
    is_missed = True
    if type(pattern) in _BRANCHING and _may_be(pattern, given[index]):
        for _ in match_value(pattern, given[index], match):
            is_missed = False
            yield from _match_all(order, given, match, op, position + 1)
    if is_missed and op is not None and match.explains:
        match.missed(pattern, given[index], op, parameter)
        for _ in _match_all(order, given, match, op, position + 1):  # the rest counts as well
            match.missed(pattern, given[index], op, parameter)
            break
    match.unbind(bound)


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
