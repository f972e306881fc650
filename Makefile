# Everything a reader, a teacher or a contributor runs. `make help` lists it.
# One environment, .venv, made with pip from the ranges of pyproject.toml and
# the pins of constraints.txt; it is brought up to date when they change.

VENV := .venv
PY := $(VENV)/bin/python
LAB_ARGS ?=
CHAPTERS ?=
NOTEBOOKS := notebooks/*.ipynb exercises/*.ipynb exercises/solutions/*.ipynb

# Root (a container, mostly) has to be allowed explicitly by the Jupyter server.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

# A venv that was moved or copied with its checkout still points at the old
# place: its stamp holds the folder's name, and a different one is a rebuild.
MOVED := $(shell [ ! -e $(VENV)/.course ] || \
	[ "$$(cat $(VENV)/.course)" = "$$(pwd -P)" ] || echo moved)

.DEFAULT_GOAL := help
.PHONY: help lab test test-fast book notebooks clean moved

help:
	@echo 'make lab        open the course in JupyterLab (LAB_ARGS="--no-browser --port=8899" are passed on)'
	@echo 'make test       run every test; under 30 minutes on two cores'
	@echo 'make test-fast  only the quick ones: no notebook, site, browser or training; under 3 minutes'
	@echo 'make book       build the website into book/_build/html'
	@echo 'make notebooks  rebuild notebooks/ and exercises/ from book/ (CHAPTERS="03 part_1" for some of them;'
	@echo '                a notebook with your own work in it is left alone unless FORCE=1)'
	@echo 'make clean      remove what the other targets built, except $(VENV) (to remove that too: rm -r $(VENV))'
	@echo
	@echo 'PYTHON=/path/to/python3.12 chooses the Python that $(VENV) is made with (3.11, 3.12, 3.13 or 3.14).'

# "trust" because JupyterLab shows no SVG figure of a notebook that it did not
# run itself. JUPYTER_PREFER_ENV_PATH: this environment's kernel, whoever owns
# it, and not one of the same name that the user installed long ago. PATH: the
# terminals of JupyterLab find `minidiff`.
lab: $(VENV)/.course
	@$(PY) -m jupyter trust $(NOTEBOOKS) > /dev/null
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" JUPYTER_PREFER_ENV_PATH=1 \
		$(PY) -m jupyter lab $(AS_ROOT) --ServerApp.root_dir="$(CURDIR)" \
		--config="$(CURDIR)/book/lab/config.py" \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_ARGS)

test: $(VENV)/.test
	$(PY) tests/run.py

test-fast: $(VENV)/.test
	$(PY) tests/run.py --fast

book: $(VENV)/.book
	$(PY) book/build_site.py

notebooks: $(VENV)/.course
	FORCE="$(FORCE)" $(PY) book/build_notebooks.py $(CHAPTERS)

clean:
	rm -rf book/_build build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name '.venv-*' -prune -o \
		-name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.course: pyproject.toml constraints.txt book/make_venv.sh book/lab/overrides.json $(MOVED)
	PYTHON="$(PYTHON)" sh book/make_venv.sh $(VENV) course
$(VENV)/.book: $(VENV)/.course
	PYTHON="$(PYTHON)" sh book/make_venv.sh $(VENV) book
$(VENV)/.test: $(VENV)/.book
	PYTHON="$(PYTHON)" sh book/make_venv.sh $(VENV) test
