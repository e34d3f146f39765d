# `make demo` and `make test` need Linux, Python 3.10 to 3.13, a C++ compiler and cmake; they make
# everything else.

# The first that is here of 3.12 and before, else 3.13, for which flashlight-text and kenlm have no
# build.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10 python3.13; do \
	$$p -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13 + ('$$p' == 'python3.13')))" 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLIP := w2v2cli/shipped/recordings/LJ002-0050.flac

.PHONY: demo test check sanitize bench clean

demo: $(INSTALLED)
	@echo "+ w2v2 transcribe $(CLIP) --lm 4gram --beam 1500"
	@$(BIN)/w2v2 transcribe $(CLIP) --lm 4gram --beam 1500
	@echo "what was said:"
	@grep "^$(basename $(notdir $(CLIP)))" w2v2cli/shipped/recordings/transcripts.tsv | cut -f3

# A file of tests goes to one process, so that its tests share what they train. One thread for each
# keeps the processes out of each other's way; four are as many as 16 GB hold. In the order of their
# names the long files of end_to_end come early, and no process is left alone with one at the end.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The readers, the automaton and the search with its lattices; the script alone runs all tests.
SANITIZED := tests/lm/ngram/test_automaton.py tests/lm/ngram/test_arpa_zoo.py \
	tests/lm/search/test_lattice.py

sanitize: $(INSTALLED)
	PYTHON=$(CURDIR)/$(BIN)/python scripts/sanitize_native.sh $(SANITIZED)

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.emissions
	$(BIN)/python -m benchmarks.precision --precision fp32 bf16 int8 w8
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.loader
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.transformer_lm
	$(BIN)/python -m benchmarks.calibration
	$(BIN)/python -m benchmarks.tuning
	$(BIN)/python -m benchmarks.searches.proposals
	$(BIN)/python -m benchmarks.long_recording

$(INSTALLED): pyproject.toml setup.py $(wildcard lm/native/*)
	@test -n "$(PYTHON)" || { \
	echo "Python 3.10 to 3.13 was not found; name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12"; \
	exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --quiet --upgrade pip
	$(BIN)/pip install --quiet --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
