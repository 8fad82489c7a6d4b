# make run    set up .venv and run the experiment of config.yaml
# make plan   print what will be trained and compared, before any SAE is trained
# make test   set up .venv and run the tests; make test-all: also the long ones on real inputs
# make report a self-contained HTML report of what has been run

PYTHON ?= python3
CORES ?= all
VENV := .venv
# GPUs of this machine; 0 keeps every job on the CPU.
GPUS ?= $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU')
SNAKEMAKE := $(VENV)/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS)

.PHONY: run plan report test test-all lint

run: $(VENV)/installed
	$(SNAKEMAKE)

plan: $(VENV)/installed
	$(SNAKEMAKE) --quiet all -- plan

report: $(VENV)/installed
	$(VENV)/bin/snakemake --report results/report.html

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest --numprocesses 2 -m "not long"

test-all: $(VENV)/installed
	$(VENV)/bin/python -m pytest --numprocesses 2

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules workflow/modules
	$(VENV)/bin/mypy

# Installed once, and again when the pins change.
$(VENV)/installed: envs/requirements.txt envs/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11 to 3.13; use make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "error: Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	cd envs && ../$(VENV)/bin/pip install --quiet -r requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps -e .
	touch $@
