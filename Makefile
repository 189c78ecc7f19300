# The developer's interface. Each command sets up .venv by itself, when there is none or when pyproject.toml or
# constraints.txt have changed.
#
#   make run          the console, with an engine if none runs; make run ARGS="status --json" for any other command
#   make test         all tests
#   make check        format, lint, types, import contracts
#   make screenshots  the pictures of the README, from the real program
#   make clean        remove .venv and everything else that can be made again
#
# PYTHON=python3.12 picks the interpreter that .venv is made with.

PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := run
.PHONY: run test check screenshots clean
.ONESHELL:
.SHELLFLAGS := -ec
MAKEFLAGS += --no-print-directory

# A stamp holds the folder that it was made in: an editable install of a copied or moved checkout runs the code of the old one.
STALE := $(shell for stamp in .venv/.stamp-*; do [ ! -f "$$stamp" ] || [ "$$(cat "$$stamp")" = "$(CURDIR)" ] || rm -f "$$stamp"; done)

# Everything that the demo needs, dev has too.
RUNNABLE := $(if $(wildcard .venv/.stamp-dev),.venv/.stamp-dev,.venv/.stamp-demo)

run: $(RUNNABLE)
	@.venv/bin/citadel $(ARGS)

test: .venv/.stamp-dev
	@.venv/bin/python -m pytest $(ARGS)

check: .venv/.stamp-dev
	@.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

screenshots: .venv/.stamp-dev
	@.venv/bin/python -m screenshots.make

clean:
	@rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps go first and come back last, and `unfinished` stays when somebody interrupts pip in the middle: neither a
# half-made .venv nor a half-installed package is ever taken for a whole one.
.venv/.stamp-%: pyproject.toml constraints.txt
	@refuse() { echo "citadel: $$1" >&2; exit 1; }
	is_recent='import sys; sys.exit(sys.version_info < (3, 11))'
	if ls .venv/.stamp-* >/dev/null 2>&1; then
	    echo 'citadel: bringing .venv up to date'
	else
	    echo 'citadel: first run: installing into .venv, a few minutes (torch is large)'
	fi
	if [ -e .venv/.unfinished ] || ! .venv/bin/python -c "$$is_recent" 2>/dev/null \
	        || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
	    command -v "$(PYTHON)" >/dev/null \
	        || refuse 'there is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3'
	    "$(PYTHON)" -c "$$is_recent" \
	        || refuse "$$("$(PYTHON)" --version 2>&1) is too old; 3.11 or newer is needed. Name one: make PYTHON=python3.12"
	    "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	        || refuse '$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv'
	    "$(PYTHON)" -m venv --clear .venv || refuse '.venv could not be made; the reason is above'
	fi
	rm -f .venv/.stamp-*
	touch .venv/.unfinished
	.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input -c constraints.txt -e ".[$*]" \
	    || { rm .venv/.unfinished; \
	        refuse 'pip could not install what is needed; its reason is above. No network? Run make again when there is one'; }
	rm .venv/.unfinished
	printf %s '$(CURDIR)' > $@
