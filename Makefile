# The commands of the README. Each makes the environment it needs, from the versions in constraints.txt; Python 3.11+ and make suffice.
PYTHON ?= python3
SERVE := .venv-serve
WORKER := .venv-worker
FULL := .venv
LOCK := .venv-lock
PIP := -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
CAMERA := service/web/vendor/mediapipe
MEDIAPIPE := @mediapipe/hands@0.4.1675469240
MEDIAPIPE_SHA512 := GxoZvL1mmhJxFxjuyj7vnC++JIuInGznHBin5c7ZSq/RbcnGyfEcJrkM/bMu5K1Mz/2Ko+vEX6/+wewmEHPrHg==
export OMP_NUM_THREADS ?= 1

.PHONY: serve worker test check lock clean page-three page-camera page-docs

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

# What the page needs of three.js in one module, with its licence. npm verifies each package by the checksum in the lock file.
page-three:  ## renew service/web/vendor/three-*.min.js after a change of service/web/vendor/package.json or three.entry.js
	cd service/web/vendor && npm ci --silent --ignore-scripts && node_modules/.bin/esbuild three.entry.js \
	  --bundle --minify --format=esm --target=es2022 --outfile=three-$$(node -p 'require("./node_modules/three/package.json").version').min.js \
	  && cp node_modules/three/LICENSE three.LICENSE.txt && rm -rf node_modules

# MediaPipe Hands with its models, for the page's camera. Apache-2.0; too large for the repository.
page-camera:  ## fetch what finds hands in the pictures of a camera into service/web/vendor/mediapipe
	rm -rf $(CAMERA) && mkdir -p $(CAMERA)
	cd $(CAMERA) && archive=$$(npm pack --silent $(MEDIAPIPE)) \
	  && test "$$(openssl dgst -sha512 -binary $$archive | openssl base64 -A)" = "$(MEDIAPIPE_SHA512)" \
	  && tar --strip-components=1 --no-same-permissions -xzf $$archive && chmod -R u=rwX,go=rX . && rm $$archive

page-docs:  ## renew service/web/vendor/swagger after a change of its package.json
	cd service/web/vendor/swagger && rm -f swagger-ui-* && npm ci --silent --ignore-scripts && cd node_modules/swagger-ui-dist \
	  && version=$$(node -p 'require("./package.json").version') && for kind in js css; do \
	    bundle=swagger-ui$$([ $$kind = js ] && echo -bundle).$$kind; \
	    grep -v '^//# sourceMappingURL\|^/\*# sourceMappingURL' $$bundle > ../../swagger-ui-$$version.min.$$kind; done \
	  && cp LICENSE ../../LICENSE.txt && cp NOTICE ../../NOTICE.txt && cp swagger-ui-bundle.js.LICENSE.txt ../../parts.LICENSE.txt \
	  && cd ../.. && rm -rf node_modules

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
