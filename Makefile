# Each target sets up .venv first when it is missing or requirements.lock has changed (deploy/bootstrap.py).
# What a target runs is in deploy/tasks.py, so that .ci/run needs no make.

PYTHON ?= python3
SECONDS ?= 60
SEED ?= 1
N ?= 25

.PHONY: demo test check bench fuzz chaos deb setup clean

demo:  ## a village from its meters to its bills, then live
	@$(PYTHON) deploy/bootstrap.py demo

test:  ## everything: linters, all tests with real servers, the demo among them
	@$(PYTHON) deploy/bootstrap.py test

check:  ## linters and fast tests, in seconds
	@$(PYTHON) deploy/bootstrap.py check

bench:  ## measure, print a table, write build/bench.json
	@$(PYTHON) deploy/bootstrap.py bench

fuzz:  ## random octets against everything that reads DLMS: make fuzz SECONDS=600 SEED=7
	@SECONDS=$(SECONDS) SEED=$(SEED) $(PYTHON) deploy/bootstrap.py fuzz

chaos:  ## real processes killed, cut off and stopped at random: make chaos N=100 SEED=7
	@N=$(N) SEED=$(SEED) $(PYTHON) deploy/bootstrap.py chaos

deb:  ## the gateway's Debian package, in dist/: make deb DEB="--architecture arm64 --python 3.13"
	@$(PYTHON) deploy/bootstrap.py deb $(DEB)

setup:  ## .venv alone
	@$(PYTHON) deploy/bootstrap.py

clean:  ## remove what was made here; the download cache and running servers stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
