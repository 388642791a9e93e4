# Everything goes through an environment of its own in .venv, built from requirements.lock.

PYTHON ?= python3
BIN := .venv/bin
# CPU=1: PyTorch without CUDA, on Linux from an index of its own (elsewhere no wheel has CUDA). `.venv` remembers the choice.
CPU ?= $(if $(wildcard .venv/.cpu),1)
# TORCH_INDEX=URL names another one, such as a mirror.
TORCH_FROM := $(if $(TORCH_INDEX),--default-index $(TORCH_INDEX),--torch-backend cpu)
WITHOUT_CUDA := $(and $(CPU),$(filter Linux,$(shell uname -s)))
SIZE := $(if $(WITHOUT_CUDA),2 GB on disk,7 GB on disk on Linux (2 GB with CPU=1, without CUDA) and 2 GB elsewhere)
# As `topwork.environment` has it, for the programs here that do not import it.
export DO_NOT_TRACK = true
export MLFLOW_DISABLE_TELEMETRY = true
export ORT_DISABLE_TELEMETRY = 1
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: help setup run wallpaper test test-scale check bench viz mlflow serve docs airflow airflow-dag lock clean

help:
	@echo "make run      the worked example, from images to a leaderboard"
	@echo "make test     the tests"
	@echo "make setup    the environment in .venv (CPU=1: without CUDA, 2 GB instead of 7); source .venv/bin/activate, then kedro run --params images=DIR"
	@echo "make mlflow   the page of all runs"
	@echo "make serve    a server for the champion"
	@echo "make viz      the graph of all steps"
	@echo "make docs     the documentation as pages"
	@echo "make check    format, lint, types, import contracts"
	@echo "make bench    speed and accuracy against other tools"
	@echo "more in the Makefile: test-scale airflow airflow-dag wallpaper lock clean"

setup: .venv/.complete
	@$(if $(WITHOUT_CUDA),test -e .venv/.cpu || echo ".venv has CUDA already. To change over: make clean setup CPU=1.")

# $(call install,ENVIRONMENT,LOCK): uv installs what pip would, with every hash checked, in a tenth of the time.
# Without CUDA, PyTorch comes first, so that an index that cannot be reached is told before the rest is downloaded. The
# hashes of the lock are those of the wheels with CUDA: PyTorch's own index is trusted for its two packages.
ifdef WITHOUT_CUDA
define install
	@$(BIN)/uv pip install --quiet --python $(1)/bin/python --no-deps $(TORCH_FROM) \
		$$(sed -n 's/^\(torch\(vision\)\{0,1\}==[^ ]*\).*/\1/p' $(2)) \
		|| { echo "PyTorch for CPUs could not be installed from $(or $(TORCH_INDEX),its own index): give another one (TORCH_INDEX=URL), or leave CPU=1 out." >&2; exit 1; }
	@sed '/^\(torch\|torchvision\|triton\|nvidia-[^=]*\|cuda-[^=]*\)==/,/[^\\]$$/d' $(2) > $(1)/cpu.lock
	$(BIN)/uv pip install --quiet --python $(1)/bin/python --no-deps --require-hashes -r $(1)/cpu.lock
	touch $(1)/.cpu
endef
else
define install
	$(BIN)/uv pip install --quiet $(3) --python $(1)/bin/python --require-hashes -r $(2)
endef
endif

# Compiled now, since where Python may not write bytecode (many containers) every run would compile thousands of modules
# again, for seconds. Without CUDA disk counts more: half a gigabyte.
.venv/.complete: requirements.lock pyproject.toml
	@echo "Setting up .venv: PyTorch and other packages, about $(SIZE). This takes a few minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)"
	$(call install,.venv,requirements.lock,--compile-bytecode)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
	@echo "Done. Now: make run, or: source .venv/bin/activate && kedro run --params images=DIR"

# PARAMS=wallpaper.images_per_group=30,finetune.minutes=0.3,scratch.minutes=0.3 does less.
run: setup
	$(BIN)/kedro run --env wallpaper $(if $(PARAMS),--params $(PARAMS))

wallpaper: setup
	$(BIN)/kedro run --env wallpaper --pipelines wallpaper

# One process a core; each takes a test of the others' when it has none left.
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --ignore tests/scale

# What needs Ray, Dask, PostgreSQL, an S3 server or faiss: in an environment that has them all.
test-scale: .venv-scale/.complete
	.venv-scale/bin/python -m pytest tests/scale tests/workers tests/data/test_similar_pairs.py tests/pipelines/test_splitting.py

