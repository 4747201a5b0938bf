"""Which library of which release exports which symbol, read from symbols.txt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SYMBOLS = Path(__file__).with_name("symbols.txt")
RELEASES = ("8.5.0", "9.0.0", "9.1.0")

NEEDED: dict[str, tuple[str, ...]] = {
    "libascendcl.so": ("libacl_rt.so",),
    "libge_runner.so": ("libge_compiler.so", "libgraph.so", "libacl_rt.so"),
    "libge_compiler.so": ("libgraph.so",),
    "libgraph.so": ("libgraph_base.so",),
    "libge_runtime_wrapper.so": ("libge_runner.so", "libgraph.so"),
    "libgraph_wrapper.so": ("libge_runner.so", "libgraph.so"),
}
"""What a library depends on, where the release has it; dlsym on its handle searches these too."""


def _version(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def known_symbols() -> dict[str, tuple[str, str]]:
    """Library of release 9.1.0 and first release, by symbol."""
    found: dict[str, tuple[str, str]] = {}
    library = ""
    for line in SYMBOLS.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            library = line.strip("[]")
        elif line and not line.startswith("#"):
            symbol, since = line.split()
            found[symbol] = (library, since)
    return found


def _placed(library: str, release: str) -> str:
    """Where a library's functions were before 9.1.0 split the wrapper and 9.0.0 the graph.

    The latter is an assumption: "older CANN" keeps the functions of libgraph_base in libgraph.
    """
    if library == "libge_runtime_wrapper.so" and _version(release) < (9, 1, 0):
        return "libgraph_wrapper.so"
    if library == "libgraph_base.so" and _version(release) < (9, 0, 0):
        return "libgraph.so"
    return library


def exports(release: str) -> dict[str, list[str]]:
    """Sorted symbols by library. libascendcl.so has none of its own: it depends on libacl_rt."""
    libraries: dict[str, list[str]] = {"libascendcl.so": []}
    for symbol, (library, since) in sorted(known_symbols().items()):
        if _version(since) <= _version(release):
            libraries.setdefault(_placed(library, release), []).append(symbol)
    return libraries


def link_order(libraries: Iterable[str]) -> list[str]:
    """The libraries, each after those it depends on."""
    remaining = set(libraries)
    ordered: list[str] = []
    while remaining:
        ready = {name for name in remaining if not remaining & set(NEEDED.get(name, ())) - {name}}
        ordered += sorted(ready)
        remaining -= ready
    return ordered
