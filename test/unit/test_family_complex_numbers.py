"""Converters and kernels of complex numbers, against eager; complex constants in every form."""

from __future__ import annotations

import math

import pytest
import torch
from family_check import build, check, check_gradients
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr
from xdsl.ir import Block

from torchair.backend_ge import constants
from torchair.dialects.ge import builder as ge
from torchair.errors import ConversionError
from torchair.ir import interned
from torchair.ir.text import parse_module, print_module
from torchair.passes.convert_aten_to_ge.operands import operand
from torchair.tools.context import make_context

DTYPES = (torch.complex64, torch.complex128)


def numbers(dtype, *shape):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(shape, dtype=dtype, generator=generator)


def parts(z, w):
    return [
        z.real, z.imag, z.abs(), z.angle(), z.sgn(), torch.conj_physical(z), z.conj() * 2,
        z.conj().imag, torch.view_as_real(z) + 1, torch.view_as_complex(torch.view_as_real(z) * 2),
        torch.complex(z.real, w.imag), torch.complex(z.real, w.imag[0]), z.isreal(),
    ]  # fmt: skip


def arithmetic(z, w):
    return [
        z + w, z - w, z * w, z / w, z + 1j, z * (2 - 1j), z * 2, z + 2, z / 2, z / (1 + 1j), 1j - z,
        torch.add(z, w, alpha=1j), torch.sub(z, w, alpha=2j), -z, z.reciprocal(), z**2, z**w,
        torch.addcmul(z, z, w, value=2j), torch.addcdiv(z, z, w), z == w, z != w, z == 1j,
        torch.where(z.real > 0, z, 1j), z.logical_not(), z.to(torch.complex128),
        torch.full((3,), 1j, dtype=z.dtype) + z[0, 0], z + torch.tensor([1j, 2, 3, math.inf]),
    ]  # fmt: skip


def functions(z, w):
    return [
        z.exp(),
        z.log(),
        z.sqrt(),
        z.rsqrt(),
        z.sin(),
        z.tan(),
        z.tanh(),
        z.sigmoid(),
        z.acos(),
    ]


def reductions(z, w):
    return [
        z.sum(0), z.mean(), z.prod(1), z.cumsum(0), z.std(), z.var(0), *torch.var_mean(z, 1),
        torch.linalg.vector_norm(z), torch.linalg.vector_norm(z, 1, 0), z.norm(), z.nonzero(),
    ]  # fmt: skip


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", (parts, arithmetic, functions, reductions))
def test_as_eager(function, dtype, dynamic):
    check(function, numbers(dtype, 3, 4), numbers(dtype, 4), dynamic=dynamic, exact=False)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.int32, torch.uint8))
def test_parts_of_real_numbers(dtype):
    x = torch.tensor([0, 3, 5]).to(dtype)
    x = x if dtype is torch.uint8 else torch.cat([x, -x])
    check(lambda x: [x.angle(), x.conj(), torch.real(x), x.sgn()], x)


def test_polar():
    length, turn = torch.rand(3, 4), torch.linspace(-4, 4, 4)
    check(torch.polar, length, turn, exact=False)
    check(torch.polar, length.double(), turn.double(), dynamic=True, exact=False)


def test_special_values():
    inf, nan = math.inf, math.nan
    z = torch.tensor([complex(inf, 1), complex(1, -inf), complex(nan, 1), complex(1, nan), 0, -1])
    check(lambda z: [z.isnan(), z.isinf(), z.isfinite(), z.abs(), z.sgn(), z.angle()], z)


@pytest.mark.parametrize("shape", ((), (0, 3), (1,)))
def test_shapes(shape):
    z = numbers(torch.complex64, *shape)
    check(lambda z: [z.abs(), z.real, z + 1j, z.conj() * 1j, torch.view_as_real(z).neg()], z)


@pytest.mark.parametrize("function", (torch.sigmoid, torch.tanh, torch.abs, torch.angle))
def test_gradients(function):
    def real_valued(x):
        return torch.view_as_real(function(torch.complex(x, x.flip(0))) * (1 + 0j)).sum(-1)

    check_gradients(real_valued, torch.linspace(-1, 2, 6), exact=False)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("draw", (torch.randn_like, torch.rand_like))
def test_random_numbers(draw, dynamic):
    z = numbers(torch.complex64, 20, 30)
    compiled, _ = build(lambda z: draw(z) + z, dynamic=dynamic)
    torch.manual_seed(3)
    found = compiled(z)
    torch.manual_seed(3)
    torch.testing.assert_close(found, draw(z) + z)


def test_number_of_nodes():
    z = numbers(torch.complex64, 4)
    assert check(lambda z: z.abs(), z)[0].node_types == ["ComplexAbs"]
    assert check(lambda z: z.angle(), z)[0].node_types == ["Angle"]
    assert check(lambda z: z + 1j, z)[0].node_types == ["Const", "Add"]


@pytest.mark.parametrize("element", (interned.complex64, interned.complex128))
def test_constants_survive_the_graph(element):
    given = [1 + 2j, complex(-0.0, math.inf), 3]
    value = ge.dense(given, element, [3])
    assert isinstance(value, DenseIntOrFPElementsAttr)
    assert value.get_values() == ((1.0, 2.0), (-0.0, math.inf), (3.0, 0.0))
    data = constants.dense_bytes(value)
    assert constants.dense_from_bytes(value.type, data) == value
    assert constants.readable(value) == "[(1+2j), (-0+infj), (3+0j)]"


def test_a_complex_operand_is_never_cut_to_its_real_part():
    block = Block(arg_types=[interned.tensor([2], interned.complex64)])
    with ge.building(ge.GraphBuilder(block)), pytest.raises(ConversionError, match="complex"):
        operand(block.args[0], interned.f32)


@pytest.mark.parametrize(
    "function", (lambda x: torch.view_as_complex(x), lambda x: x.view(torch.complex32))
)
def test_halves_are_refused(function):
    with pytest.raises(Exception, match="ConversionError"):
        check(function, torch.ones(3, 2, dtype=torch.float16))


def test_constants_that_are_no_numbers_can_be_read_back():
    nan, inf = math.nan, math.inf

    def function(x):
        return x + complex(nan, 1), x * complex(inf, 0), torch.full_like(x, complex(1, -inf))

    (graph,) = check(function, numbers(torch.complex64, 3))
    text = print_module(graph.module)
    assert print_module(parse_module(make_context(), text)) == text
