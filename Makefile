PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_TEST := $(VENV)/.ready-to-test
# Spinning OpenMP threads cost up to ten times on shared cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo demo-control test test-sanitized test-cuda-emulated lint clean
demo: $(READY)
	$(BIN)/python tools/train.py configs/demo.yaml --resume auto
	$(BIN)/python tools/export.py runs/demo runs/demo/export
	$(BIN)/python tools/test.py runs/demo
	$(BIN)/python tools/visualize.py runs/demo

# The same run taught by a network with random weights: what the image network's knowledge is worth.
demo-control: $(READY)
	$(BIN)/python tools/train.py configs/demo.yaml run=runs/demo-control teacher.weights=random --resume auto
	$(BIN)/python tools/test.py runs/demo-control

test: $(READY_TO_TEST)
	$(BIN)/python -m pytest -n auto

# The tests of the native code once more, on CPU kernels built with address and undefined-behaviour
# sanitizers, and on the CUDA kernels in an emulator on the CPU (tests/cuda_emulator), sanitized too.
SANITIZER = LD_PRELOAD="$$(g++ -print-file-name=libasan.so):$$(g++ -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

test-sanitized: $(READY_TO_TEST)
	PCPT_DEBUG=1 PCPT_CPU=1 PCPT_CUDA=0 $(BIN)/python setup.py -q build_ext --build-temp build/debug --build-lib build/debug_lib
	$(SANITIZER) PCPT_TEST_EXTENSION=build/debug_lib/pcpt/_C.abi3.so $(BIN)/python -m pytest -n auto -m "not slow" tests/ops tests/sparse

test-cuda-emulated: $(READY_TO_TEST)
	$(SANITIZER) PCPT_DEBUG=1 PCPT_EMULATE_CUDA=1 $(BIN)/python -m pytest -n auto -m "not slow" tests/ops

lint: $(READY_TO_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): setup.py pyproject.toml constraints.txt $(wildcard csrc/*.cpp csrc/*.h csrc/cpu/* csrc/cuda/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip setuptools wheel ninja
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[demo]'
	touch $(READY)

# Tests of kernels skip where there are none, so kernels are demanded; make test PCPT_CPU=0 goes without.
$(READY_TO_TEST): $(READY)
	PCPT_CPU=$${PCPT_CPU:-1} $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[demo,dev]'
	touch $(READY_TO_TEST)

clean:
	rm -rf $(VENV) build *.egg-info pcpt/*.so
