"""Call schemas: what a table-driven operation takes and gives.

A schema is a list of parameters. Tensors and symbolic scalars are SSA operands; everything static
is
a property named after its parameter; a list that mixes both keeps its static part in the property
with ``DYNAMIC`` where an operand stands (MLIR's static-list-plus-dynamic-operands convention).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """How a parameter's value is held by the operation."""

    REQUIRED = 0
    """One tensor operand; a Python number is allowed where the schema's type is Tensor."""
    OPTIONAL = 1
    """No or one tensor operand."""
    VARIADIC = 2
    """Any number of tensor operands."""
    MASKED = 3
    """A list of optional tensors: operands for those present, a mask property for their places."""
    SCALAR = 4
    """A static scalar property, or one scalar operand."""
    LIST = 5
    """A static list property, in which some elements may be scalar operands."""
    STATIC = 6
    """A property only."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a call.

    Args:
        name: name in the schema, also the property's name.
        role: how the value is held.
        kind: type of a static value: ``int float bool number str dtype layout device memory_format
            tensor generator any``, or GE's ``int_lists float_lists``.
        default: value when absent; ``REQUIRED_VALUE`` when there is none.
        keyword_only: whether it follows ``*`` in the schema.
        nullable: whether None is a legal value.
        writes: whether the operation mutates this operand.
    """

    name: str
    role: Role
    kind: str
    default: object
    keyword_only: bool = False
    nullable: bool = False
    writes: bool = False


class _RequiredValue:
    """Singleton: this parameter has no default."""

    def __repr__(self) -> str:
        return "<required>"


REQUIRED_VALUE = _RequiredValue()


@dataclass(frozen=True, slots=True)
class Schema:
    """Signature of an operation class.

    Args:
        name: mnemonic with its dialect, e.g. ``aten.add.Tensor``.
        parameters: in order.
        results: one entry per result: ``Tensor``, ``Tensor[]``, ``int``, ... (``*`` marks a GE
            dynamic output).
        text: the schema as the source of the table writes it, for messages.
        has_control: whether trailing control operands and a control result are allowed.
        pure: whether the operation has no effect but its results.
    """

    name: str
    parameters: tuple[Parameter, ...]
    results: tuple[str, ...]
    text: str
    has_control: bool = False
    pure: bool = True
    positions: dict[str, int] = field(default_factory=dict[str, int])
    variable: int = 0
    """How many parameters may hold a number of operands other than one."""
    base_counts: tuple[int, ...] = ()
    """Operands per parameter when every variable parameter is empty."""
    variable_index: int = -1
    """Position of the first variable parameter."""
    usual_counts: tuple[int, ...] = ()
    """Operands per parameter that need not be written down; -1 for what the rest tells."""
    least: int = 0
    """Operands of a call in which every variable parameter is empty."""

    @staticmethod
    def make(
        name: str,
        parameters: Sequence[Parameter],
        results: Sequence[str],
        text: str,
        *,
        has_control: bool = False,
        pure: bool = True,
    ) -> Schema:
        """Build a schema and precompute its lookups."""
        variable = [i for i, p in enumerate(parameters) if Role.REQUIRED < p.role < Role.STATIC]
        base = [int(p.role is Role.REQUIRED) for p in parameters]
        first = variable[0] if variable else -1
        return Schema(
            name,
            tuple(parameters),
            tuple(results),
            text,
            has_control,
            pure,
            {parameter.name: i for i, parameter in enumerate(parameters)},
            len(variable),
            tuple(base),
            first,
            tuple(-1 if index == first else count for index, count in enumerate(base)),
            sum(base),
        )

    @property
    def has_list_result(self) -> bool:
        """Whether the number of results depends on the call."""
        return any(result.endswith(("[]", "*")) for result in self.results)
