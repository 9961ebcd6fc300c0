# The commands of the README. Each makes the environment it needs, from the versions in constraints.txt; Python 3.11+ and make suffice.
PYTHON ?= python3
SERVE := .venv-serve
WORKER := .venv-worker
FULL := .venv
LOCK := .venv-lock
PIP := -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
export OMP_NUM_THREADS ?= 1

.PHONY: serve worker test check lock clean

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

# A local version such as +cpu names a build that other registries lack; CUDA's libraries depend on the build of torch.
lock:  ## write constraints.txt from the newest versions that pyproject.toml allows
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip --quiet --disable-pip-version-check install torch==2.13.0
	$(LOCK)/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[dev,postgres,s3]'
	{ echo '# Made by `make lock`: the versions that `make serve`, `make worker`, `make test` and the images install.'; \
	  $(LOCK)/bin/python -m pip freeze --exclude-editable | sed -E '/ @ |^nvidia|^triton|^cuda/d; s/\+[a-z0-9.]+$$//'; } > constraints.txt
	rm -rf $(LOCK)

clean:
	rm -rf $(SERVE) $(WORKER) $(FULL) $(LOCK)

$(SERVE)/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/python $(PIP) --editable '.[service]'
	touch $@

# torch first and by its exact version: a looser request takes a build several times the size.
$(WORKER)/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(WORKER)
	$(WORKER)/bin/python $(PIP) torch==2.13.0
	$(WORKER)/bin/python $(PIP) --editable '.[service,training]'
	touch $@

$(FULL)/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python $(PIP) torch==2.13.0
	$(FULL)/bin/python $(PIP) --editable '.[dev]'
	touch $@
