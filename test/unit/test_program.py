"""Native programs against eager, bit for bit."""

from __future__ import annotations

import warnings
from itertools import islice

import pytest
import torch
from recorded_programs import (
    IMAGE,
    INF,
    INT,
    MASK,
    UNSTABLE,
    X,
    assert_identical,
    check,
    copies,
    record,
    single,
)
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten, tree_unflatten

from torchair.backend_ge.host import proxy
from torchair.backend_ge.host.call_routes import ProxyRoute, choose_route
from torchair.backend_ge.host.program import AtenCall, Program, ProgramError, Slot, Trace
from torchair.errors import EngineError

aten = torch.ops.aten


ARGUMENT_CASES = [
    ("scalar int", lambda x: aten.add.Scalar(x, 3), [X], "proxy"),
    ("scalar float", lambda x: aten.add.Scalar(x, 0.1), [X], "proxy"),
    ("scalar bool", lambda x: aten.add.Scalar(x, True), [INT], "proxy"),
    ("scalar alpha", lambda x: aten.add.Tensor(x, x, alpha=3), [INT], "proxy"),
    ("scalar float alpha", lambda x: aten.add.Tensor(x, x, alpha=0.1), [X], "proxy"),
    ("scalar inf", lambda x, m: aten.masked_fill.Scalar(x, m, -INF), [X, MASK], "proxy"),
    ("scalar nan", lambda x: aten.fill_.Scalar(x, float("nan")), [X], "proxy"),
    ("scalar inf compared", lambda x: aten.lt.Scalar(x, INF), [X], "proxy"),
    ("scalar inf fills", lambda x: aten.full.default([3, 2], -INF), [X], "proxy"),
    ("scalar nan 0-d", lambda x: aten.scalar_tensor.default(float("nan")), [X], "proxy"),
    ("scalar complex fills", lambda x: aten.full.default([2], 1j), [X], "proxy"),
    (
        "scalar inf fills float16",
        lambda x: aten.full.default([3], INF, dtype=torch.float16).mul_(-1),
        [X],
        "proxy",
    ),
    ("scalar inf kept", lambda x: aten.full_like.default(x, INF), [X], "python"),
    ("optional scalar inf", lambda x: aten.clamp.default(x, -INF, 1.0), [X], "python"),
    ("optional scalar none", lambda x: aten.clamp.default(x, None, 1.0), [X], "proxy"),
    ("scalar complex", lambda x: aten.mul.Scalar(x, 1 + 2j), [X], "proxy"),
    ("scalar list", lambda x: aten._foreach_add.ScalarList([x, x], [1, 2.5]), [X], "python"),
    ("int list empty", lambda x: aten.sum.dim_IntList(x, []), [X], "dispatcher"),
    ("int list none", lambda x: aten.sum.dim_IntList(x, None), [X], "proxy"),
    ("int list", lambda x: aten.sum.dim_IntList(x, [0, 1], True), [X], "proxy"),
    ("int list default", lambda x: aten.max_pool2d_with_indices(x, [2, 2], []), [IMAGE], "proxy"),
    ("one int for a list", lambda x: aten.max_pool2d_with_indices(x, 2), [IMAGE], "proxy"),
    ("symint", lambda x: aten.slice.Tensor(x, 1, 1, 2**63 - 1, 2), [X], "proxy"),
    ("float inf", lambda x: aten.nan_to_num.default(x, INF), [X], "dispatcher"),
    ("float list", lambda x: aten.upsample_nearest2d.vec(x, None, [1.5, 2.0]), [IMAGE], "proxy"),
    ("bool", lambda x: aten.argsort.default(x, descending=True), [X], "proxy"),
    ("str", lambda x: aten.gelu.default(x, approximate="tanh"), [X], "proxy"),
    ("optional str", lambda x: aten.div.Tensor_mode(x, x, rounding_mode="floor"), [X], "proxy"),
    ("dtype", lambda x: aten._to_copy.default(x, dtype=torch.bfloat16), [X], "proxy"),
    ("device", lambda x: aten.ones.default([2, 2], device=torch.device("cpu")), [X], "proxy"),
    ("meta device", lambda x: aten.empty_like(x, device="meta").size(), [X], "dispatcher"),
    ("layout", lambda x: aten.ones_like.default(x, layout=torch.strided), [X], "proxy"),
    (
        "memory format",
        lambda x: aten.clone.default(x, memory_format=torch.channels_last),
        [IMAGE],
        "proxy",
    ),
    ("generator none", lambda x: aten.bernoulli.p(x, 0.5, generator=None), [X], "proxy"),
    ("tensor list", lambda x: aten.cat.default([x, x], 1), [X], "proxy"),
    ("tensor list result", lambda x: aten.split.Tensor(x, 4, 1), [X], "proxy"),
    (
        "optional tensor list",
        lambda x, i: aten.index.Tensor(x, [None, i]),
        [X, torch.tensor([0, 5, 1])],
        "proxy",
    ),
    (
        "optional tensor list in place",
        lambda x, i, v: aten.index_put_.default(x, [i, None], v, True),
        [X, torch.tensor([0, 0]), torch.ones(6)],
        "proxy",
    ),
    ("no result", lambda x: aten._foreach_add_.Scalar([x], 2.0), [X], "proxy"),
    ("result is no tensor", lambda x: aten.equal.default(x, x), [X], "python"),
    ("linspace", lambda x: aten.linspace.default(0, 1, 5, dtype=torch.float64), [X], "proxy"),
    ("random", lambda x: aten.rand_like.default(x), [X], "proxy"),
]


