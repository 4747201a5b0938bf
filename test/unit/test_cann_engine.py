"""The cann engine on the strict fake: results equal eager, and no rule of CANN is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from fake_cann.build import build, compiler
from fake_cann.device import FakeCann

import torchair
from torchair.backend_ge.cann import process

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> FakeCann:
    folder = tmp_path_factory.mktemp("cann")
    return FakeCann(folder, build("9.1.0", folder))


@pytest.fixture(params=["wrapper", "session"])
def fake(
    request: pytest.FixtureRequest, loaded: FakeCann, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FakeCann]:
    """The fake, driven by one of GE's two interfaces; checked after the engine is closed."""
    monkeypatch.setenv("ASCEND_HOME_PATH", "")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(loaded.folder))
    monkeypatch.setenv(process.ROUTE_VARIABLE, request.param)
    process.close()
    loaded.reset()
    yield loaded
    torch._dynamo.reset()
    process.close()
    loaded.check()


def compiled(function: Callable[..., Any], *, dynamic: bool = False, **options: Any) -> Any:
    config = torchair.CompilerConfig()
    config.engine = "cann"
    for path, value in options.items():
        config.set_option(path.replace("__", "."), value)
    backend = torchair.get_npu_backend(compiler_config=config)
    return torch.compile(function, backend=backend, dynamic=dynamic)


@pytest.mark.parametrize("dynamic", [False, True])
def test_results_equal_eager(fake: FakeCann, dynamic: bool) -> None:
    def f(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.softmax(x @ y, -1)
        return z * 2, z.sum(0)

    g = compiled(f, dynamic=dynamic)
    for rows in (3, 5):
        x, y = torch.randn(rows, 4), torch.randn(4, 6)
        torch.testing.assert_close(g(x, y), f(x, y), rtol=0, atol=0)
