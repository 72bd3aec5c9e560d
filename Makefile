# make demo: from a bare machine to the table. make test: the tests. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev,viz,faces,video,search,tables,export,timm,web
UV := $(shell command -v uv 2>/dev/null)
export PYTHONDONTWRITEBYTECODE :=  # images of containers set it; compiling torch's Python anew doubles each start

.PHONY: help install demo link test test-fast lint matrix docs lock audit sbom bench clean

help:
	@echo "make demo     make data, train, measure: a few minutes on a CPU"
	@echo "make link     keep datasets/ and result/ elsewhere: make link STORE=/data/fecnet"
	@echo "make test     run the tests"
	@echo "make test-fast  the quick ones, for the one who edits"
	@echo "make lint     check style and types"
	@echo "make matrix   the quick tests with each supported Python and torch (needs uv)"
	@echo "make docs     build the documentation site: make docs SITE=build/site"
	@echo "make lock     lock the newest packages that fit, with hashes, for CI (needs uv)"
	@echo "make audit    check the locked packages for known vulnerabilities (needs the network)"
	@echo "make sbom     build the wheel and its bill of materials"
	@echo "make bench    run all benchmarks, hours: first it lists the time of each"
	@echo "make install  only create the environment"

install: $(VENV)/.installed

# uv links packages instead of copying them; pip does the same job where there is no uv.
ifdef UV
MAKE_VENV := uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)
PIP := uv pip install --quiet --python $(BIN)/python
else
MAKE_VENV := $(PYTHON) -m venv $(VENV)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

# make LOCK=.ci/lock.txt test: exactly the files that the lock names by their hashes, as CI does; else the newest that fit.
$(VENV)/.installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fecnet needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(MAKE_VENV)
ifdef LOCK
	$(PIP) --no-deps --require-hashes --requirement $(LOCK)
	$(PIP) --no-deps --no-build-isolation -e .
else
	$(PIP) -e .
endif
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
ifndef LOCK
	$(PIP) -e '.[$(EXTRAS)]'
endif
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	@touch $@

demo: install
	$(BIN)/python train.py config/demo.yaml
	$(BIN)/python inference.py --baselines

link:
	@bash link.sh "$(STORE)"

# three workers on two cores: tests wait for the processes that they start
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 --dist worksteal $(PYTEST_FLAGS)

test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(PYTEST_FLAGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

matrix:
	EXTRAS=$(EXTRAS) PYTEST_FLAGS="$(PYTEST_FLAGS)" bash .ci/matrix $(PAIRS)

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/build_site.py $(SITE)

COMMA := ,
lock:
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url $(addprefix --extra ,$(subst $(COMMA), ,$(EXTRAS))) --output-file .ci/lock.txt pyproject.toml

audit: $(VENV)/.installed-dev
	$(BIN)/python .ci/audit.py .ci/lock.txt

sbom: $(VENV)/.installed-dev
	$(BIN)/python -m build --wheel --no-isolation --outdir dist
	$(BIN)/python .ci/sbom.py .ci/lock.txt dist/*.whl

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks
