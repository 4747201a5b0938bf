"""Builds the fake CANN with the system's compiler: one core library, and for each release libraries
that export exactly that release's symbols, each a jump into the core."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from fake_cann.layout import NEEDED, exports, link_order

CORE = Path(__file__).with_name("core")
CORE_LIBRARY = "libfake_cann.so"
FLAGS = (
    "-std=c++20", "-O0", "-g1", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fvisibility=default",
    # As in CANN's own libraries: a std::string that crosses would be seen at once.
    "-D_GLIBCXX_USE_CXX11_ABI=0",
)  # fmt: skip

_JUMPS = {
    "x86_64": "\tjmp *{target}@GOTPCREL(%rip)\n",
    "aarch64": "\tadrp x16, :got:{target}\n\tldr x16, [x16, :got_lo12:{target}]\n\tbr x16\n",
}
_NAMED_JUMPS = {
    "x86_64": "\tleaq {text}(%rip), %rdi\n\tjmp *{target}@GOTPCREL(%rip)\n",
    "aarch64": "\tadrp x0, {text}\n\tadd x0, x0, :lo12:{text}\n"
    "\tadrp x16, :got:{target}\n\tldr x16, [x16, :got_lo12:{target}]\n\tbr x16\n",
}


def compiler() -> str | None:
    """The C++ compiler, or None."""
    return shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("c++")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def _cache() -> Path:
    """A folder of this user that is keyed by all that goes into the core library."""
    key = hashlib.sha256(repr((FLAGS, _sanitizer())).encode())
    for path in sorted(CORE.iterdir()):
        key.update(path.name.encode() + path.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"fake-cann-{os.getuid()}-{key.hexdigest()[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to somebody else")
    return folder


def _sanitizer() -> tuple[str, ...]:
    wanted = os.environ.get("FAKE_CANN_SANITIZE")
    return (f"-fsanitize={wanted}", "-fno-omit-frame-pointer") if wanted else ()


def build_core() -> Path:
    """The core library; compiled once for each content of its sources."""
    folder = _cache()
    target = folder / CORE_LIBRARY
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        sources = [str(path) for path in sorted(CORE.glob("*.cpp"))]
        unfinished = folder / f"{CORE_LIBRARY}.{os.getpid()}"
        cxx = compiler()
        assert cxx is not None, "tests without a compiler are skipped"
        command = [cxx, *FLAGS, *_sanitizer(), "-shared", "-pthread"]
        _run([*command, "-o", str(unfinished), *sources])
        unfinished.rename(target)
    return target


def implemented(core: Path) -> set[str]:
    """Names that the core has code for."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(core)], capture_output=True, text=True, check=True
    )
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    return {name.removeprefix("fake_") for name in names if name.startswith("fake_")}


def exported(library: Path) -> set[str]:
    """Names that a built library exports."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in listed.stdout.splitlines()}


def _assembly(symbols: Iterable[str], known: set[str]) -> str:
    machine = platform.machine()
    lines = ["\t.text"]
    for number, symbol in enumerate(symbols):
        lines += [f"\t.globl {symbol}", f"\t.type {symbol}, @function", f"{symbol}:"]
        if symbol in known:
            lines.append(_JUMPS[machine].format(target=f"fake_{symbol}"))
        else:
            named = _NAMED_JUMPS[machine]
            lines.append(named.format(text=f".Ltext{number}", target="fake_cann_unimplemented"))
            lines.append(f'\t.section .rodata\n.Ltext{number}: .asciz "{symbol}"\n\t.text')
    return "\n".join(lines) + '\n\t.section .note.GNU-stack,"",@progbits\n'


def build(
    release: str, folder: Path, *, hide: Iterable[str] = (), without: Iterable[str] = ()
) -> Path:
    """Make the libraries of one release in `folder`.

    Args:
        release: one of ``layout.RELEASES``.
        folder: an existing folder, where they must stay.
        hide: symbols to leave out.
        without: libraries to leave out.

    Returns:
        The core library, which has the control functions (core/control.h).
    """
    core = folder / CORE_LIBRARY
    shutil.copy(build_core(), core)
    known = implemented(core)
    hidden, absent = set(hide), set(without)
    libraries = {name: s for name, s in exports(release).items() if name not in absent}
    cxx = compiler()
    assert cxx is not None, "tests without a compiler are skipped"
    for name in link_order(libraries):
        source = folder / f"{name}.s"
        symbols = [symbol for symbol in libraries[name] if symbol not in hidden]
        source.write_text(_assembly(symbols, known), encoding="utf-8")
        needed = [str(folder / n) for n in NEEDED.get(name, ()) if n in libraries]
        # No soname: the libraries name each other by path, so that a process can load several.
        command = [cxx, "-shared", "-nostartfiles"]
        inputs = [str(source), "-Wl,--no-as-needed", *needed, str(core)]
        _run([*command, "-nodefaultlibs", "-o", str(folder / name), *inputs])
        source.unlink()
    return core
