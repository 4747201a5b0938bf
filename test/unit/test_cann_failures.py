"""Every call of CANN fails once: the reason is shown, nothing leaks, and the engine recovers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fake_cann.build import compiler
from fake_cann.device import Breach, FakeCann
from fake_cann.fixtures import compile_text, engine_on, loaded_fake, unary_graph

from torchair.backend_ge.cann import process
from torchair.errors import EngineError

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler to build the fake CANN")

DRIVER_ERROR = 507899  # ACL_ERROR_RT_DRV_INTERNAL_ERROR
OUT_OF_MEMORY = 207001  # ACL_ERROR_RT_MEMORY_ALLOCATION

# Functions that end or free something: nobody can be told, so their failure is printed.
CLEANING = {
    "aclFinalize", "aclmdlFinalizeDump", "aclrtDestroyStream", "aclrtFree", "aclrtResetDevice",
    "GEFinalize", "Session.RemoveGraph", "Session.UnregisterExternalAllocator",
    "Session.~Session",
}  # fmt: skip
# Calls of a pass that belong to its end, from which number on; and the fake's names for a check.
ENDING = {"aclrtSynchronizeDevice": 1, "aclrtSynchronizeStreamWithTimeout": 3}
CHECKS = {"aclrtGetDevice of CompileGraph", "aclrtGetDevice of RunGraph"}

ROUTES = ("wrapper", "session")
SHAPES = ("2x3", "?x3")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> FakeCann:
    return loaded_fake(tmp_path_factory.mktemp("cann"))


@pytest.fixture(params=ROUTES)
def fake(
    request: pytest.FixtureRequest, loaded: FakeCann, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeCann]:
    with engine_on(loaded, request.param, monkeypatch):
        yield loaded


def scenario(shape: str) -> None:
    graph = compile_text(unary_graph("Neg", shape))
    for _ in range(2):
        x = torch.randn(2, 3)
        torch.testing.assert_close(graph.run([x]), [-x])


def calls_of(fake: FakeCann, shape: str) -> list[str]:
    """Functions that a clean pass calls, and how often each."""
    scenario(shape)
    process.close()
    counted = {call: fake.count(call) for call in fake.lines("calls")}
    fake.check()
    return sorted(f"{call}:{nth}" for call, n in counted.items() for nth in range(1, min(n, 3) + 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_call_may_fail(fake: FakeCann, shape: str) -> None:
    """One call after the other fails; each failure says which and why, and leaves nothing."""
    tried = 0
    for call in calls_of(fake, shape):
        function, nth = call.rsplit(":", 1)
        if function in CLEANING | CHECKS or int(nth) >= ENDING.get(function, 4):
            continue
        fake.reset()
        fake.inject(function, DRIVER_ERROR, int(nth))
        with pytest.raises(EngineError) as caught:
            scenario(shape)
        text = str(caught.value)
        reasons = ("0x0007BFFB", "507899", "returned nothing", "could not be created")
        assert any(reason in text for reason in reasons), f"{call}: {text}"
        assert "fake" in text, f"{call}: CANN's own text is missing: {text}"
        del caught
        process.close()
        fake.check()
        scenario(shape)  # without a restart
        process.close()
        fake.check()
        tried += 1
    assert tried >= 15


def test_acl_errors_have_name_number_and_text(fake: FakeCann) -> None:
    fake.inject("aclrtMemcpy", DRIVER_ERROR)
    with pytest.raises(EngineError) as caught:
        scenario("2x3")
    text = str(caught.value)
    assert "aclrtMemcpy failed (ACL_ERROR_RT_DRV_INTERNAL_ERROR, 507899): the driver failed" in text
    assert "injected failure of aclrtMemcpy" in text


def test_ge_errors_have_status_and_text(fake: FakeCann) -> None:
    fake.inject("Session.AddGraph", -1)
    with pytest.raises(EngineError) as caught:
        scenario("2x3")
    text = str(caught.value)
    assert "AddGraph" in text and "0xFFFFFFFF" in text
    assert "injected failure of Session.AddGraph" in text


@pytest.mark.parametrize("function", sorted(CLEANING - {"aclmdlFinalizeDump", "Session.~Session"}))
def test_failures_of_cleaning_up_are_printed(
    loaded: FakeCann,
    function: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with engine_on(loaded, "session", monkeypatch, checked=False):
        loaded.inject(function, DRIVER_ERROR, 0)
        scenario("2x3")
        process.close()
        printed = capfd.readouterr().err
        assert function.split(".")[-1] in printed and "torchair:" in printed
        if function != "Session.UnregisterExternalAllocator":  # the session's end does it, too
            with pytest.raises(Breach):  # it was called, and failed: so something is left
                loaded.check()
        loaded.reset()


def test_out_of_memory_is_said_and_survived(fake: FakeCann) -> None:
    fake.set_memory(100_000)
    graph = compile_text(unary_graph("Neg", "?x1024"))
    x = torch.randn(4, 1024)
    torch.testing.assert_close(graph.run([x]), [-x])
    with pytest.raises(EngineError, match=r"207001|allocator has no memory"):
        graph.run([torch.randn(64, 1024)])
    torch.testing.assert_close(graph.run([x]), [-x])


def test_memory_that_is_kept_is_given_back_under_pressure(fake: FakeCann) -> None:
    fake.set_memory(400_000)
    graph = compile_text(unary_graph("Neg", "?x1024"))
    for rows in (32, 4, 40):
        x = torch.randn(rows, 1024)
        torch.testing.assert_close(graph.run([x]), [-x])


def test_lost_device(fake: FakeCann) -> None:
    graph = compile_text(unary_graph())
    graph.run([torch.randn(2, 3)])
    fake.lose_device()
    with pytest.raises(EngineError, match="ACL_ERROR_RT_LOST_HEARTBEAT"):
        graph.run([torch.randn(2, 3)])


def test_operator_that_fails_on_the_device(fake: FakeCann) -> None:
    graph = compile_text(unary_graph("Cholesky", "?x?"))
    with pytest.raises(EngineError):
        graph.run([-torch.eye(3)])
    assert fake.errors, "the host engine refused it"
    fake.errors.clear()
    torch.testing.assert_close(graph.run([torch.eye(3)]), [torch.eye(3)])
