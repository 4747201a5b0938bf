"""Converters and kernels of Fourier transforms, against eager."""

from __future__ import annotations

import pytest
import torch
from family_check import check, check_gradients
from torch import fft

DTYPES = (torch.float32, torch.float64)
NORMS = ("backward", "forward", "ortho")


def signal(dtype):
    generator = torch.Generator().manual_seed(11)
    return torch.randn(3, 6, 5, dtype=dtype, generator=generator)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_complex_transforms(norm, dtype, dynamic):
    def function(x):
        z = torch.complex(x, x.flip(0))
        return [
            fft.fft(z, norm=norm), fft.ifft(z, dim=0, norm=norm), fft.fft2(z, norm=norm),
            fft.ifftn(z, norm=norm), fft.fftn(z, dim=(2, 0), norm=norm), fft.fft(x, norm=norm),
            fft.fft(z, n=4, norm=norm), fft.ifft2(z, dim=(0, 1), norm=norm),
        ]  # fmt: skip

    check(function, signal(dtype), dynamic=dynamic, exact=False)


@pytest.mark.parametrize("dynamic", (False, True))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_real_transforms(norm, dtype, dynamic):
    def function(x):
        z = torch.complex(x, x.flip(0))
        return [
            fft.rfft(x, norm=norm), fft.rfft(x, n=4, dim=1, norm=norm), fft.rfftn(x, norm=norm),
            fft.irfft(z, norm=norm), fft.irfft(z, n=7, dim=0, norm=norm), fft.irfftn(z, norm=norm),
            fft.hfft(z, norm=norm), fft.ihfft(x, norm=norm), fft.irfft(z, n=1, norm=norm),
            fft.irfft(z, n=2, norm=norm), fft.rfft2(x, dim=(1, 0), norm=norm),
        ]  # fmt: skip

    check(function, signal(dtype), dynamic=dynamic, exact=False)


@pytest.mark.parametrize("dynamic", (False, True))
def test_short_time_transforms(dynamic):
    def function(x):
        window = torch.hann_window(16)
        frames = torch.stft(x, 16, 4, window=window, return_complex=True)
        return [frames, torch.istft(frames, 16, 4, window=window)]

    x = torch.randn(2, 64, generator=torch.Generator().manual_seed(5))
    check(function, x, dynamic=dynamic, exact=False)


def test_gradients():
    def filtered(x):
        return fft.irfft(fft.rfft(x) * torch.arange(4), n=6, dim=-1)

    check_gradients(filtered, torch.randn(3, 6), exact=False)


def test_unscaled_transforms_are_bitwise_eager():
    check(lambda x: [fft.rfft(x), fft.fft(fft.rfft(x))], signal(torch.float32))


def test_number_of_nodes():
    x = torch.randn(4, 6)
    z = torch.randn(2, 4, 6, dtype=torch.complex64)

    def types(function, value):
        return check(function, value, exact=False)[0].node_types

    assert types(lambda x: fft.rfft(x), x) == ["Const", "RFFT"]
    assert types(lambda z: fft.fft(z), z) == ["FFT"]
    assert types(lambda z: fft.fft2(z), z) == ["FFT2D"]
    assert types(lambda z: fft.ifft(z), z) == ["IFFT"]
