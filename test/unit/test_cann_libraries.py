"""Which of CANN's libraries are found, and what is said when one, or a function, is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cann import layout
from fake_cann.build import build, build_core, compiler, exported, implemented
from fake_cann.device import FakeCann
from fake_cann.fixtures import compile_text, engine_on, unary_graph

from torchair import _native
from torchair.backend_ge.cann import libraries
from torchair.backend_ge.engines import get_engine
from torchair.errors import EngineError

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="no C++ compiler to build the fake CANN"
)
TEST = Path(__file__).resolve().parents[1]


def run_script(script: str, folder: Path) -> str:
    """What a script prints in a process of its own that looks for CANN in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "ASCEND_HOME_PATH": "",
            "ASCEND_TOOLKIT_HOME": "",
            "LD_LIBRARY_PATH": str(folder),
            "PYTHONPATH": os.pathsep.join([str(TEST), *sys.path]),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Without torch, so that a process takes a fraction of a second.
CHECK = """
from torchair.backend_ge.cann import process
from torchair.errors import EngineError
try:
    process.check_libraries()
    {action}
except EngineError as error:
    print(error)
"""
OPEN = "process.engine({'ge.exec.deviceId': '0'}, 0, owned=True)"


def refusal(folder: Path, action: str = "pass") -> str:
    return run_script(CHECK.format(action=action), folder)


def test_without_cann(tmp_path: Path) -> None:
    text = refusal(tmp_path)
    assert "needs libascendcl.so or libacl_rt.so, which is not here" in text
    assert str(tmp_path) in text and "/usr/local/Ascend/ascend-toolkit/latest/lib64" in text
    assert "libge_runner.so: not found" in text
    assert text.rstrip().splitlines()[-1].startswith("Try: source CANN's set_env.sh")


def test_engine_is_refused_without_cann(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", str(tmp_path))
    with pytest.raises(EngineError, match="looked in"):
        get_engine("cann")
    assert get_engine("auto").name == "host"


def test_library_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "libascendcl.so").write_text("no library")
    assert f"{tmp_path}/libascendcl.so: file too short" in refusal(tmp_path)


@needs_compiler
@pytest.mark.parametrize(
    ("hidden", "without", "purpose"),
    [
        ("aclrtMalloc", (), "to use the device"),
        (
            "_ZN2ge7Session12CompileGraphEj",
            ("libge_runtime_wrapper.so",),
            "to run graphs through ge::Session",
        ),
        ("_ZN2ge6Tensor11SetDataTypeERKNS_8DataTypeE", (), "to run graphs"),
    ],
)
def test_missing_function_is_named(
    hidden: str, without: tuple[str, ...], purpose: str, tmp_path: Path
) -> None:
    build("9.1.0", tmp_path, hide=[hidden], without=without)
    text = refusal(tmp_path, OPEN)
    assert f"CANN lacks 1 of the functions that torchair needs {purpose}" in text
    assert hidden in text and f"libacl_rt.so: {tmp_path}/libacl_rt.so" in text


@needs_compiler
def test_capture_needs_its_functions(tmp_path: Path) -> None:
    build("9.1.0", tmp_path, hide=["aclmdlRICaptureBegin", "aclmdlRIExecuteAsync"])
    text = refusal(tmp_path, "process.open_device()")
    assert "to capture graphs: aclmdlRICaptureBegin, aclmdlRIExecuteAsync" in text
    assert refusal(tmp_path, OPEN) == "", "graphs of GE do not need them"


def run_on(folder: Path, monkeypatch: pytest.MonkeyPatch, **layout_options: Any) -> list[str]:
    """The route of a static and of a dynamic graph that run on a fake of its own."""
    fake = FakeCann(folder, build(folder=folder, **layout_options))
    routes: list[str] = []
    with engine_on(fake, "auto", monkeypatch):
        for shape in ("2x3", "?x3"):
            x = torch.randn(2, 3)
            graph = compile_text(unary_graph("Neg", shape))
            torch.testing.assert_close(graph.run([x]), [-x])
            routes.append(graph.route)
        del graph
    return routes


@needs_compiler
@pytest.mark.parametrize(
    ("release", "without", "route"),
    [
        ("8.5.0", (), "session"),
        ("9.0.0", (), "session"),
        ("9.1.0", ("libascendcl.so",), "wrapper"),
        ("9.1.0", ("libge_runtime_wrapper.so", "libgraph_wrapper.so"), "session"),
    ],
)
def test_releases(
    release: str,
    without: tuple[str, ...],
    route: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_on(tmp_path, monkeypatch, release=release, without=without) == [route] * 2


@needs_compiler
def test_optional_functions_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optional = [name for name, required in _native.cann_symbols() if not required]
    assert "aclmdlRIGetId" in optional
    assert run_on(tmp_path, monkeypatch, release="8.5.0", hide=optional) == ["session"] * 2


# ---------------------------------------------------------------- tables


def test_every_name_that_is_looked_up_is_in_the_table() -> None:
    known = layout.known_symbols()
    assert [name for name, _ in _native.cann_symbols() if name not in known] == []


def test_what_is_required_is_in_every_release() -> None:
    """A required function of the C++ route must exist in the first public release."""
    first = {symbol for symbols in layout.exports("8.5.0").values() for symbol in symbols}
    required = [name for name, needed in _native.cann_symbols() if needed]
    missing = [name for name in required if name not in first]
    assert all(name.startswith("GeApiWrapper_") for name in missing), missing


@needs_compiler
@pytest.mark.parametrize("release", layout.RELEASES)
def test_fake_exports_exactly_what_the_release_does(release: str, tmp_path: Path) -> None:
    build(release, tmp_path)
    for library, symbols in layout.exports(release).items():
        assert exported(tmp_path / library) == set(symbols), library


@needs_compiler
def test_fake_implements_what_is_looked_up() -> None:
    known = implemented(build_core())
    assert [name for name, _ in _native.cann_symbols() if name not in known] == []


def test_search_folders_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", "/cann")
    monkeypatch.delenv("ASCEND_TOOLKIT_HOME", raising=False)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/a:/b::/cann/lib64")
    folders = libraries.search_folders()
    assert folders[0] == "/cann/lib64" and folders.count("/cann/lib64") == 1
    assert folders.index("/a") < folders.index("/b")
    assert folders[-1] == "/usr/local/Ascend/cann/lib64"
