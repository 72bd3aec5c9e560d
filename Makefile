# make demo: from a bare machine to the table. make test: the tests. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev,viz,faces,video,search,tables,export,timm,web
UV := $(shell command -v uv 2>/dev/null)
export PYTHONDONTWRITEBYTECODE :=  # images of containers set it; compiling torch's Python anew doubles each start

.PHONY: help install demo link test test-fast lint matrix docs bench clean

help:
	@echo "make demo     make data, train, measure: a few minutes on a CPU"
	@echo "make link     keep datasets/ and result/ elsewhere: make link STORE=/data/fecnet"
	@echo "make test     run the tests"
	@echo "make test-fast  the quick ones, for the one who edits"
	@echo "make lint     check style and types"
	@echo "make matrix   the quick tests with each supported Python and torch (needs uv)"
	@echo "make docs     build the documentation site: make docs SITE=build/site"
	@echo "make bench    run the benchmarks"
	@echo "make install  only create the environment"

install: $(VENV)/.installed

# uv links packages instead of copying them; pip does the same job where there is no uv.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "fecnet needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
ifdef UV
	uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)
	uv pip install --quiet --python $(BIN)/python -e .
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
endif
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
ifdef UV
	uv pip install --quiet --python $(BIN)/python -e '.[$(EXTRAS)]'
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
endif
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
ifdef UV
	uv pip install --quiet --python $(BIN)/python -e '.[docs]'
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
endif
	@touch $@

demo: install
	$(BIN)/python train.py config/demo.yaml
	$(BIN)/python inference.py --baselines

link:
	@bash link.sh "$(STORE)"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_FLAGS)

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

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks
