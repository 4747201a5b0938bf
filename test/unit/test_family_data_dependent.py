"""Sizes and numbers that depend on tensor data, compiled into one graph, static and dynamic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from family_check import build, compare


@pytest.fixture(autouse=True)
def capture() -> Iterator[None]:
    with torch._dynamo.config.patch(
        capture_dynamic_output_shape_ops=True, capture_scalar_outputs=True
    ):
        yield


def run(function: Callable[..., Any], *calls: tuple[Any, ...], dynamic: bool = False) -> None:
    """Every call of one compiled function equals eager; one graph serves all of them."""
    compiled, graphs = build(function, dynamic=dynamic)
    for arguments in calls:
        compare(compiled(*arguments), function(*arguments))
    assert len(graphs) == 1


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).float()


SIZES: dict[str, Callable[[torch.Tensor], Any]] = {
    "mask then matmul": lambda x: x[x[:, 0] > 0] @ x.mT,
    "mask twice": lambda x: x[x > 0][x[x > 0] > 2],
    "mask then softmax": lambda x: x[x[:, 0] > 0].softmax(-1).sum(0),
    "mask on the left": lambda x: torch.where(x > 0, x, 0).index_put((x[:, 0] > 0,), x[0]),
    "nonzero as tuple": lambda x: x[torch.nonzero(x > 1, as_tuple=True)],
    "nonzero then index": lambda x: x.flatten()[torch.nonzero(x.flatten() > 0).squeeze(1)],
    "rows of two selections": lambda x: torch.cat([x[x[:, 0] > 0], x[x[:, 1] <= 0]]),
    "unique": lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    "unique rows": lambda x: torch.unique(x[:, :2], dim=0, return_inverse=True, return_counts=True),
    "unique columns": lambda x: torch.unique(x, dim=1),
    "unique_consecutive rows": lambda x: torch.unique_consecutive(x[:, :1], dim=0),
    "bincount": lambda x: torch.bincount((x.flatten() + 4).long()),
    "bincount of weights": lambda x: torch.bincount(x[0].abs().int(), x[1], minlength=3),
    "repeat_interleave": lambda x: x.repeat_interleave(x[:, 0].abs().long(), 0),
    "repeat_interleave of counts": lambda x: torch.repeat_interleave(x[:, 0].abs().long()),
    "masked_select and shape": lambda x: x.masked_select(x < 0).numel() + x,
    "histogram of counts": lambda x: torch.bincount((x > 0).flatten().long()).float().softmax(0),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str, dynamic: bool) -> None:
    run(SIZES[name], *((numbers(seed, 6, 5),) for seed in (1, 2, 3)), dynamic=dynamic)


def by_item(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    count = n[0].item()
    torch._check(count >= 0)
    torch._check(count <= x.shape[0])
    return x[:count] * 2


def by_list(x: torch.Tensor, n: torch.Tensor) -> list[torch.Tensor]:
    sizes = n.tolist()
    for size in sizes:
        torch._check(size >= 0)
    return [part.sum(0) for part in torch.split(x, sizes)]


def by_loop(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    total = x
    for value in n.tolist():
        total = total + value
    return total


def by_zeros(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    count = n[1].item()
    torch._check(count >= 0)
    return torch.cat([x[:, 0], torch.zeros(count)])


def by_arange(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    count = n[2].item()
    torch._check(count >= 0)
    line = torch.arange(count)
    return line.float().mean() + (line * 2).sum() + x


def by_float(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return x * x.sum().item() + float(n.max())


NUMBERS = [by_item, by_list, by_loop, by_zeros, by_arange, by_float]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("function", NUMBERS, ids=lambda f: f.__name__)
def test_numbers(function: Callable[..., Any], dynamic: bool) -> None:
    calls = [(numbers(i, 9, 3), torch.tensor(n)) for i, n in enumerate([[2, 3, 4], [4, 4, 1]])]
    run(function, *calls, dynamic=dynamic)


def test_a_selection_of_nothing() -> None:
    x = numbers(1, 4, 3)
    run(lambda x: (x[x > 9].sum(), x[x[:, 0] > 9] * 2), (x,), (x + 20,))
    run(lambda x: torch.unique(x, dim=0), (x,))
    run(lambda x: torch.bincount(x), (torch.zeros(0, dtype=torch.int64),))


def narrowed(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
    start = i[0].item()
    torch._check(start >= 0)
    torch._check(start <= 5)
    return x.narrow(0, start, 3)


PLACES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "narrow": narrowed,
    "slice": lambda x, i: x[i[0] :],
    "select": lambda x, i: x[i[1].item()],
    "select of columns": lambda x, i: x.mT[1:].select(1, i[0].item()),
    "tensor_split": lambda x, i: x.tensor_split(i),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", PLACES)
def test_views_of_inputs_at_places_in_data(name: str, dynamic: bool) -> None:
    """What is returned lies in the input's memory, as in eager."""
    compiled, graphs = build(PLACES[name], dynamic=dynamic)
    x = numbers(1, 8, 5)
    for places in ([1, 4], [3, 5]):
        index = torch.tensor(places)
        found, wanted = compiled(x, index), PLACES[name](x, index)
        compare(found, wanted)
        pairs = [(found, wanted)] if torch.is_tensor(found) else zip(found, wanted, strict=True)
        for one, other in pairs:
            assert (one.data_ptr(), one.stride()) == (other.data_ptr(), other.stride())
    assert len(graphs) == 1


def test_views_of_parts_of_storages() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return x.as_strided((2, 2), (4, 1), 5)

    base = numbers(1, 6, 4)
    compiled, graphs = build(function, dynamic=True)
    for part in (base[1:4], base[2:6]):
        found = compiled(part)
        assert torch.equal(found, function(part))
        assert found.data_ptr() == function(part).data_ptr()
    assert graphs
