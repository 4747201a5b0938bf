"""Where torch_npu is installed, its own operators are used, in whatever version it has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STAND_IN = """
import torch

library = torch.library.Library("npu", "FRAGMENT")


def define(schema, function):
    name = schema.partition("(")[0]
    library.define(schema)
    library.impl(name, function, "CompositeExplicitAutograd")


def rms_norm(x, gamma, epsilon=1e-06):
    rstd = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + epsilon)
    return x * rstd * gamma, rstd


def swiglu(x, dim=-1, quality=0, limit=7.0):
    low, high = x.chunk(2, dim)
    return torch.nn.functional.silu(low) * high


define("npu_rms_norm(Tensor input, Tensor gamma, float epsilon=1e-06) -> (Tensor, Tensor)",
       rms_norm)
define("npu_swiglu(Tensor input, int quality=0, int dim=-1, *, float limit=7.0) -> Tensor",
       lambda x, quality=0, dim=-1, limit=7.0: swiglu(x, dim, quality, limit))
define("npu_gelu(Tensor input) -> Tensor", lambda x: torch.nn.functional.gelu(x))
define("npu_rotary_mul(Tensor input, Tensor r1) -> Tensor", lambda x, r1: x * r1)
define("npu_brand_new(Tensor x) -> Tensor", lambda x: x.clone())
"""

SCRIPT = """
import json
import torch
import torch_npu
import torchair
from torchair.frontend.npu_operators.registry import schema_differences

npu = torch.ops.npu
found = {"differences": sorted(schema_differences())}
found["ours"] = [name for name in ("npu_silu", "npu_linear") if hasattr(npu, name)]
found["collectives"] = hasattr(torch.ops.npu_define, "broadcast")
x, w = torch.randn(3, 8), torch.rand(8)


def attempt(name, function, *inputs):
    torch._dynamo.reset()
    compiled = torch.compile(function, backend=torchair.get_npu_backend(), fullgraph=True)
    try:
        torch.testing.assert_close(compiled(*inputs), function(*inputs))
        found[name] = "equal"
    except Exception as error:
        found[name] = str(error)


attempt("same", lambda x, w: npu.npu_rms_norm(x, w)[0], x, w)
attempt("other order", lambda x: npu.npu_swiglu(x, 0, -1), x)
attempt("default", lambda x: npu.npu_swiglu(x), x)
attempt("new argument", lambda x: npu.npu_swiglu(x, 3), x)
attempt("new keyword", lambda x: npu.npu_swiglu(x, limit=1.0), x)
attempt("fewer arguments", lambda x: npu.npu_gelu(x), x)
attempt("missing argument", npu.npu_rotary_mul, x[None, None], x[None, None])
attempt("unknown", lambda x: npu.npu_brand_new(x), x)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process saw in which a stand-in of torch_npu is installed."""
    folder = tmp_path_factory.mktemp("site")
    package = folder / "torch_npu"
    package.mkdir()
    (package / "__init__.py").write_text(STAND_IN, encoding="utf-8")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([str(folder), root, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    done = subprocess.run(
        [sys.executable, folder / "script.py"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_its_operators_are_used(found: dict[str, Any]) -> None:
    assert found["ours"] == []
    assert found["same"] == "equal"


def test_collectives_that_it_lacks_are_defined(found: dict[str, Any]) -> None:
    assert found["collectives"]


def test_other_schemas_are_told(found: dict[str, Any]) -> None:
    assert found["differences"] == ["npu_gelu", "npu_rotary_mul", "npu_swiglu"]


def test_calls_are_read_in_the_installed_schema(found: dict[str, Any]) -> None:
    """Parameters stand in another order, and further ones have their defaults."""
    assert found["other order"] == "equal"
    assert found["default"] == "equal"


def test_unknown_arguments_are_refused(found: dict[str, Any]) -> None:
    assert "npu.npu_swiglu has an argument 'quality' that is not known" in found["new argument"]
    assert "npu.npu_swiglu has an argument 'limit' that is not known" in found["new keyword"]


def test_missing_arguments(found: dict[str, Any]) -> None:
    """One that has a default here has it; another one cannot be made up."""
    assert found["fewer arguments"] == "equal"
    assert "npu.npu_rotary_mul has no argument 'r2'" in found["missing argument"]


def test_operators_of_a_newer_version_are_named(found: dict[str, Any]) -> None:
    assert "npu.npu_brand_new" in found["unknown"]
