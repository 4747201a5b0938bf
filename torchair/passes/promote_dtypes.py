"""Makes PyTorch's type promotion explicit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from xdsl.dialects.builtin import ComplexType, IntegerType, ModuleOp, TensorType, UnrankedTensorType
from xdsl.ir import Attribute, Block, SSAValue

from torchair.dialects.aten import lookup, table
from torchair.errors import ConversionError
from torchair.ir import element_types, interned
from torchair.ir.calls import CallOp
from torchair.ir.interned import element_type
from torchair.ir.location import describe
from torchair.ir.private import iter_ops, operands_of, types_of
from torchair.ir.rewrite import placement_of
from torchair.ir.schema import Parameter, Role
from torchair.passes.canonicalize.types import dimension_symbols
from torchair.passes.dtype_rules import Category, loses_nothing, result_type
from torchair.passes.rewrite_pass import RewritePass


def _aten(names: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in names.split())


_LIKE_RESULT = _aten(
    "rsub.Tensor floor_divide fill.Tensor masked_fill.Tensor copy copy_ cat stack logsumexp "
    "where.ScalarSelf where.ScalarOther mse_loss smooth_l1_loss huber_loss mse_loss_backward "
    "smooth_l1_loss_backward huber_loss_backward hardtanh_backward hardswish_backward "
    "hardsigmoid_backward elu_backward leaky_relu_backward softplus_backward mish_backward"
)
"""Operators without the pointwise tag that compute in the type of their result."""
_NOT_PROMOTED = _aten(
    "clone equal frexp.Tensor ldexp.Tensor float_power.Scalar float_power.Tensor_Scalar "
    "float_power.Tensor_Tensor"
)
"""Pointwise operators that copy, or that PyTorch writes as several operators of several types."""
_COMPARISONS = _aten(
    "eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor "
    "eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar"
)
_LOGICAL = _aten("logical_and logical_or logical_xor logical_not")
_TESTS = _aten("any any.dim any.dims all all.dim all.dims")
_SUMS = _aten("sum sum.dim_IntList nansum prod prod.dim_int cumsum cumprod")
_MEANS = _aten(
    "mean mean.dim softmax.int log_softmax.int linalg_vector_norm norm.ScalarOpt_dim_dtype "
    "norm.ScalarOpt_dtype"
)
_AVERAGES = _aten("mean mean.dim")
_SOFTMAX = _aten("_softmax _log_softmax")
_SELECTORS = ("mask", "condition")
"""Parameters that choose elements; they keep their type."""
_SCALARS = (interned.i64, interned.f64, interned.i1)


@dataclass(frozen=True)
class PromoteDtypesPass(RewritePass):
    """Converts operands to the type in which their operator computes.

        %2 = aten.add.Tensor(%0, %1)
             : (tensor<4xbf16>, tensor<4xf32>) -> tensor<4xf32>
        ->
        %c = prims.convert_element_type(%0, dtype = f32)
        %2 = aten.add.Tensor(%c, %1)

    Symbolic scalars in tensor positions become 0-d tensors; Python numbers stay; result types never
    change. Some eager kernels read a 0-d operand of a half-precision operator in float32; here it
    is rounded first.
    Numeric class: exact. Shown by: test/lit/passes/promote-dtypes.mlir
    """

    name = "promote-dtypes"
    numeric_class: ClassVar[str] = "exact"

    default_float: str = "float32"
    """Type of Python floats among integers (``torch.get_default_dtype()``)."""

    def rewrite(self, module: ModuleOp) -> bool:
        promotion = _Promotion(element_types.from_name(self.default_float))
        for function in module.ops:
            for region in function.regions:
                for block in region.blocks:
                    promotion.run(block)
        return promotion.changed


class _Promotion:
    """The rules; each takes the operation whose operands it converts.

    Attributes:
        changed: whether anything was converted.
    """

    def __init__(self, default_float: Attribute) -> None:
        self.default_float = default_float
        self.changed = False

    def run(self, block: Block) -> None:
        for op in iter_ops(block):
            if not isinstance(op, CallOp):
                continue
            rule = _rule_of(op.name)
            if rule is not None and op.results:
                rule(self, op)

    def like_result(self, op: CallOp) -> None:
        """Arithmetic: the common type is the type of the result."""
        target = element_type(op.results[0].type)
        if target != interned.i1:
            self._convert_operands(op, target)

    def comparison(self, op: CallOp) -> None:
        """The result is a bool; the operands meet in their common type."""
        self._convert_operands(op, self._common_type(op))

    def logical(self, op: CallOp) -> None:
        """Operands count as zero or not, after rounding to the common type."""
        common = self._common_type(op)
        for index, _ in _tensor_operands(op):
            if not loses_nothing(element_type(op.operands[index].type), common):
                self._convert(op, index, common)
            self._convert(op, index, interned.i1)

    def test(self, op: CallOp) -> None:
        """``any`` and ``all`` ask whether elements are zero; the uint8 form stays as it is."""
        if element_type(op.results[0].type) == interned.i1:
            self._convert(op, 0, interned.i1)

    def summation(self, op: CallOp) -> None:
        """Sums of integers are int64 sums unless ``dtype`` says otherwise."""
        target = element_type(op.results[0].type)
        self._convert_operands(op, target)
        if not isinstance(target, IntegerType) or target == interned.i64:
            self._write(op, "dtype", None)

    def mean(self, op: CallOp) -> None:
        """Reductions over floats: ``dtype`` is the type to convert to first.

        Not for averages into 16-bit types, which eager computes in float32.
        """
        target = element_type(op.results[0].type)
        if op.name not in _AVERAGES or target not in (interned.f16, interned.bf16):
            self._convert_operands(op, target)
        if element_type(op.operands[0].type) == target:
            self._write(op, "dtype", None)

    def softmax(self, op: CallOp) -> None:
        """``half_to_float`` is a conversion of the input."""
        self._convert_operands(op, element_type(op.results[0].type))
        self._write(op, "half_to_float", interned.false)

    def _convert_operands(self, op: CallOp, target: Attribute) -> None:
        if all(_is_tensor_of(target, type_) for type_ in types_of(operands_of(op))):
            return
        for index, parameter in _tensor_operands(op):
            if not parameter.writes and parameter.name not in _SELECTORS:
                self._convert(op, index, target)

    def _write(self, op: CallOp, name: str, value: Attribute | None) -> None:
        """Write or drop a property."""
        if value is not None and op.properties.get(name) != value:
            op.properties[name] = value
            self.changed = True
        elif value is None and op.properties.pop(name, None) is not None:
            self.changed = True

    def _common_type(self, op: CallOp) -> Attribute:
        operands = [_category(v) for v in op.arguments() if v is not None]
        try:
            return result_type(operands, self.default_float)
        except ConversionError as error:
            label, source = describe(op)
            raise ConversionError(error.what, op=label, loc=source, hint=error.hint) from error

    def _convert(self, op: CallOp, index: int, target: Attribute) -> None:
        """Convert one operand; a complex one of an operator with a real result stays."""
        operand = op.operands[index]
        source = element_type(operand.type)
        is_scalar = operand.type in _SCALARS
        if source == target and not is_scalar:
            return
        if (
            isinstance(source, ComplexType)
            and not isinstance(target, ComplexType)
            and (target != interned.i1)
        ):
            return
        name = "aten.scalar_tensor" if is_scalar else "prims.convert_element_type"
        cls = lookup(name)
        block = op.parent
        assert cls is not None and block is not None
        values = [operand, target, None, None, None] if is_scalar else [operand, target]  # pyright: ignore
        cast = cls.build_call(values, [_with_element_type(operand.type, target)], op.location)  # pyright: ignore
        cast.attributes.update(placement_of(op))
        block.insert_op_before(cast, op)
        op.operands[index] = cast.results[0]
        self.changed = True


Rule = Callable[[_Promotion, CallOp], None]
_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (_COMPARISONS, _Promotion.comparison),
    (_LOGICAL, _Promotion.logical),
    (_TESTS, _Promotion.test),
    (_SUMS, _Promotion.summation),
    (_MEANS, _Promotion.mean),
    (_SOFTMAX, _Promotion.softmax),
    (_LIKE_RESULT, _Promotion.like_result),
)


@cache
def _rule_of(name: str) -> Rule | None:
    for names, rule in _RULES:
        if name in names:
            return rule
    if not name.startswith("aten.") or name in _NOT_PROMOTED or "pointwise" not in table.tags(name):
        return None
    cls = lookup(name)
    return _Promotion.like_result if cls is not None and cls.schema.pure else None


def _tensor_operands(op: CallOp) -> Iterator[tuple[int, Parameter]]:
    """Indices of the operands in tensor positions."""
    index = 0
    for parameter, count in zip(op.schema.parameters, op.operand_counts(), strict=True):
        if parameter.role in (Role.REQUIRED, Role.OPTIONAL, Role.VARIADIC):
            yield from ((place, parameter) for place in range(index, index + count))
        index += count


def _category(value: Any) -> tuple[Attribute, Category]:
    """Element type and category of an argument of a comparison."""
    if isinstance(value, SSAValue):
        if value.type in _SCALARS:  # pyright: ignore[reportUnknownMemberType]
            return value.type, Category.NUMBER  # pyright: ignore
        is_zero_dim = interned.shape_of(value.type) == ()  # pyright: ignore
        return element_type(value.type), Category.ZERO_DIM if is_zero_dim else Category.DIMENSIONED  # pyright: ignore
    types: dict[type, Attribute] = {
        bool: interned.i1,
        int: interned.i64,
        float: interned.f64,
        list: interned.complex128,
    }
    return types[type(value)], Category.NUMBER


def _is_tensor_of(element: Attribute, type_: Attribute) -> bool:
    return isinstance(type_, TensorType) and type_.element_type is element  # pyright: ignore


def _with_element_type(type_: Attribute, element: Attribute) -> Attribute:
    """A tensor type of the same shape and another element type."""
    if isinstance(type_, UnrankedTensorType):
        return interned.unranked(element)
    if not isinstance(type_, TensorType):
        return interned.tensor([], element)
    return interned.tensor(type_.get_shape(), element, dimension_symbols(type_))  # pyright: ignore
