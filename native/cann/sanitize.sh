#!/usr/bin/env bash
# Runs the CANN driver against the fake CANN under the sanitizers, without Python: threads that
# compile, run, capture and replay at once, and failing calls.
# Usage: native/cann/sanitize.sh [address|thread ...]. PYTHON names the interpreter that builds the
# fake, CXX the compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}
cxx=${CXX:-g++}
build=$PWD/build/sanitize-cann
if [ $# -eq 0 ]; then
  set -- address thread
fi

for sanitizer in "$@"; do
  flags=(-fsanitize="$sanitizer")
  if [ "$sanitizer" = address ]; then
    flags=(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
  fi
  folder=$build/$sanitizer
  rm -rf "$folder"
  mkdir -p "$folder"
  FAKE_CANN_SANITIZE=$sanitizer PYTHONPATH=test "$python" -c "
import sys
from pathlib import Path
from fake_cann.build import build
build('9.1.0', Path(sys.argv[1]))" "$folder"
  sources=()
  for source in native/cann/*.cpp; do
    if [ "$(basename "$source")" != bindings.cpp ]; then
      sources+=("$source")
    fi
  done
  "$cxx" -std=c++20 -O1 -g -fno-omit-frame-pointer "${flags[@]}" -Wall -Wextra -Werror -pthread \
    -Inative -Itest/fake_cann -o "$folder/stress" test/fake_cann/stress.cpp "${sources[@]}" \
    native/runtime/status.cpp "$folder/libfake_cann.so" -ldl
  ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 "$folder/stress" "$folder"
done
