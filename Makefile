# make run    compile and validate the neuron, train the 784-100-10 network on MNIST, pictures under runs/
# make test   lint, types, tests
# make bench  measure netc against other ways, some ten minutes; writes docs/performance.md
# make wheel  dist/netc-*.whl
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH := $(VENV)/bench

.DEFAULT_GOAL := help
.PHONY: help install ngspice run test bench wheel clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing netc and what it needs into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "no virtual environment: on Debian, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(INSTALLED) ngspice

ngspice:
	@scripts/get-ngspice.sh

run: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/run.sh

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# Brian2 2.9 needs an older numpy than the rest: an environment on top of the other one
$(BENCH)/.installed: $(INSTALLED)
	@$(BIN)/python -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check jax brian2 'numpy<2.4'
	@$(BENCH)/bin/python -c "import pathlib, sysconfig; here = pathlib.Path(sysconfig.get_path('purelib')); \
		there = here.as_posix().replace('$(BENCH)', '$(VENV)'); \
		(here / 'below.pth').write_text(f'import site; site.addsitedir({there!r})')"
	@touch $@

bench: $(BENCH)/.installed ngspice
	$(BENCH)/bin/python scripts/bench.py

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist netc.egg-info .pytest_cache .ruff_cache .mypy_cache
