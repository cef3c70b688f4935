# A newcomer needs `make demo` and `make test`; both set up .venv first, from the lock file.
PYTHON ?= python3
MODEL ?= gemma-3-270m
BIN := .venv/bin
UV_VERSION := 0.13.9
READY := .venv/.ready
LOCK := uv pip compile pyproject.toml --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q
DEMO := out/demo

# Ray starts many Python processes: none is to compile our modules again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test autoscaling chaos check format lock clean

demo: $(READY)
	$(BIN)/python jobs/demo.py --output $(DEMO)/documents.parquet
	$(BIN)/python jobs/extract.py --config configs/demo.yaml --engine llamacpp --model $(MODEL) \
	    --input $(DEMO)/documents.parquet --output $(DEMO)

# Two files at a time, as each has a Ray of its own, whose processes want more than one core. What the tests of a
# file share is made once. The order is that of tests/conftest.py.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Nodes that come and go, with a Ray for each: they need the machine for themselves.
autoscaling: $(READY)
	$(BIN)/python -m pytest -m autoscaling tests/jobs/test_autoscaling.py

# Every kind of fault, and a hundred drivers killed: about an hour. Others: make chaos CHAOS="--only server --seed 7"
chaos: $(READY)
	$(BIN)/python -m tests.chaos $(CHAOS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Bytecode is compiled at installation: Ray starts many Python processes, and each would compile it again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

lock: $(READY)
	$(BIN)/$(LOCK) --universal --python-version 3.11 --extra cpu --extra s3 --extra gcs \
	    --extra iceberg --extra delta --extra lineage --extra dev -o requirements.lock
	$(BIN)/$(LOCK) --python-version 3.12 --python-platform x86_64-manylinux_2_39 --extra gpu --extra s3 --extra gcs \
	    --extra iceberg --extra delta --extra lineage \
	    -o requirements-gpu.lock

clean:
	rm -rf .venv out *.egg-info
