# Two commands do everything: `make demo` and `make test`. Both install into .venv first, from hash-pinned locks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVE ?= 1
PROCESSES ?= 2

.PHONY: demo test test-deps test-faults install lint docs validation bench lock clean

demo: install
	@$(BIN)/cellfleet demo $(if $(filter 0,$(SERVE)),--no-serve,--serve)

# The fast first; fault (sampled) and browser tests last. PROCESSES share them; a file stays with one, as its fixtures do.
test: test-deps
	@$(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 20

test-faults: test-deps
	@CELLFLEET_FAULTS=all $(BIN)/pytest -m faults

lint: test-deps
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Error rates and planted truth, drawn anew: some minutes.
validation: install
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m warehouse.verification.characteristics
	@$(BIN)/python benchmarks/planted_truth.py

# Speed, as ratios: some tens of minutes; QUICK=1 under five. Results go to benchmarks/results and docs/benchmarks.md.
bench: test-deps
	@$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick)

docs: install
	@$(BIN)/python -m pipelines.printed

install: $(VENV)/.installed
test-deps: $(VENV)/.installed-dev

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is needed: install it, or run make with PYTHON=/path/to/python3.11."; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "The venv module is missing: on Debian run 'apt-get install python3-venv'."; exit 2; }
	@$(PYTHON) -m venv $(VENV) && touch $@

$(VENV)/.installed: requirements.lock pyproject.toml $(VENV)/.python
	@echo "Installing into $(VENV) from requirements.lock (some minutes the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock && touch $@

lock:
	uv pip compile pyproject.toml --group build -o requirements.lock --generate-hashes --universal --no-emit-index-url --no-annotate --no-strip-extras --python-version 3.11 --custom-compile-command "make lock"
	uv pip compile pyproject.toml --group build --group dev -c requirements.lock -o requirements-dev.lock --generate-hashes --universal --no-emit-index-url --no-annotate --no-strip-extras --python-version 3.11 --custom-compile-command "make lock"

clean:
	@rm -rf $(VENV) .cellfleet
