# make demo   trains and evaluates on the built-in pictures; ends by naming the report
# make test   lint, types and the whole test suite
# make test-timm   what needs torchvision or timm, in an environment of its own (5.6 GB: torchvision's CUDA build of torch)
# make reliability   measures what docs/reliability.md and docs/scaling.md claim, about an hour
# make modalities DATA=folder   measures what docs/results/modalities.md shows, one to two hours
# make speed DATA=folder   measures what docs/results/speed.md shows, in an environment with all peers (6 GB), an hour
# make docs   writes docs/recipes.md anew from the recipes
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-timm reliability modalities speed docs lint clean

# Two stamps: what a user needs, and what a developer needs on top.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) -e '.[image]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/twofold demo --out runs/demo

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

# torchvision from PyPI does not work beside the CPU build of torch that the other targets use.
$(VENV)-timm/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-timm
	$(VENV)-timm/bin/pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1
	$(VENV)-timm/bin/pip install --quiet --disable-pip-version-check -e '.[image,timm]' pytest hypothesis
	touch $@

test-timm: $(VENV)-timm/.installed
	$(VENV)-timm/bin/pytest tests/modalities/image/test_views_torchvision.py tests/modalities/image/test_encoders_outside.py

reliability: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/reliability/run.py

modalities: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/modalities/run.py --data $(DATA)

# Without the pins: peers pull their own torch.
$(VENV)-peers/.installed: pyproject.toml benchmarks/speed/peers.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/speed/peers.txt
	$(VENV)-peers/bin/pip install --quiet --disable-pip-version-check -e '.[image,text,graph]'
	touch $@

speed: $(VENV)-peers/.installed
	$(VENV)-peers/bin/python benchmarks/speed/run.py $(if $(DATA),--data $(DATA))

docs: $(VENV)/.installed
	$(BIN)/python -m twofold.apps.catalogue > docs/recipes.md

clean:
	rm -rf $(VENV) $(VENV)-timm $(VENV)-peers build dist *.egg-info
