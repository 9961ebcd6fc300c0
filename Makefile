# The commands of the README. Each makes what it needs; nothing but Python 3.11+ and make must be there.
PYTHON ?= python3
SERVE := .venv-serve
WORKER := .venv-worker
FULL := .venv
export OMP_NUM_THREADS ?= 1

.PHONY: serve worker test check clean

serve: $(SERVE)/.made  ## start the API on 127.0.0.1:8000 with the shipped bundles
	$(SERVE)/bin/chiron serve

worker: $(WORKER)/.made  ## run the jobs of that API, on a GPU where there is one; CHIRON_DATA is what it trains on
	$(WORKER)/bin/chiron worker

# Bytecode is kept even where the environment says otherwise: the suite starts a hundred processes that import the packages.
test: export PYTHONDONTWRITEBYTECODE =
test: $(FULL)/.made  ## the whole suite
	$(FULL)/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

check: $(FULL)/.made  ## style, types, import rules
	$(FULL)/bin/ruff check
	$(FULL)/bin/ruff format --check
	$(FULL)/bin/pyright
	$(FULL)/bin/lint-imports

clean:
	rm -rf $(SERVE) $(WORKER) $(FULL)

$(SERVE)/.made: pyproject.toml
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[service]'
	touch $@

# torch first and by its exact version: a looser request takes a build several times the size.
$(WORKER)/.made: pyproject.toml
	$(PYTHON) -m venv $(WORKER)
	$(WORKER)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(WORKER)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[service,training]'
	touch $@

$(FULL)/.made: pyproject.toml
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(FULL)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
