# make demo: train, validate and detect on street photographs.   make test: the tests.
PYTHON ?= $(shell for v in 3.12 3.11 3.13 3.10; do command -v python$$v >/dev/null 2>&1 && python$$v -c '' 2>/dev/null && echo python$$v && exit; done; echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
export YOLO_OFFLINE := 1
export YOLO_AUTOINSTALL := false

.PHONY: demo app test test-slow lint types docs docs-serve lock weights clean

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
	$(BIN)/python -m engine.demo $(SET)

$(VENV)/.app: requirements-app.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-app.txt -c requirements.lock
	touch $@

# The page in the browser, at http://127.0.0.1:7860.
app: $(VENV)/.app
	$(BIN)/python app.py

# A process for each core, with one thread: half the time of one process with all cores.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist worksteal

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -q -m slow

# Style, the order of the rooms and the types (pyproject.toml).
lint: types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-logo

types: $(VENV)/.dev
	$(BIN)/basedpyright --level error --pythonpath $(BIN)/python

# The site in build/site, from the repository's own pages; a link that leads nowhere and a stale translation fail.
docs: $(VENV)/.dev
	$(BIN)/python docs/reference/update.py
	$(BIN)/python docs/build_site.py
	$(BIN)/python docs/translations.py

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

# The two small models in weights/: YOLOv5n with coordinate attention, from the COCO weights. The signs are drawn here;
# the masks must lie where data/mask.yaml says. mAP and SHA-256: weights/README.md.
CA := $(BIN)/python train.py --weights yolov5n.pt --cfg yolov5n.yaml --attention CoordAtt@neck.P3,neck.P4,neck.P5 --img 320 --batch 16 --cache ram --exist-ok
weights: $(VENV)/.run
	$(CA) --data signs.yaml --epochs 20 --name weights_signs
	$(CA) --data mask.yaml --epochs 40 --name weights_mask
	$(BIN)/python -c "from models import load_model, save_model; [save_model(load_model(f'runs/train/weights_{n}/weights/best.pt'), f'weights/yolov5n_ca_{n}.pt', half=True) for n in ('signs', 'mask')]"

# Exact versions for every supported Python; needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header requirements-dev.txt -o requirements.lock
	sed -i '1i # Exact versions that the tests ran with, for Python 3.10 to 3.13: pip install -r requirements.txt -c requirements.lock\n# Made by: make lock' requirements.lock

clean:
	rm -rf $(VENV) build runs .pytest_cache .ruff_cache
