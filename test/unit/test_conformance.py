"""A fast share of the conformance sweep, and the harness itself.

The whole sweep is ``make conformance``. Here every operator must pass: no known failures.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.compare import Mismatch, are_as_accurate, compare, compare_distributions
from conformance.drafting import as_toml, update
from conformance.expectations import (
    Expectation,
    breaches,
    load_expectations,
    load_floors,
    shortfalls,
)
from conformance.harness import (
    CRASH,
    MISMATCH,
    PASS,
    SKIP,
    TIMEOUT,
    UNCAPTURABLE,
    UNSUPPORTED,
    Outcome,
    run_sample,
)
from conformance.samples import DTYPES, Group, Sample, groups, operators, samples_of
from conformance.sweep import CAPTURE, Plan, run_group, sweep

from torchair.dialects.ge import builder as ge
from torchair.passes.convert_aten_to_ge.registry import Converter, converters

FLOAT32 = [
    "abs",
    "add",
    "addmm",
    "amax",
    "arange",
    "argmax",
    "atan2",
    "bmm",
    "cat",
    "clamp",
    "clone",
    "cos",
    "cumsum",
    "div.no_rounding_mode",
    "embedding",
    "eq",
    "exp",
    "expand",
    "eye",
    "flip",
    "full",
    "gather",
    "ge",
    "index_add",
    "index_put",
    "index_select",
    "isnan",
    "linspace",
    "log",
    "log_softmax",
    "logical_and",
    "masked_fill",
    "matmul",
    "max.reduction_with_dim",
    "mean",
    "minimum",
    "mm",
    "mul",
    "neg",
    "nn.functional.avg_pool2d",
    "nn.functional.conv2d",
    "nn.functional.embedding",
    "nn.functional.gelu",
    "nn.functional.group_norm",
    "nn.functional.layer_norm",
    "nn.functional.linear",
    "nn.functional.max_pool2d",
    "nn.functional.mse_loss",
    "nn.functional.pad.constant",
    "nn.functional.relu",
    "nn.functional.silu",
    "nonzero",
    "permute",
    "pow",
    "prod",
    "reciprocal",
    "repeat",
    "reshape",
    "round",
    "rsqrt",
    "scatter",
    "scatter_add",
    "select",
    "sigmoid",
    "sign",
    "sin",
    "slice",
    "softmax",
    "sort",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "sub",
    "sum",
    "t",
    "tanh",
    "topk",
    "transpose",
    "tril",
    "true_divide",
    "unbind",
    "unfold",
    "unsqueeze",
    "var",
    "view",
    "where",
    "zeros_like",
]
ALL_DTYPES = [
    "add",
    "mul",
    "cat",
    "where",
    "sum",
    "amax",
    "clone",
    "expand",
    "flip",
    "gather",
    "index_select",
    "to",
]

PLAN = Plan(limit=2, inplace_limit=1, dynamo=1)


@pytest.fixture(autouse=True)
def capture_data_dependent_sizes() -> Iterator[None]:
    with torch._dynamo.config.patch(**CAPTURE):
        yield


def failures(todo: list[Group]) -> list[str]:
    outcomes = [run() for group in todo for run in run_group(group, PLAN)]
    assert any(o.status == PASS for o in outcomes)
    bad = [o for o in outcomes if o.status not in (PASS, SKIP, UNCAPTURABLE)]
    return [f"{o.group} sample {o.index} {o.status}: {o.detail or o.cause}" for o in bad]


@pytest.mark.parametrize("op", [name for name in FLOAT32 if name in operators()])
def test_float32_samples_equal_eager(op: str) -> None:
    assert failures(groups([op], ["float32"])) == []


@pytest.mark.parametrize("op", [name for name in ALL_DTYPES if name in operators()])
def test_samples_of_other_dtypes_equal_eager(op: str) -> None:
    others = [name for name in DTYPES if name != "float32"]
    assert failures(groups([op], others, ["static"])) == []


# ---------------------------------------------------------------- the harness


RELU = Group("nn.functional.relu", "float32", "static")


def outcome_of(function: Callable[..., Any], *args: Any, group: Group = RELU) -> Outcome:
    torch._dynamo.reset()
    return run_sample(group, 0, Sample(function, args, {}), "direct", seconds=5.0)


def convert_relu_with(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> None:
    schema = "aten::relu(Tensor self) -> Tensor"
    wrong = Converter("aten.relu", schema, function, frozenset(["self"]), False)
    monkeypatch.setitem(converters(), "aten.relu", wrong)


def test_a_wrong_converter_is_a_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    convert_relu_with(monkeypatch, lambda self: ge.Neg(self))
    outcome = outcome_of(torch.relu, torch.ones(3))
    assert (outcome.status, outcome.cause) == (MISMATCH, "values in aten.relu.default")


def test_a_converter_that_breaks_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any) -> Any:
        raise RuntimeError("broken converter")

    convert_relu_with(monkeypatch, broken)
    outcome = outcome_of(torch.relu, torch.ones(3))
    assert outcome.status == CRASH
    assert "broken converter" in outcome.detail


def test_a_missing_converter_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(converters(), "aten.relu")
    outcome = outcome_of(torch.relu, torch.ones(3))
    assert outcome.status in (UNSUPPORTED, PASS)  # a decomposition may stand in
    assert outcome.status == PASS or outcome.cause == "aten.relu"


def test_a_place_among_equal_values_is_free_but_must_hold_the_value() -> None:
    samples = samples_of(Group("mode", "int64", "static"))
    sample = next(s for s in samples.values() if s.args[0].dim() > 1)
    values, places = sample.function(*sample.args, **sample.kwargs)
    compare(sample.defined((values, places)), sample.defined((values, places)), {})
    with pytest.raises(Mismatch):
        wrong = (places + 1) % sample.args[0].shape[-1]
        compare(sample.defined((values, wrong)), sample.defined((values, places)), {})


def test_an_endless_sample_times_out() -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        while True:
            x = x + 1

    sample = Sample(endless, (torch.ones(2),), {})
    assert run_sample(RELU, 0, sample, "direct", seconds=0.2).status == TIMEOUT


def test_what_eager_refuses_is_skipped() -> None:
    assert outcome_of(torch.mm, torch.ones(2, 3), torch.ones(2, 3)).status == SKIP


def test_what_torch_cannot_capture_is_told_apart() -> None:
    outcome = outcome_of(lambda x: x.numpy().sum() + x.tolist()[0], torch.ones(3))
    assert outcome.status == UNCAPTURABLE


def test_written_inputs_are_compared() -> None:
    outcome = outcome_of(lambda x: x.mul_(2), torch.ones(3))
    assert outcome.status == PASS


@pytest.mark.parametrize("path", ["dynamo", "direct"])
def test_other_random_numbers_pass_by_distribution(path: str) -> None:
    group = Group("rand_like", "float32", "static")
    for index, sample in samples_of(group, 2).items():
        outcome = run_sample(group, index, sample, path)
        assert outcome.status == PASS, outcome.detail


def test_a_shifted_distribution_is_a_mismatch() -> None:
    def draw(shift: float, scale: float) -> Callable[[int], Any]:
        def run(value: int) -> torch.Tensor:
            generator = torch.Generator().manual_seed(value)
            return torch.randn(100, generator=generator) * scale + shift

        return run

    compare_distributions(draw(1, 2), draw(1, 2))
    with pytest.raises(Mismatch, match="means"):
        compare_distributions(draw(2, 2), draw(1, 2))
    with pytest.raises(Mismatch, match="spreads"):
        compare_distributions(draw(1, 3), draw(1, 2))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([torch.zeros(2)], "count"),
        ([torch.zeros(2), 2], "values"),
        ([torch.zeros(2, 1), 1], "shape"),
        ([torch.zeros(2, dtype=torch.float64), 1], "dtype"),
        ([torch.ones(2), 1], "values"),
        ([0.0, 1], "type"),
    ],
)
def test_each_difference_has_its_kind(found: list[Any], kind: str) -> None:
    with pytest.raises(Mismatch) as caught:
        compare(found, [torch.zeros(2), 1], {})
    assert caught.value.kind == kind


def test_accuracy_is_held_against_float64() -> None:
    exact = torch.tensor([1.0, 2.0], dtype=torch.float64)
    eager = (exact + 0.01).half()
    assert are_as_accurate([(exact - 0.015).half()], [eager], [exact])
    assert not are_as_accurate([(exact - 0.05).half()], [eager], [exact])
    infinite = torch.tensor([float("inf"), 2.0]).half()
    assert are_as_accurate([exact.half()], [infinite], [exact])
    assert not are_as_accurate([eager * 1.1], [infinite], [exact])
    nan = torch.tensor([float("nan"), 2.0]).half()
    assert not are_as_accurate([nan], [eager], [exact])


def test_a_worker_that_dies_costs_only_its_samples() -> None:
    group = Group("add", "float32", "static")
    plan = Plan(limit=6, dynamo=0)
    killed: list[int] = []

    def kill_once(_: Outcome) -> None:
        if not killed:
            killed.extend(child.pid or 0 for child in multiprocessing.active_children())
            os.kill(killed[0], 9)

    outcomes = sweep([group, group], plan, kill_once)
    assert len(outcomes) == 2 * len(samples_of(group, 6))
    assert {o.status for o in outcomes} <= {PASS, CRASH}
    assert sum(o.status == CRASH for o in outcomes) <= 1


# ---------------------------------------------------------------- expectations


def test_the_list_of_known_failures_is_well_formed() -> None:
    for entry in load_expectations():
        for pattern in entry.ops:
            named = [
                n
                for n in operators()
                if replace(entry, ops=(pattern,)).covers(Group(n, entry.dtypes[0], entry.modes[0]))
            ]
            assert named, f"op_db has no {pattern}"


def test_expectations_are_strict_in_both_directions() -> None:
    entry = Expectation(("sin",), UNSUPPORTED, "no such function in GE", ("float32",))
    failed = Outcome("sin", "float32", "static", False, "direct", 0, UNSUPPORTED, "aten.sin")
    assert breaches([failed], [entry]) == []
    assert breaches([replace(failed, status=PASS)], [entry]) == [
        "stale: sin has no 'unsupported' any more: no such function in GE"
    ]
    assert len(breaches([failed], [])) == 1
    assert breaches([replace(failed, dtype="int64")], [entry])[0].startswith(
        "unexpected: sin int64"
    )


def test_a_tolerance_forgives_few_differing_digits_and_nothing_else() -> None:
    entry = Expectation(("exp",), MISMATCH, "other digits", ("float32",))
    passed = Outcome("exp", "float32", "static", False, "direct", 0, PASS, "")
    differing = replace(passed, op="sin", status=MISMATCH)
    refused = replace(passed, op="sin", status=UNSUPPORTED)
    assert breaches([passed] * 9 + [differing], [entry], 0.1) == []
    assert len(breaches([passed] * 8 + [differing] * 2, [entry], 0.1)) == 2
    assert len(breaches([passed] * 9 + [refused], [entry], 0.1)) == 1
    assert breaches([passed], [entry])[0].startswith("stale: exp")


def test_floors_are_kept_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text(as_toml([], {"float32": 60.0, "all": 50.0}))
    assert load_floors(path) == {"float32": 60.0, "all": 50.0}
    update([], path)
    passed = Outcome("sin", "float32", "static", False, "direct", 0, PASS)
    failed = replace(passed, status=UNSUPPORTED)
    assert shortfalls([passed, failed], load_floors(path)) == [
        "below the floor: float32 50.00 %, at least 60.0 % must pass"
    ]
    path.write_text("[floors]\nfloat31 = 1.0\n")
    with pytest.raises(ValueError, match="float31"):
        load_floors(path)


def test_the_list_of_known_failures_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "expectations.toml"
    old = Expectation(("sin", "cos"), UNSUPPORTED, 'not in "GE"', ("float32",))
    path.write_text(as_toml([old]))
    assert load_expectations(path) == [old]
    base = Outcome("sin", "float32", "static", False, "direct", 0, UNSUPPORTED, "aten.sin")
    new = replace(base, op="tan", dtype="int64", cause="aten.tan: no integers (expected f)")
    passed, crashed = replace(base, op="cos", status=PASS), replace(base, op="tan", status=CRASH)
    assert update([base, new, passed, crashed], path) == (1, 1)
    kept, drafted = load_expectations(path)
    assert kept == replace(old, ops=("sin",))
    expected = Expectation(("tan",), UNSUPPORTED, "aten.tan: no integers", ("int64",), ("static",))
    assert drafted == expected


def test_crashes_cannot_be_expected(tmp_path: Path) -> None:
    path = tmp_path / "expectations.toml"
    path.write_text(as_toml([Expectation(("sin",), CRASH, "it happens")]))
    with pytest.raises(ValueError, match="crash"):
        load_expectations(path)