@pytest.mark.parametrize(
    ("function", "inputs", "route"),
    [case[1:] for case in ARGUMENT_CASES],
    ids=[case[0] for case in ARGUMENT_CASES],
)
def test_every_kind_of_argument(function, inputs, route):
    assert check(function, *inputs).routes[0] == route


@pytest.mark.parametrize("number", [0.1, -0.0, 3, True, INF, float("nan"), 1 + 2j], ids=repr)
@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(3, dtype=torch.int32),
        torch.ones(3, dtype=torch.bool),
        torch.full((3,), 0.3, dtype=torch.float64),
        torch.full((), 0.3, dtype=torch.float16),
        torch.ones((), dtype=torch.int8),
        torch.ones(2, dtype=torch.complex64),
    ],
    ids=lambda tensor: f"{str(tensor.dtype)[6:]}{tensor.dim()}d",
)
def test_python_number_for_a_tensor_promotes_like_eager(tensor, number):
    program = single(aten.mul.Tensor, Slot(0), number)
    assert program.routes == ["proxy"]
    assert_identical(program.run([tensor])[0], aten.mul.Tensor(tensor, number))


def test_equal_numbers_of_different_types_stay_apart():
    numbers: list[object] = [1, 1.0, True, 0.0, -0.0]
    calls = [
        AtenCall(aten.mul.Tensor, (Slot(0), number), {}, [Slot(index + 1)], 0)
        for index, number in enumerate(numbers)
    ]
    outputs = [call.results[0] for call in calls]
    tensor = torch.ones(2, dtype=torch.int8)
    found = Program(Trace([Slot(0)], {}, calls, outputs)).run([tensor])
    for result, number in zip(found, numbers, strict=True):
        assert_identical(result, aten.mul.Tensor(tensor, number))


def test_number_beyond_64_bits_fails_as_in_eager():
    program = single(aten.add.Scalar, Slot(0), 2**70)
    assert program.routes == ["python"]
    with pytest.raises(OverflowError) as eager:
        aten.add.Scalar(X, 2**70)
    with pytest.raises(ProgramError, match=f"OverflowError: {eager.value}"):
        program.run([X])


def test_refused_node_takes_the_next_route():
    def number(value: object) -> int:
        return 0

    arguments = (aten.relu.default, (Slot(0),), {}, 1, number)
    first = choose_route(*arguments, set())
    assert isinstance(first, ProxyRoute)
    second = choose_route(*arguments, {first.node})
    assert not isinstance(second, ProxyRoute)


def test_torch_refuses_a_bad_node():
    node = '{"name": "n", "node": {"target": "aten::no_such_op", "inputs": [], "outputs": []}}'
    with pytest.raises(RuntimeError, match="no_such_op"):
        proxy.load_proxy([node])


@pytest.mark.parametrize("is_there", [False, True])
def test_replaced_native_module_is_named(monkeypatch, tmp_path, is_there):
    replaced = tmp_path / "_native.so"
    if is_there:
        replaced.write_bytes(b"of the next installation")
    monkeypatch.setattr(proxy._native, "__file__", str(replaced))
    with pytest.raises(EngineError, match="not the file any more that this process has loaded"):
        Program(record(lambda x: x + 1, [X])[0])


def test_serialized_enumerators_are_torch_s():
    from torch._export.serde import serialize

    for ours, theirs in [
        (proxy.SERIALIZED_DTYPES, serialize._TORCH_TO_SERIALIZE_DTYPE),
        (proxy.SERIALIZED_LAYOUTS, serialize._TORCH_TO_SERIALIZE_LAYOUT),
        (proxy.SERIALIZED_MEMORY_FORMATS, serialize._TORCH_TO_SERIALIZE_MEMORY_FORMAT),
    ]:
        assert ours == {key: int(theirs[key]) for key in ours}


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(0, 3),
        torch.tensor(2.0),
        X.t(),
        X[::2, 1::3],
        X[:1].expand(4, 6),
        torch.full((3,), 1 + 2j).conj(),
        torch._neg_view(torch.ones(3)),
    ],
    ids=["empty", "0-d", "transposed", "strided", "expanded", "conjugate", "negated"],
)
def test_unusual_inputs(tensor):
    check(lambda x: [x + 1, x.sum(), x * x, x.clone()], tensor)


