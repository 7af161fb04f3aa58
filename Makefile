# Two commands do all the set-up: `make demo` and `make test`. Both need Python 3.11 or newer, pip, git and make.
PYTHON ?= python3
LIGHT := .venv-light
FULL := .venv
AGENTS := .venv-agents
SOURCES := src tests benchmarks docs page hatch_build.py

.PHONY: demo test test-all test-agents check format benchmark results docs page release clean

demo: $(LIGHT)/.ready
	$(LIGHT)/bin/emofocus predict examples

# Tests side by side, a core each.
PYTEST = OMP_NUM_THREADS=1 $(FULL)/bin/python -m pytest -n auto

# What a change usually needs. A core that has no tests left takes over half of another's.
test: $(FULL)/.ready
	$(PYTEST) --dist worksteal -m 'not slow'

# The long ones too, and the properties again, in a thousand new cases. Tests of one group share what takes long to make.
test-all: test
	$(PYTEST) --dist loadgroup -m 'slow or hypothesis' --hypothesis-profile thorough

# The adapters of voice agents, with the packages that they adapt, which are too heavy for the other tests' environment.
test-agents: $(AGENTS)/.ready
	OMP_NUM_THREADS=1 $(AGENTS)/bin/python -m pytest tests/agents

check: $(FULL)/.ready
	$(FULL)/bin/ruff check $(SOURCES)
	$(FULL)/bin/ruff format --check $(SOURCES)
	$(FULL)/bin/mypy

format: $(FULL)/.ready
	$(FULL)/bin/ruff check --fix $(SOURCES)
	$(FULL)/bin/ruff format $(SOURCES)

benchmark: $(FULL)/.ready
	for file in benchmarks/*.py; do $(FULL)/bin/python $$file; done

# docs/results.md and its figures, out of results/ alone.
results: $(FULL)/.ready
	$(FULL)/bin/emofocus report results --out docs/results.md

# The documentation site, into site/. A broken link is an error.
docs: $(FULL)/.ready
	NO_MKDOCS_2_WARNING=1 $(FULL)/bin/python -m mkdocs build --strict --quiet

# The page, into the package; needs Node.js 20 or newer. MODEL=DIR lets it run another model than the shipped one.
page: $(LIGHT)/.release
	cd page && npm ci --no-audit --no-fund --silent
	$(LIGHT)/bin/python page/model_files.py $(MODEL)
	cd page && npm run --silent build

# dist/: the source archive, and the wheel that is built from it.
release: page
	rm -rf dist
	$(LIGHT)/bin/python -m build

# An editable install follows the sources; only a change of dependencies installs again.
$(LIGHT)/.ready: pyproject.toml
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(LIGHT)/.release: $(LIGHT)/.ready
	$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	touch $@

$(FULL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

$(AGENTS)/.ready: pyproject.toml
	$(PYTHON) -m venv $(AGENTS)
	$(AGENTS)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[pipecat,livekit,serve,client]' pytest hypothesis
	touch $@

clean:
	rm -rf $(LIGHT) $(FULL) $(AGENTS) .pytest_cache .mypy_cache .ruff_cache site
