"""Numbers of the host that reach captured operators: guards, update slots and refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from replay_check import captured, compile_for_replay, same_bits
from torch import Tensor

import torchair
from torchair.backend_ge.runtime.host_values import UPDATABLE
from torchair.errors import ConfigError, EngineError, UnsupportedOpError


@pytest.fixture(scope="module")
def lengths_operator() -> Iterator[object]:
    """``masked_mean(x, lengths)``: mean of the first ``lengths[i]`` columns of each row."""
    library = torch.library.Library("replay_values", "DEF")
    library.define("masked_mean(Tensor x, SymInt[] lengths, *, Tensor? bias=None) -> Tensor")

    def masked_mean(x: Tensor, lengths: list[int], *, bias: Tensor | None = None) -> Tensor:
        rows = [row[:length].mean() for row, length in zip(x, lengths, strict=True)]
        return torch.stack(rows) + (0 if bias is None else bias)

    library.impl("masked_mean", masked_mean, "CPU")
    torch.library.register_fake(
        "replay_values::masked_mean", lambda x, lengths, bias=None: x.new_empty(x.shape[0])
    )
    yield torch.ops.replay_values.masked_mean.default
    UPDATABLE.pop("replay_values.masked_mean", None)
    library._destroy()


def scaled_mean(x: Tensor, lengths: list[int], bias: Tensor) -> Tensor:
    return torch.ops.replay_values.masked_mean(x * 2, lengths, bias=bias) + 1


@torch.no_grad()
def test_a_list_is_part_of_the_key_unless_registered(lengths_operator: object) -> None:
    compiled, backend = compile_for_replay(scaled_mean, dynamic=True)
    x, bias = torch.randn(2, 8), torch.randn(2)
    for lengths in ([3, 5], [4, 6], [3, 5]):
        assert same_bits(compiled(x, lengths, bias), scaled_mean(x, lengths, bias))
    assert captured(backend).counts.captures == 2
    assert "guard (replay_values.masked_mean lengths at" in str(backend.reports[-1])


@torch.no_grad()
def test_a_registered_list_is_updated_before_each_replay(lengths_operator: object) -> None:
    torchair.register_update_slots(lengths_operator, ("lengths",))
    compiled, backend = compile_for_replay(scaled_mean, dynamic=True)
    bias = torch.randn(2)
    for step in range(20):
        x = torch.randn(2, 8)
        lengths = [2 + step % 5, 7 - step % 5]
        assert same_bits(compiled(x, lengths, bias), scaled_mean(x, lengths, bias)), step
    assert captured(backend).counts.captures == 1
    assert "update slot (replay_values.masked_mean lengths at" in str(backend.reports[-1])


@torch.no_grad()
def test_each_key_has_lists_of_its_own(lengths_operator: object) -> None:
    torchair.register_update_slots(lengths_operator, ("lengths",))
    compiled, backend = compile_for_replay(scaled_mean, dynamic=True)
    bias = torch.randn(2)
    for width in (8, 9, 8, 10, 9, 8):
        x = torch.randn(2, width)
        lengths = [width - 4, width - 2]
        assert same_bits(compiled(x, lengths, bias), scaled_mean(x, lengths, bias)), width
    assert captured(backend).counts.captures == 3


@torch.no_grad()
def test_arithmetic_on_the_way_to_a_slot(lengths_operator: object) -> None:
    torchair.register_update_slots(lengths_operator, ("lengths",))

    def f(x: Tensor, n: int) -> Tensor:
        lengths = [n + 1, x.shape[1] - n]
        return torch.ops.replay_values.masked_mean(x, lengths)

    compiled, backend = compile_for_replay(f, dynamic=True)
    for n in (2, 3, 5, 2):
        x = torch.randn(2, 8)
        assert same_bits(compiled(x, n), f(x, n)), n
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_numbers_in_a_tensors_place_are_slots() -> None:
    def f(x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return x * n, (x.half() + n) / (n + 1), x > n, x.to(torch.int32) - n

    compiled, backend = compile_for_replay(f, dynamic=True)
    for n in (2, 7, -3, 2, 100):
        x = torch.randn(5) * 4
        for a, b in zip(compiled(x, n), f(x, n), strict=True):
            assert same_bits(a, b), n
    assert captured(backend).counts.captures == 1


@torch.no_grad()
def test_a_list_that_becomes_a_tensor_is_a_slot() -> None:
    """Block tables and positions as lists of ints."""

    def f(cache: Tensor, table: list[int], n: int) -> tuple[Tensor, ...]:
        rows = cache[torch.tensor(table)]
        return (
            rows,
            torch.full((2, 3), n),
            cache.new_full((2,), n),
            torch.where(cache > 0, cache, n),
        )

    compiled, backend = compile_for_replay(f, dynamic=True)
    for step in range(4):
        table, cache, n = [step, 7 - step, 2], torch.randn(8, 4), 3 * step - 2
        for a, b in zip(compiled(cache, table, n), f(cache, table, n), strict=True):
            assert same_bits(a, b), step
    made = [report.captured.counts.captures for report in backend.reports]
    assert made == [1] * len(made)  # dynamo makes graphs of its own for 0 and 1


@torch.no_grad()
def test_a_number_that_shapes_anything_is_a_guard_everywhere() -> None:
    def f(x: Tensor, n: int) -> Tensor:
        return x[:n] * n

    compiled, backend = compile_for_replay(f, dynamic=True)
    x = torch.randn(9)
    for n in (3, 4, 3, 5):
        assert same_bits(compiled(x, n), f(x, n)), n
    assert captured(backend).counts.captures == 3


@torch.no_grad()
def test_a_replay_without_an_update_fails(lengths_operator: object) -> None:
    torchair.register_update_slots(lengths_operator, ("lengths",))
    compiled, backend = compile_for_replay(scaled_mean, dynamic=True)
    x, bias = torch.randn(2, 8), torch.randn(2)
    compiled(x, [3, 5], bias)
    slots = captured(backend).captures[0]._slots
    with pytest.raises(EngineError, match=r"update slot lengths of replay_values.masked_mean"):
        slots.inputs()
    assert same_bits(compiled(x, [4, 4], bias), scaled_mean(x, [4, 4], bias))


@torch.no_grad()
def test_numbers_of_the_device_are_refused_with_their_lines() -> None:
    def f(x: Tensor) -> Tensor:
        rows = torch.nonzero(x) + x[torch.tensor([0])].long()  # the second index is harmless
        return x[: x.sum().to(torch.int64).item()] + rows.sum()

    with torch._dynamo.config.patch(
        capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True
    ):
        compiled, _ = compile_for_replay(f)
        with pytest.raises(UnsupportedOpError) as caught:
            compiled(torch.ones(4))
    text = str(caught.value)
    assert "2 calls cannot be captured" in text
    assert "aten.nonzero (nonzero-aten.nonzero) gives a shape that depends on data" in text
    assert (
        "aten._local_scalar_dense" in text
        and text.count("test_reduce_overhead_host_values.py") == 2
    )
    assert "\nTry: keep the value in a tensor" in text


@torch.no_grad()
def test_a_number_that_is_only_returned_stays_on_the_device() -> None:
    def f(x: Tensor) -> tuple[Tensor, float]:
        return x + 1, x.sum().item()

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled, backend = compile_for_replay(f)
        for _ in range(3):
            x = torch.randn(4)
            got, expected = compiled(x), f(x)
            assert same_bits(got[0], expected[0]) and got[1] == expected[1]
    assert captured(backend).counts.replays == 3


def test_registration_is_checked(lengths_operator: object) -> None:
    with pytest.raises(ConfigError, match="no int or int-list parameter 'x'"):
        torchair.register_update_slots(lengths_operator, ("x",))
    with pytest.raises(ConfigError, match="writes its arguments"):
        torchair.register_update_slots(torch.ops.aten.index_fill_.int_Scalar, ("dim",))


@torch.no_grad()
def test_lengths_of_fused_attention_are_updated_while_decoding() -> None:
    def step(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
        found = torch.ops.npu.npu_fused_infer_attention_score(
            q,
            k,
            v,
            actual_seq_lengths_kv=lengths,
            num_heads=2,
            num_key_value_heads=2,
            input_layout="BNSD",
            scale=0.5,
        )
        return found[0] * 2

    compiled, backend = compile_for_replay(step, dynamic=True)
    k, v = torch.randn(2, 2, 16, 4), torch.randn(2, 2, 16, 4)
    for count in range(3, 14):
        q = torch.randn(2, 2, 1, 4)
        lengths = [count, 16 - count + 2]
        assert same_bits(compiled(q, k, v, lengths), step(q, k, v, lengths)), count
    assert captured(backend).counts.captures == 1
    assert "lengths[1]: update slot (npu.npu_fused_infer_attention_score" in str(captured(backend))
