"""The lit suite. Run it with ``lit test/lit``, or through pytest with ``test/unit/test_lit.py``."""

# lit puts `config` and `lit_config` into this file's globals.
# ruff: noqa: F821
# pyright: basic, reportUndefinedVariable=false

from __future__ import annotations

import os
import sys
from pathlib import Path

suite = Path(__file__).resolve().parent
if str(suite) not in sys.path:
    sys.path.insert(0, str(suite))

from inprocess import InProcessShTest  # noqa: E402

config.name = "torchair"
config.test_format = InProcessShTest(
    {
        "torchair-opt": "torchair.tools.opt:main",
        "xdsl-opt": "xdsl.tools.xdsl_opt:main",
        "filecheck": "filecheck.main:main",
    }
)
config.suffixes = [".mlir"]
config.test_source_root = str(suite)
config.test_exec_root = str(suite.parents[1] / "build" / "lit")

# For RUN lines that go to the shell: the console scripts of this Python.
scripts = str(Path(sys.executable).parent)
config.environment["PATH"] = os.pathsep.join([scripts, config.environment["PATH"]])
