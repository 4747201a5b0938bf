"""An operator library for tests: device memory, and a copy as its only kernel."""

from __future__ import annotations

import ctypes
from pathlib import Path

from torchair import _native

DEVICE_TO_DEVICE = 3
SIZE = 64


class Kernels:
    """Device memory and one operation, "copy", as a library of operators would launch it."""

    def __init__(self, folder: Path, device: _native.runtime.Device) -> None:
        self.acl = ctypes.CDLL(str(folder / "libacl_rt.so"))
        self.device = device
        self.pool = device.create_pool()

    def buffer(self, value: int) -> int:
        address = self.pool.allocate(SIZE)
        data = (ctypes.c_uint8 * SIZE)(*[value] * SIZE)
        self.device.copy(address, ctypes.addressof(data), SIZE)
        return address

    def value(self, address: int) -> int:
        data = (ctypes.c_uint8 * SIZE)()
        self.device.copy(ctypes.addressof(data), address, SIZE)
        assert len(set(data)) == 1
        return data[0]

    def copy(self, stream: _native.runtime.Stream, target: int, source: int) -> None:
        def launch(native: int) -> None:
            code = self.acl.aclrtMemcpyAsync(
                ctypes.c_void_p(target), ctypes.c_size_t(SIZE), ctypes.c_void_p(source),
                ctypes.c_size_t(SIZE), DEVICE_TO_DEVICE, ctypes.c_void_p(native),
            )  # fmt: skip
            if code != 0:
                raise RuntimeError(f"the copy was refused with {code}")

        stream.launch(launch, "copy")
