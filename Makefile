# Each target sets up what it needs in .venv; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce test bench clean

reproduce: .venv/ready  ## the report's experiment, into reproduce/
	$(BIN)/handgrad reproduce --output reproduce

test: .venv/ready  ## lint, types, tests and doctests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: .venv/ready  ## speed against torch.nn, as ratios
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build reproduce .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
