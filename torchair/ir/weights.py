"""Weight handles: the IR names a weight, its bytes stay where they are.

``#torchair.weight<"layer.0.w">`` prints, hashes and compares by key only. The handle may carry the
owner of the bytes (a torch tensor, a numpy array, a file), reached through ``WeightHandle.read``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.ir import Data, Dialect
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer


@dataclass(frozen=True)
class WeightHandle:
    """A weight by name.

    Args:
        key: unique name, e.g. the parameter's qualified name.
        nbytes: size in bytes, 0 when unknown.
        read: returns the little-endian bytes; None when the module was parsed from text.
    """

    key: str
    nbytes: int = field(default=0, compare=False)
    read: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)


@irdl_attr_definition
class WeightAttr(Data[WeightHandle]):
    """Attribute that refers to a weight by handle."""

    name = "torchair.weight"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> WeightHandle:
        with parser.in_angle_brackets():
            return WeightHandle(parser.parse_str_literal())

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string_literal(self.data.key)


def get_torchair_dialect() -> Dialect:
    """The support dialect: attributes shared by all levels."""
    return Dialect("torchair", [], [WeightAttr])
