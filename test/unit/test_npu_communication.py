"""Collectives: one rank keeps what it has, two processes really communicate."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import npu_two_ranks
import pytest
import torch
import torch.distributed as dist
from npu_operator_check import check_compiled
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import torchair
from torchair.dialects.npu_groups import group_name, group_rank
from torchair.errors import ConfigError, ConversionError, EngineError, TorchairError
from torchair.frontend.communicators import name_communicators

ops = torch.ops.npu_define
npu = torch.ops.npu

ALONE = "tag=;rank_list=0"
ONE_RANK: dict[str, Callable[[Tensor], Any]] = {
    "broadcast": lambda x: ops.broadcast(x, 0, "", [0], 1),
    "broadcast in group": lambda x: ops.broadcast(x, None, "", [0], 1, 0),
    "allgather": lambda x: ops.allgather([x.new_empty(x.shape)], x, "", [0], 1)[0],
    "in tensor": lambda x: ops.allgather_in_tensor(x.new_empty(x.shape), x, "", [0], 1),
    "in shape": lambda x: ops._allgather_in_tensor_shape(x, x.shape, "", [0], 1),
    "uneven": lambda x: ops.allgather_in_tensor_uneven(
        x, x.shape[0], [x.shape[0]], "", [0], 1, [0]
    ),
    "reduce scatter": lambda x: ops.reduce_scatter_tensor_uneven(
        x, [x.shape[0]], x.shape[0], "max", "", [0], 1, []
    ),
    "all to all": lambda x: ops.all_to_all_single_npu(
        x, [x.numel()], [0], [x.numel()], [0], "", [0], 1
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool], ids=str)
def test_one_rank_keeps_its_tensor(dtype: torch.dtype) -> None:
    def communicate(x: Tensor) -> list[Tensor]:
        reducible = x.float() if dtype is torch.bool else x
        return [call(reducible if "reduce" in name else x) for name, call in ONE_RANK.items()]

    x = torch.arange(12).reshape(4, 3).to(dtype)
    found = check_compiled(communicate, x)
    assert len(found) == len(ONE_RANK)
    assert all(torch.equal(value.to(dtype), x) for value in found)


@pytest.mark.parametrize("blocks", [1, 4, 0])
def test_quantised_sums_of_one_rank(blocks: int) -> None:
    """Scales per row, per 32 columns, or powers of two per 32 columns in pairs."""
    torch.manual_seed(0)
    x = torch.randint(-128, 128, (6, 128), dtype=torch.int8)
    scales = torch.rand(6, blocks) + 0.5
    factors = scales
    named: dict[str, Any] = {}
    if blocks == 0:
        scales = torch.randint(120, 132, (6, 2, 2), dtype=torch.uint8)
        factors, named = 2.0 ** (scales.flatten(1).float() - 127), {"scales_dtype": 293}
    found = check_compiled(
        lambda x, s: (
            npu.npu_quant_all_reduce(x, s, ALONE, 1, output_dtype=6, **named),
            npu.npu_quant_reduce_scatter(x, s, ALONE, 1, **named),
        ),
        x,
        scales,
    )
    exact = x.float() * factors.repeat_interleave(128 // factors.shape[1], 1)
    assert torch.equal(found[0], exact)
    assert torch.equal(found[1], exact.bfloat16())


def test_shapes_of_several_ranks() -> None:
    with FakeTensorMode():
        x, scales = torch.empty(2, 8, 128, dtype=torch.int8), torch.empty(2, 8, 1)
        total = npu.npu_quant_all_reduce(x, scales, "group", 1)
        assert (total.shape, total.dtype) == (x.shape, torch.bfloat16)
        part = npu.npu_quant_reduce_scatter(x.to("meta"), scales.to("meta"), "group", 4)
        assert (tuple(part.shape), part.dtype) == ((4, 128), torch.bfloat16)
        gathered = ops._allgather_in_tensor_shape(torch.empty(3, 5), [6, 5], "", [0, 1], 2)
        assert gathered.shape == (6, 5)


def test_names_of_groups() -> None:
    assert group_name("t", [3, 5]) == "tag=t;rank_list=3,5"
    assert (group_rank(5, None, [3, 5], "op"), group_rank(None, 1, [3, 5], "op")) == (1, 1)
    with pytest.raises(ConversionError, match="not in the group"):
        group_rank(4, None, [3, 5], "op")
    with pytest.raises(ConversionError, match="either a rank"):
        group_rank(3, 0, [3, 5], "op")


def test_several_ranks_need_torch_distributed() -> None:
    with pytest.raises(EngineError, match="is not started"):
        ops.broadcast(torch.ones(3), 0, "", [0, 1], 2)


def test_unknown_reductions_are_refused() -> None:
    def average(x: Tensor) -> Tensor:
        return torch.ops._c10d_functional.all_reduce(x, "avg", "0") * 2

    compiled = torch.compile(average, backend=torchair.get_npu_backend(), fullgraph=True)
    with pytest.raises(TorchairError, match="does not reduce over ranks by 'avg'"):
        compiled(torch.ones(3))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes computed, by rank."""
    folder = tmp_path_factory.mktemp("ranks")
    files = [folder / "0.pt", folder / "1.pt"]
    script = Path(npu_two_ranks.__file__)
    running = [
        subprocess.Popen(
            [sys.executable, script, str(rank), folder / "meeting", file],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, file in enumerate(files)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in running]
    finally:
        for process in running:
            process.kill()  # a rank waits for ever when the other one fails
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    return [torch.load(file) for file in files]


NAMES = [
    *[function.__name__ for function in npu_two_ranks.FUNCTIONS],
    *[f"{function.__name__} of bfloat16" for function in npu_two_ranks.HALF],
]


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks(ranks: list[dict[str, Any]], name: str) -> None:
    for rank in ranks:
        torch.testing.assert_close(rank["compiled"][name], rank["eager"][name], rtol=0, atol=0)


def test_two_ranks_against_their_inputs(ranks: list[dict[str, Any]]) -> None:
    x, y = ranks[0]["x"], ranks[1]["x"]
    first, second = ranks[0]["compiled"], ranks[1]["compiled"]
    for rank in (first, second):
        assert torch.equal(rank["all_reduce"], (x * 2 + y * 2) + 1)
        assert torch.equal(rank["all_gather"], torch.cat([x, y]) * 2)
        assert torch.equal(rank["broadcast"], y * 2)
        assert torch.equal(rank["uneven"][0], (torch.cat([x[:3], y[:2]]) + 1) * 2)
        assert torch.equal(rank["lists"][2], torch.stack([x, y]) * 2)
    table = torch.arange(15.0).reshape(3, 5)
    near: dict[str, float] = {"rtol": 5e-3, "atol": 5e-2}
    for rank, found in enumerate((first["products"], second["products"])):
        total = x @ table + y @ (table + 1)
        torch.testing.assert_close(found[0].float(), total, **near)
        torch.testing.assert_close(found[1].float(), torch.cat([x, y]) @ (table + rank), **near)
        assert torch.equal(found[2], torch.cat([x, y]).half())
        torch.testing.assert_close(found[3].float(), total[2 * rank : 2 * rank + 2], **near)
    assert torch.equal(second["reduce_scatter"], (x + y)[2:] * 2)
    assert torch.equal(first["uneven"][1], (x + y)[:1] * 2)
    assert torch.equal(first["all_to_all"], torch.cat([x[:1], y[:3]]) * 2)
    assert torch.equal(second["exchange"], torch.cat([x[:2], y[:2]]) * 2)


class Hccl:
    """A backend with the method that torch_npu's has."""

    def get_hccl_comm_name(self, rank: int, init_comm: bool) -> str:
        return f"group_of_{rank}"


def test_communicators_of_an_npu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A GE graph for an NPU names HCCL's communicator; other backends are refused."""

    def communicate(x: Tensor) -> Tensor:
        return ops.broadcast(torch.ops._c10d_functional.all_reduce(x, "sum", "0"), 0, "", [0], 1)

    dist.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        gm = make_fx(communicate, tracing_mode="fake")(torch.ones(3))
        config = torchair.CompilerConfig()
        config.engine = "cann"
        host = torchair.CompilerConfig()
        host.engine = "host"
        name_communicators(gm, host.snapshot())
        with pytest.raises(ConfigError, match="none of HCCL's"):
            name_communicators(gm, config.snapshot())
        group = dist.distributed_c10d._get_default_group()
        monkeypatch.setattr(type(group), "_get_backend", lambda self, device: Hccl())
        name_communicators(gm, config.snapshot())
    finally:
        dist.destroy_process_group()
    arguments = [node.args for node in gm.graph.nodes if node.op == "call_function"]
    assert arguments[0][2] == "group_of_0"
    assert group_name(str(arguments[1][2]), [0]) == "group_of_0"
