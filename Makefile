# `make demo` and `make test` need nothing but Python 3.11 or later. README.md gives the plain commands.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Another package index for PyTorch, such as TORCH_INDEX=https://download.pytorch.org/whl/cpu for the CPU build.
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: demo test web proof install install-dev check check-cuda gpu-proof clean

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements-dev.txt
	touch $@ $(VENV)/installed

demo: install
	$(BIN)/python train.py
	$(BIN)/python generate.py --seeds 0-31 --grid --outdir out/demo/samples
	$(BIN)/python style_mixing.py --outdir out/demo/mixing
	$(BIN)/python truncation.py --outdir out/demo/truncation
	@echo
	@echo "The pictures:"
	@echo "  samples     out/demo/samples/grid.png"
	@echo "  mixing      out/demo/mixing/grid.png"
	@echo "  truncation  out/demo/truncation/truncation.png"
	@echo "  training    $$(ls -d runs/*/ | tail -n 1)report.html"
	@echo
	@echo "What to type next:"
	@echo "  source $(BIN)/activate                        once in each terminal; or type $(BIN)/python instead of python"
	@echo "  python generate.py --network assets/faces64.safetensors --seeds 0-99 --grid      the pictures of README.md"
	@echo "  python dataset_tool.py --source my_pictures --dest my.zip --resolution 64x64     a data set of your own pictures"
	@echo "  python train.py --data my.zip                                                    training on it"
	@echo "  python train.py --resume latest --kimg 60                                        this training, three times as long"

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

# Compiles the native operators again, even if they are in the cache.
test: check
	@cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT INT TERM && \
	TORCH_EXTENSIONS_DIR="$$cache" $(BIN)/python -m pytest -n 2 --durations=25

# Runs all long proofs and writes their summary to docs/faults.md; `make test` runs a sample of them.
proof: install-dev
	WRITE_PROOF=1 $(BIN)/python -m pytest --proof tests/proofs tests/training/test_processes.py tests/test_documents.py
	$(BIN)/python -m pytest --proof -m proof tests/benchmarks tests/custom_ops tests/models tests/training

# Compiles the CUDA files for every GPU architecture; needs nvcc. Tests compile for the oldest and the latest only.
check-cuda: install
	$(BIN)/python -m custom_ops.build --check-cuda

# Runs everything that needs a GPU, in at most 12 minutes, and writes docs/gpu.md. Installs nothing: without .venv it uses $(PYTHON).
gpu-proof:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu $(if $(OFFICIAL),--official $(OFFICIAL))

# Fetches what pages are made and tested with (explorer/npm/package.json) from the npm registry; needs npm.
web:
	npm ci --prefix explorer/npm --ignore-scripts --no-audit --no-fund

clean:
	rm -rf $(VENV) runs out
