"""Symbolic sizes of a place in a graph, as fresh symbols to trace functions with, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch._dynamo.source import ConstantSource
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv
from xdsl.dialects.builtin import StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, BlockArgument, SSAValue

from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.conversion import argument_attributes

_FIRST_HINT = 1009
_WORD = re.compile(r"[A-Za-z_]\w*")
_SUM = re.compile(r"[\w\s+*()-]*")
"""What sympy reads and writes in one form; the rest keeps the form that PyTorch gave it."""
_ARITHMETIC = {
    "sym.add": "({} + {})",
    "sym.sub": "({} - {})",
    "sym.mul": "({} * {})",
    "sym.floordiv": "({} // {})",
    "sym.mod": "Mod({}, {})",
    "sym.neg": "(-{})",
}


@lru_cache(4096)
def _parsed(text: str) -> Any:
    names = {word: sympy.Symbol(word, integer=True) for word in _WORD.findall(text)}
    functions = {name for name in names if f"{name}(" in text}
    parse: Any = sympy.sympify
    return parse(text, {n: s for n, s in names.items() if n not in functions})


@lru_cache(4096)
def is_same_size(left: str, right: str) -> bool:
    """Whether two expressions of sizes are equal for all values of their symbols."""
    return left == right or sympy.expand(_parsed(left) - _parsed(right)) == 0


def sizes_of(type_: Attribute) -> list[str] | None:
    """One expression per dimension; None when a size or the rank is unknown."""
    symbols, shape = interned.symbols_of(type_), interned.shape_of(type_)
    if symbols is not None:
        return list(symbols)
    if shape is None or interned.DYNAMIC in shape:
        return None
    return [str(size) for size in shape]


def is_same_type(left: Attribute, right: Attribute) -> bool:
    """Whether two types have equal elements and sizes, however their expressions are written."""
    if left == right:
        return True
    if interned.element_type(left) != interned.element_type(right):
        return False
    lefts, rights = sizes_of(left), sizes_of(right)
    if lefts is None or rights is None or len(lefts) != len(rights):
        return False
    return all(is_same_size(one, other) for one, other in zip(lefts, rights, strict=True))


def expression_of(value: Any) -> str | None:
    """A size as an expression of symbols: a number, or an SSA value computed from sizes; None when
    it is computed otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, BlockArgument):
        return _symbol_of(value)
    op = value.owner if isinstance(value, SSAValue) else None
    if not isinstance(op, CallOp):
        return None
    if op.name == "aten.sym_size.int":
        sizes = sizes_of(op.operands[0].type)
        return None if sizes is None else sizes[op.argument("dim")]
    form = _ARITHMETIC.get(op.name)
    parts = [expression_of(argument) for argument in op.arguments()] if form else [None]
    return None if form is None or None in parts else form.format(*parts)


def _symbol_of(argument: BlockArgument) -> str | None:
    function = argument.block.parent_op()
    if not isinstance(function, FuncOp):
        return None
    symbol = argument_attributes(function)[argument.index].get("torchair.symbol")
    return symbol.data if isinstance(symbol, StringAttr) else None


class TracedSizes:
    """Fake tensors with one fresh symbol per expression of the types they are made from.

    Attributes:
        mode: the fake mode of the tensors.
    """

    def __init__(self) -> None:
        self._environment = ShapeEnv(duck_shape=False)
        self.mode = FakeTensorMode(shape_env=self._environment)
        self._sizes: dict[str, Any] = {}
        self._originals: dict[str, str] = {}

    @property
    def guard(self) -> str | None:
        """An assumption about the sizes that tracing made, or None if it made none."""
        guards = self._environment.guards
        return self._in_originals(str(guards[0].expr)) if guards else None

    def tensor(self, type_: Attribute, like: torch.Tensor) -> torch.Tensor | None:
        """A fake tensor of a type; None when a size is unknown.

        Args:
            type_: tensor type.
            like: gives the device, and the order of the strides when it has the same rank.
        """
        texts = sizes_of(type_)
        if texts is None:
            return None
        sizes = [self._size(text) for text in texts]
        dtype = getattr(torch, element_types.to_name(interned.element_type(type_)))
        order = list(range(len(sizes)))
        if like.dim() == len(sizes) and not like.is_contiguous():
            order.sort(key=lambda dim: -like.stride(dim))
        with self.mode:
            return torch.empty_permuted(sizes, order, dtype=dtype, device=like.device)

    def original_type(self, type_: Attribute) -> Attribute:
        """A traced type in the symbols of the graph."""
        symbols, shape = interned.symbols_of(type_), interned.shape_of(type_)
        if symbols is None or shape is None:
            return type_
        texts = [self._in_originals(text) for text in symbols]
        sizes = [int(t) if t.lstrip("-").isdigit() else interned.DYNAMIC for t in texts]
        has_symbols = interned.DYNAMIC in sizes
        return interned.tensor(sizes, interned.element_type(type_), texts if has_symbols else None)

    def original_size(self, value: SSAValue) -> str | None:
        """A traced size as an expression of the graph's symbols."""
        text = expression_of(value)
        return None if text is None else self._in_originals(text)

    def _size(self, text: str) -> Any:
        if text.isdigit():
            return int(text)
        found = self._sizes.get(text)
        if found is None:
            found = self._sizes[text] = self._fresh(text)
            self._originals[str(found.node.expr)] = text
        return found

    def _fresh(self, text: str) -> Any:
        if re.search(r"\bu\d", text):  # the graph has no bounds for it either
            with self._environment.ignore_fresh_unbacked_symbols():
                return self._environment.create_unbacked_symint()
        hint = _FIRST_HINT + 4 * len(self._sizes)
        source = ConstantSource(f"size_{len(self._sizes)}")
        symbol = self._environment.create_symbol(hint, source, DimDynamic.DYNAMIC)
        return self._environment.create_symintnode(symbol, hint=hint, source=source)

    def _in_originals(self, text: str) -> str:
        if text in self._originals:
            return self._originals[text]
        replaced = _WORD.sub(lambda word: self._original_word(word.group()), text)
        return str(_parsed(replaced)) if replaced != text and _SUM.fullmatch(replaced) else replaced

    def _original_word(self, word: str) -> str:
        original = self._originals.get(word, word)
        return original if original.isalnum() else f"({original})"


def first_difference(
    wanted: Sequence[Attribute], found: Sequence[Attribute], text: Callable[[Attribute], str] = str
) -> str | None:
    """How lists of types differ, in words; None when they do not."""
    for left, right in zip(wanted, found, strict=True):
        if not is_same_type(left, right):
            return f"expected {text(left)}, found {text(right)}"
    return None
