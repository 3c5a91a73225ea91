# Each target sets up all it needs, in a virtual environment inside the checkout and nowhere else.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint bench gpu clean

demo: $(VENV)/demo.done  ## train a network on handwritten digits and draw its curves
	$(RUN) examples/digits.py

test: lint  ## every test that this machine can run
	$(RUN) -m pytest -n auto --dist worksteal

lint: $(VENV)/dev.done  ## types, style
	$(RUN) -m mypy
	$(RUN) -m mypy --strict tests/typed_user.py examples docs
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

bench: $(VENV)/dev.done  ## speed and memory against peers; PyTorch too where it is installed
	$(RUN) benchmarks/cpu.py
	$(RUN) benchmarks/rules.py
	$(RUN) benchmarks/schedules.py
	$(RUN) benchmarks/policy.py
	$(RUN) benchmarks/checkpoint.py

gpu: $(VENV)/dev.done  ## the tests that need an NVIDIA GPU and CuPy
	$(RUN) -m pytest -m gpu

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/pip.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "updaters needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/demo.done: $(VENV)/pip.done pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/dev.done: $(VENV)/pip.done pyproject.toml
	$(RUN) -m pip install --quiet --editable '.[demo]' --group dev
	@touch $@
