# make install   the command line and the tests' tools into .venv
# make test      every test except those that need a GPU; starts an engine if none answers
# make lint      ruff, the layers of packages, and mypy
# make generated compose files, reference pages and other files made from the code and pyproject.toml
# make test-examples  every project of examples/ in containers, and under wandb agent; older clients (15 to 25 minutes)
# make demo      a fleet of real containers runs a real sweep; make clean-demo removes it
# make bench     the benchmarks under tests/bench
# make bench-gap the time between two runs, warm, cold and under wandb agent
# make chaos     fails each write of the sweep server in a sweep of its own, kills it, fuzzes it (hours)
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
unexport PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes: compile once

.PHONY: install install-cli lint generated test test-fast test-amt test-inside test-others \
    test-examples demo clean-demo bench bench-cuda bench-gap chaos clean

install-cli: .venv/.cli
.venv/.cli: pyproject.toml
	docker/requirements.sh $(PYTHON)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

install: .venv/.dev
.venv/.dev: pyproject.toml docker/constraints-cpu.txt | install-cli
	docker/requirements.sh $(PYTHON) cc
	docker/torch-cpu.sh $(BIN)/pip install --quiet --constraint docker/constraints-cpu.txt \
	    --editable '.[dev,server,train]'
	touch $@

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

generated: install
	$(BIN)/python -m runner.compose.clone amt/tiny_sweep.yaml
	$(BIN)/python -m docs.generate

# Three processes, each with a part of the tests: workers would each collect all of them, which
# takes 8 s, and with amt's they would load torch, 8 s more.
test-fast: install
	$(MAKE) --jobs=3 --output-sync=target test-amt test-inside test-others

INSIDE := tests/runner/server tests/runner/agent tests/rig
test-amt:
	$(PYTEST) tests/amt

test-inside:
	$(PYTEST) $(INSIDE)

test-others:
	$(PYTEST) $(patsubst %,--ignore %,tests/amt $(INSIDE))

test-examples: install
	docker/with-engine.sh --trixie $(PYTEST) -m engine tests/runner/product/test_examples.py \
	    tests/runner/product/test_versions.py --durations 0

test: install
	docker/with-engine.sh --meanwhile "$(MAKE) lint test-fast" $(PYTEST) \
	    -m "(engine or client or reference or slow or mutants) and not gpu and not minutes" \
	    -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart 1 --durations 30

demo: install-cli
	docker/demo.sh up

clean-demo:
	docker/demo.sh down

bench: install
	docker/with-engine.sh $(BIN)/python -m tests.bench.quick

bench-gap: install
	$(BIN)/python -m tests.bench.gap

bench-cuda: install-cli
	docker/with-engine.sh $(BIN)/python -m tests.bench.cuda_image

chaos: install
	RUNNER_CHAOS_SIZE=all $(PYTEST) -m client -s tests/chaos/test_write_faults.py \
	    tests/chaos/test_server_kills.py tests/chaos/test_server_fuzz.py tests/chaos/test_space_kills.py \
	    tests/chaos/test_server_trouble.py tests/chaos/test_run_ends.py
	RUNNER_CHAOS_SIZE=all docker/with-engine.sh $(PYTEST) -m engine -s tests/chaos/test_agent_kills.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
