"""Products of int8 codes whose zero points are not zero, in int32."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Attribute, SSAValue

from torchair.ir import interned
from torchair.passes.fuse_quant_parameters import Parameters
from torchair.passes.fusion_forms import Size, type_with_sizes

_INT32 = interned.tensor([], interned.i32)


@dataclass(frozen=True, slots=True)
class CodeProduct:
    """``(x - x_point) (w - w_point)``.

    The codes are multiplied as they are; what the zero points add follows from sums of rows and
    columns: ``x w - rows(x) w_point - x_point (columns(w) - inner w_point)``.

    Args:
        x: ``[rows, inner]`` int8.
        w: ``[inner, columns]`` int8, ``[columns, inner]`` when ``is_turned``.
        x_point: a number.
        w_point: a number, or integers that flatten to one per column.
        sizes: rows, inner and columns.
        made: makes the operations.
    """

    x: SSAValue
    w: SSAValue
    is_turned: bool
    x_point: int
    w_point: SSAValue | int
    sizes: tuple[Size, int, Size]
    made: Parameters

    def build(self) -> SSAValue:
        """``[rows, columns]`` int32."""
        rows, inner, columns = self.sizes
        type_, w = self._int32(rows, columns), self.w
        if self.is_turned:
            w = self.made.new("aten.t", [w], type_with_sizes(w.type, [inner, columns]))
        found = self.made.new("aten._int_mm", [self.x, w], type_)
        if self.w_point != 0:
            sums = self._sum(self.x, 1, [rows, 1])
            found = self._new("sub", found, self._times_points(sums), type_)
        if self.x_point != 0:
            found = self._new("add", found, self._column_part(), type_)
        return found

    def _column_part(self) -> SSAValue:
        """What the zero point of ``x`` adds to each column."""
        _, inner, columns = self.sizes
        type_ = self._int32(columns)
        sums = self._new(
            "mul", self._sum(self.w, int(self.is_turned), [columns]), -self.x_point, type_
        )
        if self.w_point == 0:
            return sums
        points = self.w_point
        if not isinstance(points, SSAValue):
            return self._new("add", sums, points * inner * self.x_point, type_)
        both = self._new("mul", self._points(points), inner * self.x_point, type_)
        return self._new("add", sums, both, type_)

    def _times_points(self, sums: SSAValue) -> SSAValue:
        if not isinstance(self.w_point, SSAValue):
            return self._new("mul", sums, self.w_point, sums.type)
        rows, _, columns = self.sizes
        return self._new("mul", sums, self._points(self.w_point), self._int32(rows, columns))

    def _points(self, points: SSAValue) -> SSAValue:
        return self.made.vector(points, self.sizes[2], interned.i32)

    def _sum(self, codes: SSAValue, dim: int, sizes: list[Size]) -> SSAValue:
        values = [codes, [dim], len(sizes) == 2, interned.i32]
        return self.made.new("aten.sum.dim_IntList", values, self._int32(*sizes))

    def _new(self, name: str, left: SSAValue, right: SSAValue | int, type_: Attribute) -> SSAValue:
        return self.made.new(f"aten.{name}.Tensor", [left, right], type_)

    @staticmethod
    def _int32(*sizes: Size) -> Attribute:
        return type_with_sizes(_INT32, sizes)