.venv-scale/.complete: requirements-scale.lock pyproject.toml | setup
	$(PYTHON) -m venv .venv-scale
	$(call install,.venv-scale,requirements-scale.lock)
	$(BIN)/uv pip install --quiet --python .venv-scale/bin/python --no-deps --editable .
	touch $@

# The pages in docs/, as HTML in docs/_build/html. A warning is an error, such as a link that leads nowhere.
docs: .venv-docs/.complete
	.venv-docs/bin/python -m sphinx -b html -n -W --keep-going -d docs/_build/doctrees docs docs/_build/html

# Sphinx reads parameters and docstrings from the installed package, so that this environment has it with all it needs.
.venv-docs/.complete: requirements-docs.lock pyproject.toml | setup
	$(PYTHON) -m venv .venv-docs
	$(call install,.venv-docs,requirements-docs.lock)
	$(BIN)/uv pip install --quiet --python .venv-docs/bin/python --no-deps --editable .
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# BENCH="--only speed limits --folder DIR" measures a part, or on other photographs.
bench: setup .venv-rivals/.complete
	$(BIN)/python -W ignore -m bench $(BENCH)

.venv-rivals/.complete: bench/rivals.txt | setup
	$(PYTHON) -m venv .venv-rivals
	$(BIN)/uv pip install --quiet --python .venv-rivals/bin/python -r bench/rivals.txt
	touch $@

# The pipelines alone are legible at once; with all datasets kedro-viz makes everything tiny, and it has no setting for this.
viz: setup
	@echo "Open http://127.0.0.1:4141/?types=nodes once it runs: the pipelines. The filter Datasets, on the left, adds what flows between them."
	$(BIN)/kedro viz run --no-browser

# 1 is the number of the first experiment of a new store, which is Topwork's.
mlflow: setup
	@echo "Open http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=topwork&workflowType=machine_learning once it runs: all runs by their scores."
	$(BIN)/mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db

# MODEL=models:/NAME@champion, if there are several. Plain `mlflow models serve` runs the same model without limits and page.
serve: setup
	$(BIN)/python -m topwork.serving $(MODEL)

# Airflow has an environment of its own, in which Topwork is not installed; its tasks run Kedro from .venv (docs/airflow.md).
# KEDRO_ENV=digits is another folder of conf/. Everyone who reaches the page may do everything on it, so it serves this machine alone.
KEDRO_ENV ?= local
PORT ?= 8080
airflow airflow-dag: export AIRFLOW_HOME = $(CURDIR)/.airflow
airflow: export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED = False
airflow: export AIRFLOW__CORE__LOAD_EXAMPLES = False
airflow: export AIRFLOW__CORE__PARALLELISM = 2
airflow: export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION = False
airflow: export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS = True
airflow: export AIRFLOW__CORE__EXECUTION_API_SERVER_URL = http://127.0.0.1:$(PORT)/execution/
airflow: export AIRFLOW__API__BASE_URL = http://127.0.0.1:$(PORT)
airflow: export AIRFLOW__API__HOST = 127.0.0.1
airflow: export AIRFLOW__API__PORT = $(PORT)
airflow: export AIRFLOW__API__WORKERS = 1
airflow: airflow-dag .venv-airflow/.complete
	PATH="$(CURDIR)/.venv-airflow/bin:$$PATH" .venv-airflow/bin/airflow standalone

airflow-dag: .venv/.airflow
	$(BIN)/kedro airflow create --env $(KEDRO_ENV) --group-by namespace --jinja-file deploy/airflow/dag.py.j2 \
		--target-dir .airflow/dags --params "project_path=$(CURDIR)"

.venv/.airflow: .venv/.complete
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --editable ".[airflow]"
	touch $@

.venv-airflow/.complete: deploy/airflow/requirements.lock | setup
	$(PYTHON) -m venv .venv-airflow
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-airflow/bin/python --require-hashes -r $<
	touch $@

lock: setup
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra lite \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		-o requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra lite --extra scale \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		-o requirements-scale.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra docs --constraint requirements.lock \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		-o requirements-docs.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" \
		-o deploy/airflow/requirements.lock deploy/airflow/requirements.txt

clean:
	rm -rf .venv .venv-rivals .venv-scale .venv-docs .venv-airflow docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