def test_writes_reach_the_caller():
    def update(cache, x):
        view = cache[1:3]
        view.mul_(2)
        cache.add_(x)
        view.copy_(x[:2])
        return view + 1, cache.sum()

    check(update, X.clone(), X[:, :6].clone())


def test_inputs_that_share_memory():
    base = torch.arange(10.0)
    other = base.clone()
    trace, expected = record(lambda a, b: (a.add_(1), b * 2), [base[:6], base[4:]])
    found = Program(trace).run([other[:6], other[4:]])
    for pair in zip(found, expected, strict=True):
        assert_identical(*pair)
    assert_identical(other, base)


def test_outputs_may_be_inputs_constants_and_repeated():
    constant = torch.ones(2)
    call = AtenCall(aten.relu.default, (Slot(0),), {}, [Slot(2)], 0)
    outputs = [Slot(2), Slot(0), Slot(1), Slot(2)]
    x = torch.tensor([-1.0, 1.0])
    found = Program(Trace([Slot(0)], {Slot(1): constant}, [call], outputs)).run([x])
    assert found[1] is x
    assert found[2] is constant
    assert found[0] is found[3]


def test_program_without_calls():
    assert Program(Trace([Slot(0)], {}, [], [Slot(0)])).run([X])[0] is X
    assert Program(Trace([], {}, [], [])).run([]) == []


def test_slot_may_be_defined_again():
    calls = [
        AtenCall(aten.relu.default, (Slot(0),), {}, [Slot(1)], 0),
        AtenCall(aten.neg.default, (Slot(1),), {}, [Slot(1)], 1),
        AtenCall(aten.mul_.Tensor, (Slot(1), Slot(0)), {}, [Slot(1)], 2),
    ]
    found = Program(Trace([Slot(0)], {}, calls, [Slot(1)])).run([X.clone()])
    assert_identical(found[0], -X.relu() * X)


def test_undefined_results():
    def backward(grad, x, weight):
        return aten.convolution_backward.default(
            *(grad, x, weight, [4], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [False, True, True])
        )

    grad = torch.ones(2, 4, 6, 6)
    program = check(backward, grad, IMAGE, torch.ones(4, 3, 3, 3))
    assert program.routes == ["proxy"]


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (Trace([], {}, [], [Slot(0)]), "before its definition"),
        (Trace([Slot(0), Slot(0)], {}, [], []), "given twice"),
        (
            Trace([], {}, [AtenCall(aten.relu.default, (X,), {}, [Slot(0)], 0)], []),
            "must be a Slot",
        ),
        (
            Trace([Slot(0)], {}, [AtenCall(aten.relu.default, (Slot(0),), {}, [], 0)], []),
            "returns 1 tensors, the trace has 0",
        ),
        (
            Trace([Slot(0)], {}, [AtenCall(aten.relu.default, (), {}, [Slot(1)], 0)], []),
            "needs a value for self",
        ),
        (
            Trace([Slot(0)], {}, [AtenCall(aten.relu.default, (Slot(0), 1), {}, [None], 0)], []),
            "takes 1 positional",
        ),
        (
            Trace(
                [Slot(0)], {}, [AtenCall(aten.relu.default, (Slot(0),), {"x": 1}, [None], 0)], []
            ),
            "does not take x",
        ),
    ],
)
def test_malformed_trace(trace, message):
    with pytest.raises(ValueError, match=message):
        Program(trace)


def test_wrong_number_of_inputs():
    with pytest.raises(ValueError, match="takes 1 inputs, not 2"):
        single(aten.relu.default, Slot(0)).run([X, X])


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=["float32", "int64"])
def test_torch_s_own_samples(dtype):
    """Samples of every operator that PyTorch has samples for; some record dozens of calls."""
    n_programs = 0
    for info in op_db:
        if dtype not in info.dtypes or info.name in UNSTABLE:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples = info.sample_inputs_func(info, "cpu", dtype, requires_grad=False)
            n_programs += sum(_check_sample(info, sample) for sample in islice(samples, 3))
    assert n_programs > {torch.float32: 1500, torch.int64: 850}[dtype]


def _check_sample(info, sample) -> bool:
    leaves, spec = tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    inputs = [leaves[place] for place in places]
    if any(type(x) is not torch.Tensor or x.layout != torch.strided for x in inputs):
        return False

    def call(*tensors: torch.Tensor) -> object:
        filled = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        first, args, kwargs = tree_unflatten(filled, spec)
        return info.op(first, *args, **kwargs)

    eager_inputs = copies(inputs)
    # The samples of random operators set this seed themselves.
    torch.default_generator.manual_seed(42)
    try:
        trace, expected = record(call, eager_inputs)
    except (AssertionError, RuntimeError):
        return False  # the operator does not run under a dispatch mode
    program_inputs = copies(inputs)
    torch.default_generator.manual_seed(42)
    found = Program(trace).run(program_inputs)  # test_planning.py runs them planned
    for pair in zip(found + program_inputs, expected + eager_inputs, strict=True):
        if pair[1].layout == torch.strided:
            assert_identical(*pair)
    return True
