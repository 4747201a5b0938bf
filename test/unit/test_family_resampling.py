"""Converters and kernels of interpolation, pixel shuffle and grid sampling, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import build, check
from family_training import check_training
from torch import nn
from torch.nn import functional as F

from torchair.frontend.whole_operators import whole_operators

aten = torch.ops.aten
MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")


def numbers(dtype, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def interpolated(x):
    plain = [
        F.interpolate(x, mode=mode, **target)
        for mode in MODES
        for target in ({"size": (11, 9)}, {"scale_factor": 2}, {"scale_factor": (1.7, 0.6)})
    ]
    aligned = [F.interpolate(x, (11, 9), mode=m, align_corners=True) for m in MODES[2:]]
    return plain + aligned


def others(x):
    return (
        F.interpolate(x[0], scale_factor=1.5),
        F.interpolate(x[0], scale_factor=1.5, mode="linear"),
        F.interpolate(x[None], scale_factor=1.5),
        F.interpolate(x[None], size=(4, 5, 6), mode="trilinear", align_corners=True),
    )


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_interpolation(dtype, dynamic):
    with whole_operators():
        graphs = check(interpolated, numbers(dtype, 2, 3, 7, 6), dynamic=dynamic, exact=False)
        check(others, numbers(dtype, 2, 3, 7, 6), dynamic=dynamic, exact=False)
    kept = [n for n in graphs[0].node_types if n.startswith("Resize")]
    assert len(kept) == 14


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16, torch.bfloat16))
def test_nearest_is_exact(dtype):
    def function(x):
        return (
            F.interpolate(x, size=(11, 9)),
            F.interpolate(x, scale_factor=3),
            F.interpolate(x, scale_factor=(1.7, 0.6)),
            F.interpolate(x, scale_factor=(1.7, 0.6), mode="nearest-exact"),
        )

    with whole_operators():
        check(function, numbers(dtype, 2, 3, 7, 6))


def test_kernels_come_back():
    before = dict(aten.upsample_nearest2d.vec.py_kernels)
    with whole_operators():
        assert aten.upsample_nearest2d.vec.py_kernels != before
    assert aten.upsample_nearest2d.vec.py_kernels == before


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("mode", ("nearest", "bilinear"))
def test_training(mode, dynamic):
    graphs = check_training(
        lambda: nn.Upsample(scale_factor=2, mode=mode),
        numbers(torch.float32, 2, 3, 4, 5),
        dynamic=dynamic,
    )
    assert graphs[1].node_types[-1].endswith("Grad")


def test_gradients_without_an_operator_are_taken_apart():
    graphs = check_training(
        lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
        numbers(torch.float32, 1, 2, 3, 4),
        tolerance=1e-5,
    )
    assert "Resize" not in graphs[0].node_types


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_pixel_shuffle(dtype, dynamic):
    def function(x):
        return F.pixel_shuffle(x, 2), F.pixel_shuffle(x[0], 2), F.pixel_unshuffle(x, 3)

    check(function, numbers(dtype, 2, 12, 6, 3), dynamic=dynamic)


def test_pixel_shuffle_of_many_dimensions():
    check(lambda x: F.pixel_shuffle(x, 2), numbers(torch.float32, 2, 2, 12, 2, 3))


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_grid_sampling(dtype, dynamic):
    def function(x, grid, volume, places):
        return (
            F.grid_sample(x, grid, padding_mode="border", align_corners=False),
            F.grid_sample(x, grid, mode="bicubic", align_corners=True),
            F.grid_sample(x, grid, mode="nearest", padding_mode="reflection"),
            F.grid_sample(volume, places),
            *aten.grid_sampler_2d_backward(x[:, :, :4, :5], x, grid, 0, 0, False, [True, True]),
        )

    given = numbers(dtype, 2, 3, 7, 6), torch.rand(2, 4, 5, 2).to(dtype) * 2 - 1
    volumes = numbers(dtype, 2, 3, 4, 3, 2), torch.rand(2, 2, 3, 2, 3).to(dtype) * 2 - 1
    check(function, *given, *volumes, dynamic=dynamic)


@pytest.mark.parametrize("mode", ("bilinear", "bicubic"))
@pytest.mark.parametrize(
    "options",
    (
        {"size": (3, 4)},
        {"size": (11, 5), "align_corners": True},
        {"scale_factor": (0.6, 1.7)},
        {"scale_factor": 0.4, "recompute_scale_factor": True},
    ),
    ids=str,
)
def test_antialiasing(mode, options):
    x = numbers(torch.float32, 2, 3, 7, 9)
    for dynamic in (False, True):
        check(lambda x: F.interpolate(x, mode=mode, antialias=True, **options), x,
              dynamic=dynamic, exact=False)  # fmt: skip


@pytest.mark.parametrize("scales", ((2.0, 2.0), (1.7, None)))
def test_gradient_of_copies_by_factors_that_are_not_the_ratio(scales):
    grad = numbers(torch.float32, 1, 2, 3, 3)
    backward = aten.upsample_nearest2d_backward
    check(lambda g: backward(g, [3, 3], [1, 2, 2, 2], *scales), grad, exact=False)


def test_depth_to_space_takes_both_orders():
    from torchair.backend_ge.host.kernels.registry import kernels

    x = torch.arange(16.0).reshape(1, 8, 1, 2)
    attributes = {"block_size": 2, "mode": "DCR", "data_format": "NCHW"}
    found = kernels()["DepthToSpace"]([x], attributes, {})
    wanted = x.reshape(1, 2, 2, 2, 1, 2).permute(0, 3, 4, 1, 5, 2).reshape(1, 2, 2, 4)
    assert torch.equal(found, wanted)
    last = kernels()["DepthToSpace"]([x.movedim(1, -1)], {**attributes, "data_format": "NHWC"}, {})
    assert torch.equal(last, wanted.movedim(1, -1))


def test_factors_that_miss_the_size_are_refused():
    function, _ = build(lambda x: aten._upsample_nearest_exact2d(x, [9, 9], 1.5, 1.5))
    with whole_operators(), pytest.raises(Exception, match="do not lead to the size of its result"):
        function(torch.ones(1, 1, 4, 4))
