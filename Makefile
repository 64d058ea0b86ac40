# Set up and run. Needs Python 3.11+, pip and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TRIALS ?= 12
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# In the order of the folders: files with few and long tests would else come last, on one processor.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-all bench-optimizer lint format clean
help: ## Show what can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.demo ## Search the embedded task on the embedded model
	$(BIN)/autopeft search --trials $(TRIALS)

test: $(VENV)/.dev ## Run the tests that are not slow
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.dev ## Run all tests
	$(PYTEST)

bench-optimizer: $(VENV)/.dev ## Compare strategies on the table of trainings
	$(BIN)/python experiments/optimizer_benchmark/compare.py --seeds 20 --workers 2 \
	  --strategies random tpe nsga2 plain ours --to build/compare-sst2.json

lint: $(VENV)/.dev ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and what tools have left; studies stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# torch comes first: what is installed after it takes the build that is there.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV) || ( \
	  $(PYTHON) -m pip install --quiet --target build/virtualenv virtualenv && \
	  PYTHONPATH=build/virtualenv $(PYTHON) -m virtualenv --quiet --clear $(VENV) )
	$(PIP) install "$(TORCH)"
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) install -e ".[demo]"
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) install -e ".[dev]"
	@touch $@
