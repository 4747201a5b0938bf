"""Arithmetic on symbolic sizes, as 0-d int64, float64 and bool tensors; sizes of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.ir import Attribute, SSAValue

from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.passes.convert_aten_to_ge import geometry
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.passes.convert_aten_to_ge.registry import converts

_I64 = interned.tensor([], interned.i64)
_F64 = interned.tensor([], interned.f64)
_I1 = interned.tensor([], interned.i1)


def _pair(a: Any, b: Any, dtype: Attribute) -> tuple[SSAValue, SSAValue]:
    """Both operands as 0-d tensors of one type."""
    return operand(a, dtype), operand(b, dtype)


def _common(a: Any, b: Any) -> Attribute:
    """The type Python computes in: float when either operand is, else int."""
    if any(isinstance(v, float) or _is_float(v) for v in (a, b)):
        return interned.f64
    return interned.i64


def _is_float(value: Any) -> bool:
    return geometry.is_value(value) and ge.element(value) == interned.f64


def _binary(name: str, ge_name: str) -> None:
    def convert(a: Any, b: Any, out: Any) -> Any:
        dtype = interned.element_type(out)
        return ge.call(ge_name, *_pair(a, b, dtype), out=out)

    convert.__name__ = f"sym_{name}"
    converts(f"sym::{name}(Scalar a, Scalar b) -> Scalar")(convert)


def _comparison(name: str, ge_name: str) -> None:
    def convert(a: Any, b: Any, out: Any) -> Any:
        return ge.call(ge_name, *_pair(a, b, _common(a, b)), out=out)

    convert.__name__ = f"sym_{name}"
    converts(f"sym::{name}(Scalar a, Scalar b) -> Scalar")(convert)


def _unary(name: str, function: Callable[[Any, Attribute], Any]) -> None:
    def convert(a: Any, out: Any) -> Any:
        return function(a, out)

    convert.__name__ = f"sym_{name}"
    converts(f"sym::{name}(Scalar a) -> Scalar")(convert)


for _name, _ge_name in {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "floordiv": "FloorDiv",
    "mod": "FloorMod",
    "pow": "Pow",
    "min": "Minimum",
    "max": "Maximum",
    "lshift": "LeftShift",
    "rshift": "RightShift",
    "bitwise_and": "BitwiseAnd",
    "bitwise_or": "BitwiseOr",
}.items():
    _binary(_name, _ge_name)
for _name, _ge_name in {
    "eq": "Equal",
    "ne": "NotEqual",
    "lt": "Less",
    "le": "LessEqual",
    "gt": "Greater",
    "ge": "GreaterEqual",
}.items():
    _comparison(_name, _ge_name)


@converts("sym::truediv(Scalar a, Scalar b) -> Scalar")
def sym_truediv(a: Any, b: Any, out: Any) -> Any:
    return ge.RealDiv(*_pair(a, b, interned.f64), out=out)


@converts("sym::and(Scalar a, Scalar b) -> Scalar")
def sym_and(a: Any, b: Any, out: Any) -> Any:
    dtype = interned.element_type(out)
    name = "LogicalAnd" if dtype == interned.i1 else "BitwiseAnd"
    return ge.call(name, *_pair(a, b, dtype), out=out)


@converts("sym::or(Scalar a, Scalar b) -> Scalar")
def sym_or(a: Any, b: Any, out: Any) -> Any:
    dtype = interned.element_type(out)
    name = "LogicalOr" if dtype == interned.i1 else "BitwiseOr"
    return ge.call(name, *_pair(a, b, dtype), out=out)


def _cast(a: Any, out: Attribute) -> SSAValue:
    return operand(a, interned.element_type(out))


def _rounded(ge_name: str) -> Callable[[Any, Attribute], Any]:
    """A rounding of Python's: of an int the int itself, of a float an int."""

    def convert(a: Any, out: Attribute) -> Any:
        if not _is_float(a):
            return _cast(a, out)
        return _cast(ge.call(ge_name, a, out=_F64), out)

    return convert


_unary("neg", lambda a, out: ge.Neg(_cast(a, out), out=out))
_unary("abs", lambda a, out: ge.Abs(_cast(a, out), out=out))
_unary("floor", _rounded("Floor"))
_unary("ceil", _rounded("Ceil"))
_unary("round", _rounded("Round"))
_unary("trunc", _cast)
_unary("int", _cast)
_unary("float", _cast)
_unary("sqrt", lambda a, out: ge.Sqrt(operand(a, interned.f64), out=out))
_unary("log2", lambda a, out: ge.Log(operand(a, interned.f64), base=2.0, out=out))
_unary("not", lambda a, out: ge.LogicalNot(operand(a, interned.i1), out=out))


