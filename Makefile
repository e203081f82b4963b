PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Spinning OpenMP threads cost up to ten times on shared cores.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo demo-control test lint clean
demo: $(READY)
	$(BIN)/python tools/train.py configs/demo.yaml --resume auto
	$(BIN)/python tools/export.py runs/demo runs/demo/export
	$(BIN)/python tools/test.py runs/demo
	$(BIN)/python tools/visualize.py runs/demo

# The same run taught by a network with random weights: what the image network's knowledge is worth.
demo-control: $(READY)
	$(BIN)/python tools/train.py configs/demo.yaml run=runs/demo-control teacher.weights=random --resume auto
	$(BIN)/python tools/test.py runs/demo-control

test: $(READY)
	$(BIN)/python -m pytest -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): setup.py pyproject.toml constraints.txt $(wildcard csrc/*.cpp csrc/*.h csrc/cpu/* csrc/cuda/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip setuptools wheel ninja
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[demo,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info pcpt/*.so
