# `make demo` and `make test` need Python 3.10 to 3.13, a C++ compiler and cmake; they make everything else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLIP := w2v2cli/shipped/recordings/LJ001-0103.flac

.PHONY: demo test check bench clean

demo: $(INSTALLED)
	@echo "+ w2v2 transcribe $(CLIP) --lm 4gram --beam 1500"
	@$(BIN)/w2v2 transcribe $(CLIP) --lm 4gram --beam 1500
	@echo "what was said:"
	@grep "^$(basename $(notdir $(CLIP)))" w2v2cli/shipped/recordings/transcripts.tsv | cut -f3

test: $(INSTALLED)
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.emissions
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.cold_start

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
