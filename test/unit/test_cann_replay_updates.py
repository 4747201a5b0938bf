"""Numbers of the host at a replay on CANN: task groups of ACL are updated, on the fake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.torch_npu_standin import StandIn
from npu_replay_check import compile_for_npu, standin_on_fake
from replay_check import captured, same_bits
from torch import Tensor

import torchair
from torchair.backend_ge.runtime.host_values import UPDATABLE
from torchair.errors import EngineError

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")


@pytest.fixture
def npu(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    with standin_on_fake(tmp_path_factory.mktemp("cann"), monkeypatch) as standin:
        yield standin


def sums(x: Tensor, lengths: list[int], *, bias: Tensor | None = None) -> Tensor:
    rows = [row[:n].sum() for row, n in zip(x, lengths, strict=True)]
    return torch.stack(rows) + (0 if bias is None else bias)


def sums_out(
    x: Tensor,
    lengths: list[int],
    *,
    bias: Tensor | None = None,
    workspace: Tensor | None = None,
    out: Tensor,
) -> Tensor:
    assert workspace is not None and workspace.numel() == x.numel()
    return out.copy_(sums(x, lengths, bias=bias))


def like_rows(x: Tensor, lengths: list[int], *, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(x.shape[0])


def workspace(x: Tensor, lengths: list[int], *, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(x.numel())


def ends(x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    return sums(x, lengths), sums(x.flip(1), lengths)


def ends_out(x: Tensor, lengths: list[int], *, out: list[Tensor]) -> None:
    for target, value in zip(out, ends(x, lengths), strict=True):
        target.copy_(value)


@pytest.fixture(scope="module")
def head_sums() -> Iterator[Any]:
    """``head_sums(x, lengths)``: sum of the first ``lengths[i]`` columns of each row."""
    library = torch.library.Library("cann_replay", "DEF")
    arguments = "Tensor x, SymInt[] lengths, *, Tensor? bias=None"
    library.define(f"head_sums({arguments}) -> Tensor")
    library.define(
        f"head_sums.out({arguments}, Tensor? workspace=None, Tensor(a!) out) -> Tensor(a!)"
    )
    library.define(f"_head_sums_get_max_workspace({arguments}) -> Tensor")
    library.define("no_out(Tensor x, SymInt[] lengths) -> Tensor")
    library.define("ends(Tensor x, SymInt[] lengths) -> (Tensor, Tensor)")
    library.define("ends.out(Tensor x, SymInt[] lengths, *, Tensor(a!)[] out) -> ()")
    for name, function in (
        ("ends", ends),
        ("ends.out", ends_out),
        ("head_sums", sums),
        ("head_sums.out", sums_out),
        ("_head_sums_get_max_workspace", workspace),
        ("no_out", sums),
    ):
        library.impl(name, function, "CPU")
    for name in ("head_sums", "no_out"):
        torch.library.register_fake(f"cann_replay::{name}", like_rows)
    torch.library.register_fake(
        "cann_replay::ends", lambda x, lengths: (x.new_empty(len(x)), x.new_empty(len(x)))
    )
    operators = torch.ops.cann_replay
    torchair.register_update_slots(operators.ends.default, ("lengths",))
    torchair.register_update_slots(operators.head_sums.default, ("lengths",))
    torchair.register_update_slots(operators.no_out.default, ("lengths",))
    yield operators
    for name in ("ends", "head_sums", "no_out"):
        UPDATABLE.pop(f"cann_replay.{name}")
    library._destroy()


@torch.no_grad()
def test_lists_are_updated_before_each_replay(npu: StandIn, head_sums: Any) -> None:
    def f(x: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
        return head_sums.head_sums(x * 2, lengths, bias=bias) + 1

    compiled, backend = compile_for_npu(f, dynamic=True)
    bias = torch.randn(2)
    given = npu.plain_tensor(bias)
    updates = 0
    for step, lengths in enumerate([[3, 5], [4, 6], [4, 6], [1, 2], [3, 5]]):
        x = torch.randn(2, 8)
        y = compiled(npu.plain_tensor(x), lengths, given)
        npu.synchronize()
        assert same_bits(y, f(x, lengths, bias)), step
        updates += (lengths == [4, 6] and step == 1) or step > 2
    assert captured(backend).counts.captures == 1
    assert npu.fake.count("aclmdlRICaptureTaskUpdateBegin") == updates == 3
    assert "update slot (cann_replay.head_sums lengths at" in str(backend.reports[-1])


@torch.no_grad()
def test_results_of_an_out_overload_with_one_list(npu: StandIn, head_sums: Any) -> None:
    def f(x: Tensor, lengths: list[int]) -> Tensor:
        first, last = head_sums.ends(x, lengths)
        return first * 2 + last

    compiled, backend = compile_for_npu(f, dynamic=True)
    for lengths in ([3, 5], [4, 6]):
        x = torch.randn(2, 8)
        y = compiled(npu.plain_tensor(x), lengths)
        npu.synchronize()
        assert same_bits(y, f(x, lengths))
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_updates_of_an_earlier_key_stay_its_own(npu: StandIn, head_sums: Any) -> None:
    def f(x: Tensor, lengths: list[int]) -> Tensor:
        return head_sums.head_sums(x + 1, lengths) * 2

    compiled, backend = compile_for_npu(f, dynamic=True)
    for step, width in enumerate((8, 9, 8, 9, 9, 8)):
        x, lengths = torch.randn(2, width), [1 + step, width - step]
        y = compiled(npu.plain_tensor(x), lengths)
        npu.synchronize()
        assert same_bits(y, f(x, lengths)), step
    assert captured(backend).counts.captures == 2


@torch.no_grad()
def test_a_number_that_is_no_list_is_part_of_the_key(npu: StandIn) -> None:
    compiled, backend = compile_for_npu(lambda x, n: x * n + n, dynamic=True)
    for n in (2, 3, 2):
        y = compiled(npu.plain_tensor(torch.ones(4)), n)
        npu.synchronize()
        assert y.tolist() == [2.0 * n] * 4
    assert captured(backend).counts.captures == 2


@torch.no_grad()
def test_an_operator_without_out_cannot_be_updated(npu: StandIn, head_sums: Any) -> None:
    compiled, _ = compile_for_npu(lambda x, n: head_sums.no_out(x, n), dynamic=True)
    with pytest.raises(EngineError, match=r"cann_replay.no_out has no overload 'out'.*") as caught:
        compiled(npu.plain_tensor(torch.ones(2, 4)), [2, 3])
    assert "test_cann_replay_updates.py" in str(caught.value)


@torch.no_grad()
def test_a_failed_update_is_tried_again(npu: StandIn, head_sums: Any) -> None:
    def f(x: Tensor, lengths: list[int]) -> Tensor:
        return head_sums.head_sums(x, lengths) * 2

    compiled, _ = compile_for_npu(f, dynamic=True)
    x = torch.randn(2, 8)
    compiled(npu.plain_tensor(x), [1, 2])
    for function in ("aclmdlRICaptureTaskUpdateBegin", "aclmdlRICaptureTaskUpdateEnd",
                     "aclrtLaunchHostFunc", "aclmdlRIExecuteAsync"):  # fmt: skip
        given = npu.plain_tensor(x)
        later = 2 if function == "aclrtLaunchHostFunc" else 1  # the first one copies the input
        npu.fake.inject(function, 507899, npu.fake.count(function) + later)
        with pytest.raises((EngineError, RuntimeError), match="507899"):
            compiled(given, [3, 4])
        y = compiled(given, [3, 4])
        npu.synchronize()
        assert same_bits(y, f(x, [3, 4])), function
        compiled(given, [1, 2])
