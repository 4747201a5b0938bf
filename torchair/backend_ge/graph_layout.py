"""Layered drawing of an acyclic graph: layers, an order in each with few crossings, coordinates.

The method of Sugiyama, Tagawa and Toda (1981): edges that span layers get a bend in each,
barycentre sweeps reduce crossings, and a layer's coordinates are the best fit to its neighbours'.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

NODE_GAP: Final = 24.0
LAYER_GAP: Final = 36.0
_SWEEPS: Final = 8
_FITS: Final = 12
_BEND_WIDTH: Final = 6.0
_BEND_WEIGHT: Final = 4.0
_COUNTED_EDGES: Final = 20_000
"""Above this many edges crossings are not counted, and the last order is taken."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing.

    Args:
        centers: centre x and top y of each node.
        routes: per edge the points it bends at, from below its source to above its target.
        width: of the whole drawing.
        height: of the whole drawing.
    """

    centers: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    width: float
    height: float


def assign_layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Layer of each node: as early as its sources allow; a node without sources, as late as it can.

    Args:
        count: number of nodes, numbered so that every edge goes from a lower to a higher number.
        edges: (source, target) pairs.
    """
    layers = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        layers[target] = max(layers[target], layers[source] + 1)
    has_source = {target for _, target in edges}
    earliest: dict[int, int] = {}
    for source, target in edges:
        earliest[source] = min(earliest.get(source, layers[target]), layers[target])
    for node, layer in earliest.items():
        if node not in has_source:
            layers[node] = layer - 1
    return layers


@dataclass(slots=True)
class _Grid:
    """Nodes and bends in layers. Bends are numbered after the nodes."""

    rows: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    widths: list[float]
    bends: list[list[int]] = field(default_factory=list[list[int]])


def place(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    layers: Sequence[int],
) -> Layout:
    """Coordinates of a graph whose layers are known.

    Args:
        sizes: width and height of each node.
        edges: (source, target) pairs; each goes to a later layer.
        layers: layer of each node.
    """
    grid = _grid([width for width, _ in sizes], edges, layers)
    _reduce_crossings(grid)
    xs = _fit(grid)
    tops: list[float] = []
    bottoms: list[float] = []
    y = 0.0
    for row in grid.rows:
        tallest = max((sizes[node][1] for node in row if node < len(sizes)), default=0.0)
        tops.append(y)
        bottoms.append(y + tallest)
        y += tallest + LAYER_GAP
    left = min((x - grid.widths[i] / 2 for i, x in enumerate(xs)), default=0.0)
    xs = [x - left for x in xs]
    width = max((x + grid.widths[i] / 2 for i, x in enumerate(xs)), default=0.0)
    centers = [(xs[node], tops[layers[node]]) for node in range(len(sizes))]
    routes: list[list[tuple[float, float]]] = []
    for (source, target), bends in zip(edges, grid.bends, strict=True):
        points = [(xs[source], tops[layers[source]] + sizes[source][1])]
        for offset, bend in enumerate(bends, start=layers[source] + 1):
            points += [(xs[bend], tops[offset]), (xs[bend], bottoms[offset])]
        points.append(centers[target])
        routes.append(points)
    return Layout(centers, routes, width, max(y - LAYER_GAP, 0.0))


def _grid(widths: list[float], edges: Sequence[tuple[int, int]], layers: Sequence[int]) -> _Grid:
    rows: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for node, layer in enumerate(layers):
        rows[layer].append(node)
    grid = _Grid(rows, [[] for _ in widths], [[] for _ in widths], list(widths))
    for source, target in edges:
        bends: list[int] = []
        last = source
        for layer in range(layers[source] + 1, layers[target]):
            bend = len(grid.widths)
            grid.widths.append(_BEND_WIDTH)
            grid.above.append([])
            grid.below.append([])
            rows[layer].append(bend)
            _join(grid, last, bend)
            bends.append(bend)
            last = bend
        _join(grid, last, target)
        grid.bends.append(bends)
    return grid


def _join(grid: _Grid, upper: int, lower: int) -> None:
    grid.below[upper].append(lower)
    grid.above[lower].append(upper)


# ---------------------------------------------------------------- order


def _reduce_crossings(grid: _Grid) -> None:
    places = [0.0] * len(grid.widths)
    for row in grid.rows:
        _number(row, places)
    counted = sum(map(len, grid.below)) <= _COUNTED_EDGES
    best = _crossings(grid, places) if counted else 0
    best_rows = [list(row) for row in grid.rows]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        neighbours = grid.above if down else grid.below
        for row in grid.rows if down else reversed(grid.rows):
            keys = {node: _mean(neighbours[node], places, places[node]) for node in row}
            row.sort(key=keys.__getitem__)
            _number(row, places)
        found = _crossings(grid, places) if counted else -1 - sweep
        if found < best:
            best = found
            best_rows = [list(row) for row in grid.rows]
    grid.rows[:] = best_rows


def _number(row: list[int], places: list[float]) -> None:
    for index, node in enumerate(row):
        places[node] = (index + 0.5) / len(row)


def _mean(nodes: list[int], places: list[float], otherwise: float) -> float:
    return sum(places[node] for node in nodes) / len(nodes) if nodes else otherwise


def _crossings(grid: _Grid, places: list[float]) -> int:
    """Pairs of edges between neighbouring layers that cross."""
    total = 0
    for row in grid.rows:
        seen: list[float] = []
        for node in row:
            ends = [places[lower] for lower in grid.below[node]]
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# ---------------------------------------------------------------- coordinates


def _fit(grid: _Grid) -> list[float]:
    """Centre x of every node and bend."""
    xs = [0.0] * len(grid.widths)
    bend = len(grid.above) - sum(map(len, grid.bends))
    weights = [1.0 if i < bend else _BEND_WEIGHT for i in range(len(grid.widths))]
    for row in grid.rows:
        _spread(row, [0.0] * len(row), grid.widths, weights, xs)
    for step in range(_FITS):
        down = step % 2 == 0
        for row in grid.rows if down else reversed(grid.rows):
            wanted = [_wanted(grid, node, xs, step) for node in row]
            _spread(row, wanted, grid.widths, weights, xs)
    return xs


def _wanted(grid: _Grid, node: int, xs: list[float], step: int) -> float:
    if step >= _FITS - 2:
        nodes = [*grid.above[node], *grid.below[node]]
    else:
        nodes = grid.above[node] if step % 2 == 0 else grid.below[node]
    return _mean(nodes, xs, xs[node])


def _spread(
    row: list[int],
    wanted: list[float],
    widths: list[float],
    weights: list[float],
    xs: list[float],
) -> None:
    """Move a layer's nodes as close to the wanted centres as their widths and order allow.

    Least squares under order constraints, by pooling adjacent violators.
    """
    offsets: list[float] = []
    at = 0.0
    for index, node in enumerate(row):
        if index:
            at += (widths[row[index - 1]] + widths[node]) / 2 + NODE_GAP
        offsets.append(at)
    blocks: list[tuple[float, float, int]] = []
    for node, target, offset in zip(row, wanted, offsets, strict=True):
        mean, weight, size = target - offset, weights[node], 1
        while blocks and blocks[-1][0] >= mean:
            other, more, length = blocks.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight += more
            size += length
        blocks.append((mean, weight, size))
    index = 0
    for mean, _, size in blocks:
        for _ in range(size):
            xs[row[index]] = mean + offsets[index]
            index += 1
