"""Errors of the builders in ``torchair.ge``: conversion errors that are also the built-in
exceptions that existing converters catch."""

from __future__ import annotations

from torchair.errors import ConversionError


class ArgumentTypeError(ConversionError, TypeError):
    """A value of the wrong kind where a graph tensor, a list of them or an attribute belongs."""


class ArgumentValueError(ConversionError, ValueError):
    """A value that has no form in the graph."""


class ArgumentCountError(ConversionError, IndexError):
    """Positional arguments that do not match the operator's inputs and attributes."""


class OperatorError(ConversionError, RuntimeError):
    """An operator or data type that GE's registry does not have."""


class UnknownShapeError(ConversionError, AssertionError):
    """A rank or size that is not known when the graph is built."""
