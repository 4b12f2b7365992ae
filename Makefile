# make demo: train, validate and detect on the generated signs set.   make test: the tests.
PYTHON ?= $(shell for v in 3.12 3.11 3.13 3.10; do command -v python$$v >/dev/null 2>&1 && python$$v -c '' 2>/dev/null && echo python$$v && exit; done; echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
export YOLO_OFFLINE := 1
export YOLO_AUTOINSTALL := false

.PHONY: demo test test-slow lint lock weights clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else "expected Python 3.10 to 3.13 but found %d.%d; try make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)

# Installed once and again when the requirements change; the stamps say which.
$(VENV)/.run: requirements.txt requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c requirements.lock
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c requirements.lock
	touch $@

demo: $(VENV)/.run
	$(BIN)/python -m engine.demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m slow

# Style, the order of the rooms (pyproject.toml), and types.
lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

# The small model in weights/: YOLOv5n with coordinate attention, trained from scratch on the signs set.
weights: $(VENV)/.run
	$(BIN)/python train.py --cfg yolov5n_ca.yaml --data signs.yaml --hyp hyp.no-mirror.yaml --img 320 --epochs 20 --batch 16 --cache ram --noval --name weights --exist-ok
	$(BIN)/python -c "from models import load_model, save_model; save_model(load_model('runs/train/weights/weights/best.pt'), 'weights/yolov5n_ca_signs.pt', half=True)"

# Exact versions for every supported Python; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header requirements-dev.txt -o requirements.lock

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache
