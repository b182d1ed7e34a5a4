# Each target sets up what it needs in .venv; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: reproduce test examples bench clean

reproduce: .venv/ready  ## the report's experiment, into reproduce/
	$(BIN)/handgrad reproduce --output reproduce

test: .venv/ready  ## lint, types, tests and doctests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --dist worksteal

examples: .venv/ready  ## real networks on real data, in handgrad and in torch.nn, into docs/
	$(BIN)/python -m examples --output docs
	$(BIN)/python -m examples.initialisation --output docs
	$(BIN)/python -m examples.pictures --output docs

bench: .venv/bench  ## speed and memory against other ways of doing the same, into docs/
	$(BIN)/python -m benchmarks

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/bench: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv build reproduce .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
