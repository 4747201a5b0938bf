"""Writes float16 aten operations into a function, for ``bench/stream_graphs.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, Block, SSAValue

from torchair.dialects import aten
from torchair.ir import interned
from torchair.ir.conversion import build_function
from torchair.ir.private import append_op, create_op


class GraphWriter:
    """One function. Operators are named without their dialect; shapes are those of the results."""

    def __init__(self) -> None:
        self.function, self.block = build_function("forward", [], [])

    def value(self, *shape: int) -> SSAValue:
        """A new argument of the function."""
        type_ = interned.tensor(list(shape), interned.f16)
        return self.block.insert_arg(type_, len(self.block.args))

    def shape(self, x: SSAValue) -> tuple[int, ...]:
        return tuple(interned.shape_of(x.type) or ())

    def calls(
        self,
        name: str,
        values: Sequence[object],
        results: Sequence[tuple[Sequence[int], Attribute]],
    ) -> Sequence[SSAValue]:
        """A call with results of some shapes and element types."""
        cls = aten.lookup(f"aten.{name}")
        assert cls is not None, name
        defaults = [p.default for p in cls.schema.parameters[len(values) :]]
        types = [interned.tensor(list(shape), element) for shape, element in results]
        op = cls.build_call([*values, *defaults], types)
        append_op(self.block, op)
        return op.results

    def call(
        self,
        name: str,
        values: Sequence[object],
        shape: Sequence[int],
        element: Attribute = interned.f16,
    ) -> SSAValue:
        """A call with one result."""
        return self.calls(name, values, [(shape, element)])[0]

    def finish(self, *results: SSAValue) -> ModuleOp:
        append_op(self.block, create_op(ReturnOp, list(results), [], {}))
        inputs = [a.type for a in self.block.args]
        kind = self.function.function_type
        self.function.function_type = kind.from_lists(inputs, [v.type for v in results])
        return ModuleOp([self.function])

    # ------------------------------------------------------------ single operators

    def unary(self, name: str, x: SSAValue) -> SSAValue:
        return self.call(name, [x], self.shape(x))

    def add(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.call("add.Tensor", [x, y], self.shape(x))

    def mul(self, x: SSAValue, y: SSAValue) -> SSAValue:
        return self.call("mul.Tensor", [x, y], self.shape(x))

    def view(self, x: SSAValue, *shape: int) -> SSAValue:
        element = interned.element_type(x.type)
        return self.call("view", [x, list(shape)], shape, element)

    def permuted(self, x: SSAValue, *order: int) -> SSAValue:
        shape = self.shape(x)
        return self.call("permute", [x, list(order)], [shape[dim] for dim in order])

    def part(self, x: SSAValue, start: int, end: int) -> SSAValue:
        """A slice of the last dimension."""
        shape = self.shape(x)
        return self.call(
            "slice.Tensor", [x, len(shape) - 1, start, end], (*shape[:-1], end - start)
        )

    def joined(self, x: SSAValue, y: SSAValue) -> SSAValue:
        """Side by side in the last dimension."""
        *outer, last = self.shape(x)
        return self.call("cat", [[x, y], -1], (*outer, last + self.shape(y)[-1]))

    # ------------------------------------------------------------ blocks of models

    def linear(self, x: SSAValue, width: int) -> SSAValue:
        """``x @ w.t()`` with a weight of its own."""
        rows, depth = self.shape(x)
        weight = self.permuted(self.value(width, depth), 1, 0)
        return self.call("mm", [x, weight], (rows, width))

    def mlp(self, x: SSAValue, width: int) -> SSAValue:
        """A gated feed-forward network."""
        gate = self.unary("silu", self.linear(x, width))
        return self.linear(self.mul(gate, self.linear(x, width)), self.shape(x)[1])

    def normalized(self, x: SSAValue) -> SSAValue:
        """Divided by the root of the mean square of each row."""
        rows, width = self.shape(x)
        mean = self.call("mean.dim", [self.mul(x, x), [-1], True], (rows, 1))
        scaled = self.mul(x, self.unary("rsqrt", mean))
        return self.mul(scaled, self.value(width))

    def rotated(self, x: SSAValue) -> SSAValue:
        """With rotary positions."""
        rows, _, width = self.shape(x)
        half = width // 2
        turned = self.joined(self.unary("neg", self.part(x, half, width)), self.part(x, 0, half))
        cos, sin = self.value(rows, 1, width), self.value(rows, 1, width)
        return self.add(self.mul(x, cos), self.mul(turned, sin))

    def attention(
        self, query: SSAValue, key: SSAValue, value: SSAValue, bias: SSAValue
    ) -> SSAValue:
        """Of ``[rows, heads, width]``, as ``[rows, heads * width]``."""
        rows, heads, _ = self.shape(query)
        scores = self.call(
            "bmm",
            [self.permuted(query, 1, 0, 2), self.permuted(key, 1, 2, 0)],
            (heads, rows, rows),
        )
        shares = self.call("_softmax", [self.add(scores, bias), -1, False], (heads, rows, rows))
        shape = (heads, rows, self.shape(value)[-1])
        mixed = self.call("bmm", [shares, self.permuted(value, 1, 0, 2)], shape)
        mixed = self.permuted(mixed, 1, 0, 2)
        return self.view(self.unary("clone", mixed), rows, prod(self.shape(mixed)[1:]))

    def convolution(self, x: SSAValue, width: int, side: int) -> SSAValue:
        """A convolution that keeps the size of an image, and a relu."""
        images, depth, height, breadth = self.shape(x)
        weight = self.value(width, depth, side, side)
        pad = [side // 2, side // 2]
        rest = [None, [1, 1], pad, [1, 1], False, [0, 0], 1]
        shape = (images, width, height, breadth)
        return self.unary("relu", self.call("convolution", [x, weight, *rest], shape))


def block_of(module: ModuleOp) -> Block:
    """The block of the only function."""
    return module.body.block.first_op.body.block  # pyright: ignore
