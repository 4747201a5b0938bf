"""Where CANN's shared libraries are, and whether there is an NPU to use them on."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

DEFAULT_ROOTS = (
    "/usr/local/Ascend/ascend-toolkit/latest",
    "/usr/local/Ascend/latest",
    "/usr/local/Ascend/cann",
)
_ROOT_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
_PLATFORM_FOLDERS = ("lib64", "x86_64-linux/lib64", "aarch64-linux/lib64")
_DEVICES = "/dev"


def search_folders() -> list[str]:
    """Folders where CANN's libraries are looked for, in order.

    CANN's root by ``ASCEND_HOME_PATH`` or ``ASCEND_TOOLKIT_HOME``, ``LD_LIBRARY_PATH``, the folder
    of the Python package ``ge`` (it has GE's plain-C interface), and the default install folders.
    """
    roots = [os.environ[name] for name in _ROOT_VARIABLES if os.environ.get(name)]
    folders = [str(Path(root) / part) for root in roots for part in _PLATFORM_FOLDERS]
    folders += [part for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
    folders += _wrapper_folders()
    folders += [str(Path(root) / "lib64") for root in DEFAULT_ROOTS]
    return list(dict.fromkeys(folders))


def _wrapper_folders() -> list[str]:
    """``ge/_capi`` of the package ``ge``, which is looked up without running it."""
    spec = importlib.util.find_spec("ge")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return [str(Path(place) / "_capi") for place in places]


def is_available() -> bool:
    """Whether CANN's libraries and an NPU are here."""
    found = any(Path(folder, "libge_runner.so").exists() for folder in search_folders())
    return found and any(Path(_DEVICES).glob("davinci[0-9]*"))
