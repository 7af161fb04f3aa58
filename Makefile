# Two commands do all the set-up: `make demo` and `make test`. Both need Python 3.11 or newer, pip, git and make.
PYTHON ?= python3
LIGHT := .venv-light
FULL := .venv

.PHONY: demo test check format benchmark results page clean

demo: $(LIGHT)/.ready
	$(LIGHT)/bin/emofocus predict examples

# Files of tests side by side, a core each.
test: $(FULL)/.ready
	OMP_NUM_THREADS=1 $(FULL)/bin/python -m pytest -n auto --dist loadfile

check: $(FULL)/.ready
	$(FULL)/bin/ruff check src tests benchmarks docs
	$(FULL)/bin/ruff format --check src tests benchmarks docs
	$(FULL)/bin/mypy

format: $(FULL)/.ready
	$(FULL)/bin/ruff check --fix src tests benchmarks docs
	$(FULL)/bin/ruff format src tests benchmarks docs

benchmark: $(FULL)/.ready
	for file in benchmarks/*.py; do $(FULL)/bin/python $$file; done

# docs/results.md and its figures, out of results/ alone.
results: $(FULL)/.ready
	$(FULL)/bin/emofocus report results --out docs/results.md

# The page, into the package; needs Node.js 20 or newer. MODEL=DIR lets it run another model than the shipped one.
page: $(FULL)/.ready
	cd page && npm ci --no-audit --no-fund --silent
	$(FULL)/bin/python page/model_files.py $(MODEL)
	cd page && npm run --silent build

# An editable install follows the sources; only a change of dependencies installs again.
$(LIGHT)/.ready: pyproject.toml
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(FULL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(LIGHT) $(FULL) .pytest_cache .mypy_cache .ruff_cache
