"""What a converter sees: ``Tensor`` wraps a value, ``TensorSpec`` describes a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, NoneType, StringAttr, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from torchair.ge.data_types import number_of
from torchair.ge.errors import ArgumentTypeError, UnknownShapeError
from torchair.ir import interned

NODE_NAME = "ge.node_name"
"""Discardable attribute that holds the name of a node; emission keeps it."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph under construction: an output of a node, or an input of the graph.

    Args:
        value: the SSA value this is a view of.
    """

    value: SSAValue

    @property
    def dtype(self) -> int:
        """``ge::DataType`` number."""
        return number_of(interned.element_type(self.value.type))

    @property
    def symsize(self) -> list[int | str]:
        """Sizes: an int where static, else the symbol's name, ``?`` when it has none.

        Raises:
            UnknownShapeError: the rank is unknown (a node that this converter has built).
        """
        return symbolic_sizes(self.value.type)

    @property
    def rank(self) -> int:
        """Number of dimensions.

        Raises:
            UnknownShapeError: see ``symsize``.
        """
        return len(self.symsize)

    @property
    def index(self) -> int:
        """Position among the outputs of its node."""
        return getattr(self.value, "index", 0)

    @property
    def node(self) -> Node:
        """The node that computes it."""
        return Node(self.value)

    @property
    def tensor(self) -> str:
        """``node name:output index``."""
        return f"{self.node.name}:{self.index}"

    @property
    def controller(self) -> str:
        """``node name:-1``, what control edges refer to."""
        return f"{self.node.name}:-1"

    def __str__(self) -> str:
        return f"Tensor({self.tensor}, {self.value.type})"

    __repr__ = __str__


@dataclass(frozen=True)
class Node:
    """The node behind a tensor."""

    value: SSAValue

    @property
    def operation(self) -> Operation | None:
        """The ge operation, None for an input of the graph."""
        owner = self.value.owner
        return owner if isinstance(owner, Operation) else None

    @property
    def type(self) -> str:
        """GE type, ``Data`` for an input of the graph."""
        return "Data" if self.operation is None else self.operation.name.removeprefix("ge.")

    @property
    def name(self) -> str:
        """The name that was asked for; else the GE type, which emission numbers."""
        operation = self.operation
        given = None if operation is None else operation.attributes.get(NODE_NAME)
        if isinstance(given, StringAttr):
            return given.data
        if operation is None and self.value.name_hint:
            return self.value.name_hint
        return self.type


@dataclass(frozen=True)
class TensorSpec:
    """What the operator returns by its meta function: the target of a conversion.

    Args:
        type: tensor type, symbolic sizes in its encoding.
    """

    type: Attribute

    @property
    def dtype(self) -> int:
        """``ge::DataType`` number."""
        return number_of(interned.element_type(self.type))

    @property
    def size(self) -> list[int]:
        """Sizes.

        Raises:
            UnknownShapeError: at least one is symbolic.
        """
        sizes = interned.shape_of(self.type)
        if sizes is None or interned.DYNAMIC in sizes:
            raise UnknownShapeError(
                "the sizes of a result are symbolic",
                found=self.symsize,
                hint="use .rank and .symsize, or compile with dynamic=False",
            )
        return list(sizes)

    @property
    def symsize(self) -> list[int | str]:
        """Sizes: an int where static, else the symbol's name."""
        return symbolic_sizes(self.type)

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.symsize)


def symbolic_sizes(type_: Attribute) -> list[int | str]:
    """Sizes of a tensor type, symbols by name.

    Raises:
        UnknownShapeError: the rank is unknown.
    """
    sizes = interned.shape_of(type_)
    if sizes is None:
        raise UnknownShapeError(
            "unknown rank: the shape of a node is only known after the conversion",
            hint="read the rank of the converter's arguments, or of meta_outputs",
        )
    encoding: Any = type_.encoding if isinstance(type_, TensorType) else None
    names = (
        [item.data for item in encoding] if isinstance(encoding, ArrayAttr) else ["?"] * len(sizes)
    )
    return [name if n == interned.DYNAMIC else n for n, name in zip(sizes, names, strict=True)]


def spec_of(type_: Attribute) -> TensorSpec | None:
    """Description of one result, None for an undefined one."""
    return None if isinstance(type_, NoneType) else TensorSpec(type_)


def wrap(value: Any) -> Any:
    """Values as tensors, in any nesting of lists; everything else as it is."""
    if isinstance(value, SSAValue):
        return Tensor(value)
    if isinstance(value, list | tuple):
        return type(value)(wrap(item) for item in value)
    return value


def unwrap(value: Any) -> Any:
    """Tensors as values, in any nesting of lists; everything else as it is."""
    if isinstance(value, Tensor):
        return value.value
    if isinstance(value, list | tuple):
        return [unwrap(item) for item in value]
    return value


def require_tensors(values: Sequence[Any], what: str) -> list[SSAValue]:
    """The values of a sequence of tensors.

    Raises:
        ArgumentTypeError: one is none.
    """
    for value in values:
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(
                f"{what} must be tensors of the graph",
                expected="torchair.ge.Tensor",
                found=f"{value!r} ({type(value).__name__})",
                hint="make a constant with torchair.ge.Const",
            )
    return [value.value for value in values]
