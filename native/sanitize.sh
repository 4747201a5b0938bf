#!/usr/bin/env bash
# Builds the native module with sanitizers and runs its tests under them.
# Usage: native/sanitize.sh [address|thread] [pytest arguments]. Without a sanitizer: both, one after
# the other; without pytest arguments the CANN driver too. "address" includes UBSan. PYTHON names the
# interpreter (default: python).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}

case "${1:-both}" in
address | thread) sanitizer=$1 && shift ;;
*)
  bash native/sanitize.sh address "$@"
  exec bash native/sanitize.sh thread "$@"
  ;;
esac

build=$PWD/build/sanitize-$sanitizer
site=$build/site
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DTORCHAIR_SANITIZE=$sanitizer" \
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
  PYTHON=$python native/cann/sanitize.sh "$sanitizer"
  set -- test/unit/test_native_runtime.py test/unit/test_native_streams.py -q -p no:cacheprovider
  if [ "$sanitizer" = address ]; then
    set -- test/unit/test_program.py test/unit/test_program_runs.py "$@"
    set -- test/unit/test_planning.py test/unit/test_products.py "$@"
  fi
  # What grows without a sanitizer's own book-keeping is for the plain tests to find.
  set -- "$@" -k "not leak_nothing and not torch_s_own"
fi

# Libraries that are not instrumented synchronise by means that ThreadSanitizer does not see.
cat >"$build/suppressions" <<'SUPPRESSIONS'
called_from_lib:libtorch_cpu.so
called_from_lib:libtorch_python.so
called_from_lib:libc10.so
called_from_lib:libgomp.so
race:libtorch_cpu.so
race:libtorch_python.so
race:libc10.so
race:libgomp
SUPPRESSIONS

library() { gcc -print-file-name="$1"; }
case $sanitizer in
address) preload=$(library libasan.so) launcher=() ;;
# ThreadSanitizer needs the memory layout of a process without randomised addresses.
thread) preload=$(library libtsan.so) launcher=(setarch "$(uname -m)" -R) ;;
esac
# Python and torch leak by design at exit, so leaks are checked by the tests instead. An editable
# install puts its finder before sys.path, so that is taken out.
env OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 LD_PRELOAD="$preload $(library libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
  TSAN_OPTIONS="suppressions=$build/suppressions:ignore_noninstrumented_modules=1:exitcode=66:report_signal_unsafe=0" \
  "${launcher[@]}" "$python" - "$site" "$@" <<'PYTHON'
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