@converts("sym::sum(Scalar[] values) -> Scalar")
def sym_sum(values: Any, out: Any) -> Any:
    dtype = interned.element_type(out)
    constant = sum(v for v in values if not isinstance(v, SSAValue))
    terms = [operand(v, dtype) for v in values if isinstance(v, SSAValue)]
    if constant or not terms:
        terms.append(operand(constant, dtype))
    total = terms[0]
    for term in terms[1:]:
        total = ge.Add(total, term, out=out)
    return total


@converts("sym::ite(Scalar condition, Scalar a, Scalar b) -> Scalar")
def sym_ite(condition: Any, a: Any, b: Any, out: Any) -> Any:
    if not isinstance(condition, SSAValue):
        return _cast(a if condition else b, out)
    return ge.SelectV2(condition, *_pair(a, b, interned.element_type(out)), out=out)


@converts("sym_size.int(Tensor self, int dim) -> SymInt")
def sym_size_int(self: Any, dim: Any) -> Any:
    return ge.size(self, geometry.axis(dim, geometry.rank(self)))


@converts("sym_size(Tensor self) -> SymInt[]")
def sym_size(self: Any) -> Any:
    return geometry.all_sizes(self)


@converts("sym_numel(Tensor self) -> SymInt")
def sym_numel(self: Any, out: Any) -> Any:
    sizes = geometry.shape(self)
    if geometry.is_static(self):
        return geometry.product(sizes)
    if len(sizes) == 1:
        return ge.size(self, 0)
    return ge.Size(self, dtype=9, out=out)


@converts("sym_stride.int(Tensor self, int dim) -> SymInt")
def sym_stride_int(self: Any, dim: Any) -> Any:
    """The stride of a dense tensor: every tensor of a GE graph is dense."""
    return geometry.strides(self)[geometry.axis(dim, geometry.rank(self))]


@converts("sym_stride(Tensor self) -> SymInt[]")
def sym_stride(self: Any) -> Any:
    return geometry.strides(self)


@converts("sym_storage_offset(Tensor self) -> SymInt")
def sym_storage_offset(self: Any) -> Any:
    """Zero: a tensor of a GE graph owns its buffer."""
    return 0


@converts("sym_is_contiguous(Tensor self, MemoryFormat memory_format=0) -> SymBool")
def sym_is_contiguous(self: Any, memory_format: Any = None) -> Any:
    return memory_format in (None, 0, "contiguous_format")


@converts("_local_scalar_dense(Tensor self) -> Scalar")
def local_scalar_dense(self: Any, out: Any) -> Any:
    """``tensor.item()``: the one element as a 0-d tensor of Python's type."""
    scalar = self
    if geometry.rank(self) > 0:
        scalar = ge.Squeeze(self, out=interned.tensor([], ge.element(self)))
    return ge.cast_to(scalar, interned.element_type(out))


@converts("sym_constrain_range(Scalar size, *, int? min=None, int? max=None) -> ()")
def sym_constrain_range(size: Any, min: Any = None, max: Any = None) -> None:
    """A fact for the compiler: nothing to execute."""


@converts("sym_constrain_range_for_size(Scalar size, *, int? min=None, int? max=None) -> ()")
def sym_constrain_range_for_size(size: Any, min: Any = None, max: Any = None) -> None:
    """A fact for the compiler: nothing to execute."""


@converts("_assert_scalar(Scalar self, str assert_msg) -> ()")
def assert_scalar(self: Any, assert_msg: Any) -> None:
    _assert(self if isinstance(self, SSAValue) else bool(self), assert_msg)


@converts("_assert_async(Tensor self) -> ()")
def assert_async(self: Any) -> None:
    _assert(self, "Expected Tensor to be true")


@converts("_assert_async.msg(Tensor self, str assert_msg) -> ()")
def assert_async_msg(self: Any, assert_msg: Any) -> None:
    _assert(self, assert_msg)


def _assert(condition: Any, message: str) -> None:
    if not geometry.is_value(condition):
        if not condition:
            raise ConversionError(f"an assertion never holds: {message}")
        return
    if geometry.rank(condition) > 0:
        condition = ge.Squeeze(condition, out=interned.tensor([], ge.element(condition)))
    ge.Assert(ge.cast_to(condition, interned.i1), [condition])


@converts(
    "_assert_tensor_metadata(Tensor a, SymInt[]? size=None, SymInt[]? stride=None, "
    "ScalarType? dtype=None, *, Device? device=None, Layout? layout=None) -> ()"
)
def assert_tensor_metadata(a: Any, size: Any = None, stride: Any = None, dtype: Any = None) -> None:
    """True by construction: the types of a verified graph are the traced ones."""
