"""Importing the package has no side effects, and its entry points exist."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import torch

import torchair

_CHECK = """
import logging, signal, sys, threading, warnings, os
import torch
import torch._dynamo.config
handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
state = (logging.getLoggerClass(), list(warnings.filters), threading.active_count(),
         sorted(os.listdir(".")), torch.get_num_threads(), torch.is_grad_enabled())
before = set(sys.modules)
import torchair
assert handlers == {s: signal.getsignal(s) for s in handlers}
assert state == (logging.getLoggerClass(), list(warnings.filters), threading.active_count(),
                 sorted(os.listdir(".")), torch.get_num_threads(), torch.is_grad_enabled())
extra = {m for m in set(sys.modules) - before if not m.startswith("torchair")}
assert not extra, extra
npu = "torchair.frontend.npu_operators"  # the table that gives torch.ops.npu its schemas
loaded = {m for m in sys.modules if m.startswith(("torchair.frontend.", "torchair.backend_ge"))}
assert loaded <= {npu, npu + ".registry", npu + ".functionalization"}, loaded
assert hasattr(torch.ops.npu, "npu_rms_norm")
"""


def test_import_has_no_side_effects(tmp_path: object) -> None:
    subprocess.run([sys.executable, "-c", _CHECK], check=True, cwd=str(tmp_path))


def test_every_public_name_loads() -> None:
    for name in torchair.__all__:
        assert getattr(torchair, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = torchair.no_such_name


def test_backend_works_by_name() -> None:
    torch._dynamo.reset()
    assert "torchair" in torch._dynamo.list_backends(exclude_tags=())
    x = torch.randn(3)
    with torch.no_grad():
        assert torch.equal(torch.compile(lambda t: t * 2 + 1, backend="torchair")(x), x * 2 + 1)


def test_xdsl_universe_loads() -> None:
    (entry,) = [e for e in entry_points(group="xdsl.universe") if e.name == "torchair"]
    universe = entry.load()
    assert "aten" in universe.all_dialects and "ge" in universe.all_dialects
    assert "convert-aten-to-ge" in universe.all_passes


def test_get_compiler_in_a_custom_aot_backend() -> None:
    from torch._functorch.aot_autograd import aot_module_simplified

    compiler = torchair.get_compiler()

    def backend(gm: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        return aot_module_simplified(gm, inputs, fw_compiler=compiler)

    torch._dynamo.reset()
    x = torch.randn(4, 4)
    with torch.no_grad():
        assert torch.equal(torch.compile(torch.relu, backend=backend)(x), torch.relu(x))
    assert len(compiler.reports) == 1


def test_patch_for_hcom_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = torch.distributed.all_reduce
    with caplog.at_level("INFO", logger="torchair"):
        torchair.patch_for_hcom()
    assert torch.distributed.all_reduce is before and "not needed" in caplog.text
