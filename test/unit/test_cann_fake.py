"""The fake CANN notices what it is there to notice."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_cann.build import compiler
from fake_cann.device import Breach, FakeCann
from fake_cann.fixtures import loaded_fake

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE = 1, 2, 3
Acl = Any


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeCann]:
    loaded = loaded_fake(tmp_path_factory.mktemp("cann"))
    loaded.reset()
    yield loaded
    loaded.reset()


@pytest.fixture
def acl(fake: FakeCann) -> Acl:
    library = ctypes.CDLL(str(fake.folder / "libacl_rt.so"))
    library.aclInit(None)
    library.aclrtSetDevice(0)
    return library


def allocate(acl: Acl, nbytes: int = 64) -> ctypes.c_void_p:
    address = ctypes.c_void_p()
    assert acl.aclrtMalloc(ctypes.byref(address), ctypes.c_size_t(nbytes), 0) == 0
    return address


def stream(acl: Acl) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    assert acl.aclrtCreateStreamWithConfig(ctypes.byref(handle), 0, 0) == 0
    return handle


def copy(acl: Acl, target: Any, source: Any, kind: int, nbytes: int = 64) -> int:
    size = ctypes.c_size_t(nbytes)
    return int(acl.aclrtMemcpy(target, size, source, size, kind))


def double_free(acl: Acl) -> None:
    address = allocate(acl)
    acl.aclrtFree(address)
    acl.aclrtFree(address)


def write_past_the_end(acl: Acl) -> None:
    copy(acl, allocate(acl, 32), allocate(acl, 64), DEVICE_TO_DEVICE)


def use_after_free(acl: Acl) -> None:
    address = allocate(acl)
    acl.aclrtFree(address)
    copy(acl, (ctypes.c_char * 64)(), address, DEVICE_TO_HOST)


def wrong_direction(acl: Acl) -> None:
    copy(acl, (ctypes.c_char * 64)(), allocate(acl), HOST_TO_DEVICE)


def free_what_is_queued(acl: Acl) -> None:
    a, b, size = allocate(acl), allocate(acl), ctypes.c_size_t(64)
    acl.aclrtMemcpyAsync(a, size, b, size, DEVICE_TO_DEVICE, stream(acl))
    acl.aclrtFree(b)


def pageable_memory_in_an_async_copy(acl: Acl) -> None:
    size = ctypes.c_size_t(64)
    host = (ctypes.c_char * 64)()
    acl.aclrtMemcpyAsync(allocate(acl), size, host, size, HOST_TO_DEVICE, stream(acl))


def destroy_a_stream_twice(acl: Acl) -> None:
    handle = stream(acl)
    acl.aclrtDestroyStream(handle)
    acl.aclrtDestroyStream(handle)


def destroy_a_capturing_stream(acl: Acl) -> None:
    handle = stream(acl)
    acl.aclmdlRICaptureBegin(handle, 0)
    acl.aclrtDestroyStream(handle)


def finalize_with_memory_alive(acl: Acl) -> None:
    allocate(acl)
    acl.aclrtResetDevice(0)
    acl.aclFinalize()


def finalize_before_reset(acl: Acl) -> None:
    acl.aclFinalize()


def call_after_finalize(acl: Acl) -> None:
    acl.aclrtResetDevice(0)
    acl.aclFinalize()
    acl.aclrtSynchronizeDevice()


def wait_for_nobody(acl: Acl) -> None:
    event = ctypes.c_void_p()
    acl.aclrtCreateEventExWithFlag(ctypes.byref(event), 0x20)


def call_what_the_fake_does_not_have(acl: Acl) -> None:
    acl.aclrtGetMemInfo(0, None, None)


@pytest.mark.parametrize(
    ("break_a_rule", "text"),
    [
        (double_free, "double free"),
        (write_past_the_end, "target is not live device memory"),
        (use_after_free, "source is not live device memory"),
        (wrong_direction, "target is not live device memory"),
        (free_what_is_queued, "queued work still uses: aclrtMemcpyAsync"),
        (pageable_memory_in_an_async_copy, "not pinned"),
        (destroy_a_stream_twice, "not a stream"),
        (destroy_a_capturing_stream, "capturing"),
        (finalize_with_memory_alive, "alive at aclFinalize: a device allocation of 64 bytes"),
        (finalize_before_reset, "aclFinalize before aclrtResetDevice"),
        (call_after_finalize, "after aclFinalize"),
        (wait_for_nobody, "cannot make external events"),
        (call_what_the_fake_does_not_have, "does not implement aclrtGetMemInfo"),
    ],
)
def test_breaches_are_reported(
    fake: FakeCann, acl: Acl, break_a_rule: Callable[[Acl], None], text: str
) -> None:
    break_a_rule(acl)
    assert any(text in line for line in fake.lines("breaches")), fake.lines("breaches")
    with pytest.raises(Breach, match=text.split(":", maxsplit=1)[0]):
        fake.check()


def test_work_is_not_done_before_somebody_waits(fake: FakeCann, acl: Acl) -> None:
    a, b, size = allocate(acl), allocate(acl), ctypes.c_size_t(64)
    ones, seen = (ctypes.c_char * 64)(*[b"\x01"] * 64), (ctypes.c_char * 64)()
    copy(acl, a, ones, HOST_TO_DEVICE)
    handle = stream(acl)
    acl.aclrtMemcpyAsync(b, size, a, size, DEVICE_TO_DEVICE, handle)
    copy(acl, seen, b, DEVICE_TO_HOST)
    assert seen.raw == b"\xa5" * 64, "what fresh memory holds"
    acl.aclrtSynchronizeStreamWithTimeout(handle, -1)
    copy(acl, seen, b, DEVICE_TO_HOST)
    assert seen.raw == ones.raw


def test_threads_without_a_device_are_refused(fake: FakeCann, acl: Acl) -> None:
    import threading

    thread = threading.Thread(target=acl.aclrtSynchronizeDevice)
    thread.start()
    thread.join()
    assert fake.lines("breaches") == ["aclrtSynchronizeDevice on a thread without aclrtSetDevice"]


def test_injection_by_the_environment(
    fake: FakeCann, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_CANN_INJECT", "aclInit:2=507899;aclrtSetDevice:0=107001")
    monkeypatch.setenv("FAKE_CANN_MEMORY", "1000")
    fake.reset()
    library = ctypes.CDLL(str(fake.folder / "libacl_rt.so"))
    library.aclGetRecentErrMsg.restype = ctypes.c_char_p
    assert library.aclInit(None) == 0 and library.aclInit(None) == 507899
    assert b"injected failure of aclInit" in library.aclGetRecentErrMsg()
    assert [library.aclrtSetDevice(0) for _ in range(2)] == [107001] * 2
