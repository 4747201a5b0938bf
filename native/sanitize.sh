#!/usr/bin/env bash
# Builds the native module with AddressSanitizer and UBSan and runs its tests under them.
# Usage: native/sanitize.sh [pytest arguments]. PYTHON names the interpreter (default: python).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
build=$PWD/build/sanitize
site=$build/site

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTORCHAIR_SANITIZE=ON \
  -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" >/dev/null
cmake --build "$build"

# A package tree of links to the sources, with the instrumented module in it.
rm -rf "$site"
mkdir -p "$site/torchair"
for entry in torchair/*; do
  ln -s "$PWD/$entry" "$site/torchair/"
done
rm -f "$site"/torchair/_native*.so
cp "$build"/_native*.so "$site/torchair/"

if [ $# -eq 0 ]; then
  set -- test/unit/test_program.py -q -p no:cacheprovider -k "not leak_nothing"
fi
# Python and torch leak by design at exit, so leaks are checked by the tests instead. An editable
# install puts its finder before sys.path, so that is taken out.
env OMP_NUM_THREADS=1 LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
  "$python" - "$site" "$@" <<'PYTHON'
import sys

site, *arguments = sys.argv[1:]
sys.meta_path = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
sys.path.insert(0, site)
import torch  # noqa: F401  (before the module, which finds libtorch in the process)

import torchair._native

assert torchair._native.__file__.startswith(site), torchair._native.__file__
import pytest

sys.exit(pytest.main(arguments))
PYTHON
