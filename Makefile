# Needs python3 (3.10 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(if $(filter Windows_NT,$(OS)),$(VENV)/Scripts,$(VENV)/bin)
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help test lint demo bench screenshots clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

test: lint  ## set up if needed, then lint, types and the whole test suite (PYTEST_ARGS="-k card" for less)
	$(BIN)/python Testing/slicer/setup_system.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(READY)  ## ruff and pyright
	$(BIN)/ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

demo: $(READY)  ## reconstruct a real brain from a quarter of its k-space (INPUT=my.nii.gz for your own)
	$(BIN)/meddiff demo $(if $(INPUT),--input "$(INPUT)") --output demo-output

bench: $(READY)  ## measure quality and speed (DATA=folder of images, BENCH_ARGS=--quick)
	$(BIN)/meddiff bench $(or $(TASK),reconstruct) --data "$(or $(DATA),$(error name the images: make bench DATA=folder))" $(BENCH_ARGS)

screenshots: $(READY)  ## draw the panels and results of the documentation anew, into docs/images
	$(BIN)/python Testing/slicer/setup_system.py
	$(BIN)/python Testing/slicer/screenshots.py

clean:  ## remove what make has made, .venv included
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis demo-output

$(READY): pyproject.toml constraints-test.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "python3 has no venv here; on Debian and Ubuntu run: sudo apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints-test.txt -e ".[demo,test]"
	@touch $@
