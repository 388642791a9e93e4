# Everything goes through an environment of its own in .venv, built from requirements.lock.

PYTHON ?= python3
BIN := .venv/bin
# As `topwork.environment` has it, for the programs here that do not import it.
export DO_NOT_TRACK = true
export MLFLOW_DISABLE_TELEMETRY = true
export ORT_DISABLE_TELEMETRY = 1

.PHONY: setup run wallpaper test check bench viz mlflow serve lock clean

setup: .venv/.complete

# uv installs what pip would, with every hash checked, in a tenth of the time. Compiled now, since where Python may not
# write bytecode (many containers) every run would compile thousands of modules again, for seconds.
.venv/.complete: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements.lock)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# PARAMS=wallpaper.images_per_group=30,finetune.minutes=0.3,scratch.minutes=0.3 does less.
run: setup
	$(BIN)/kedro run --env wallpaper $(if $(PARAMS),--params $(PARAMS))

wallpaper: setup
	$(BIN)/kedro run --env wallpaper --pipelines wallpaper

# One process a core; each takes a test of the others' when it has none left.
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

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

viz: setup
	$(BIN)/kedro viz run

mlflow: setup
	$(BIN)/mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db

# MODEL=models:/NAME@champion, if there are several. Plain `mlflow models serve` runs the same model without limits and page.
serve: setup
	$(BIN)/python -m topwork.serving $(MODEL)

lock: setup
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra lite \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		-o requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-rivals .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
