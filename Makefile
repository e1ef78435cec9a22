# Two commands do all on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKS := .requirements

.PHONY: demo serve test postgres crash bench check format lock clean

demo: .venv/run  ## Start Halley with a simulated upstream and show two runs (ARGS=--once to end after them).
	$(BIN)/halley demo $(ARGS)

serve: .venv/run  ## Start Halley with the settings of the environment.
	$(BIN)/halley serve $(ARGS)

test: .venv/dev postgres  ## Run all tests; those of whole runs once more on PostgreSQL.
	$(BIN)/python -m pytest -n 3 $(ARGS)
	HALLEY_TEST_DATABASE=postgres $(BIN)/python -m pytest -n 3 $(ARGS) tests/integration/test_runs.py

postgres:  ## Install the PostgreSQL server that tests start for themselves, if there is none.
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
		|| { SUDO=$$(test "$$(id -u)" = 0 || echo sudo); $$SUDO apt-get update -qq \
		&& $$SUDO apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

crash: .venv/dev  ## Kill Halley again and again and check its promises (ARGS="--kills 1000 --seed 7").
	$(BIN)/python -m tests.crash $(ARGS)

bench: .venv/dev postgres  ## Measure what things cost here, beside the floors (ARGS="store scale"; all by default).
	$(BIN)/python -m bench $(ARGS)

check: .venv/dev  ## Style, types, floors, definitions, generated files.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/halley nodes lint
	$(BIN)/halley export --check

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/halley export

.venv/python:
	$(PYTHON) -m venv .venv
	touch $@

.venv/run: .venv/python $(LOCKS)/run.txt pyproject.toml
	$(PIP) install --require-hashes -r $(LOCKS)/run.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

.venv/dev: .venv/python $(LOCKS)/dev.txt pyproject.toml
	$(PIP) install --require-hashes -r $(LOCKS)/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@ .venv/run

lock: .venv/dev  ## Resolve the dependencies anew; the files carry hashes and no addresses.
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade --group build pyproject.toml -o $(LOCKS)/run.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade --group build --extra sinks pyproject.toml -o $(LOCKS)/sinks.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--upgrade --group dev --extra sinks pyproject.toml -o $(LOCKS)/dev.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
