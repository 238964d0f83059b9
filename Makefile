# Everything runs in a virtual environment of its own, .venv, made on first use. Only Python >= 3.11 is needed.
PYTHON ?= python3
BIN := .venv/bin
OUT := out

# One BLAS thread a process: the nets here are too small to gain from more, and threads beyond the idle cores, such as
# those of several test workers, mostly wait for each other.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

.PHONY: demo test format lint typecheck parity check clean

demo: .venv/installed
	@mkdir -p $(OUT)
	$(BIN)/flambeau ladder --out $(OUT)/ladder.html
	$(BIN)/flambeau demo --out $(OUT)/digits.html --save $(OUT)/digits.pt

test: .venv/test
	$(BIN)/pytest -n auto

format: .venv/lint
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports
	$(BIN)/python -m tools.stubs --check

# With what the tests install, since a package's types are seen only where it is.
typecheck: .venv/test .venv/lint
	$(BIN)/mypy
	$(BIN)/basedpyright

# Against real PyTorch, which is downloaded (some hundred MB).
parity: .venv/parity
	$(BIN)/pytest -n auto tests/parity

check: test lint typecheck parity

.venv/installed: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'flambeau needs Python 3.11 or newer: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[compile]'
	@touch $@

.venv/parity: .venv/test

.venv/test .venv/lint .venv/parity: .venv/%: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

clean:
	rm -rf .venv $(OUT)
