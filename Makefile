# Two commands: `make workbook` and `make test`. Everything they install goes into .venv; nothing else is touched.
#
#   PYTHON       interpreter that makes .venv (3.11 or later)
#   TORCH        torch to install. An open range would take a CUDA build of several GB wherever it is the default.
#   TORCH_INDEX  where to take torch from; https://download.pytorch.org/whl/cpu has the small CPU build for Linux
#   PORT         port of the book's server; the next free one is taken

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
PORT ?= 8000
RESULTS ?= results

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint env/local/constraints.txt
START := notebooks/00_start_here.ipynb
# Jupyter refuses to run as root, which is who you are in most containers.
LAB := $(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(START)

.DEFAULT_GOAL := help
.PHONY: help workbook test book lab serve lint bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  variables: PYTHON=$(PYTHON) TORCH=$(TORCH) TORCH_INDEX=$(TORCH_INDEX) PORT=$(PORT)"

# Without a network the recording cannot come, and all the rest still can. What was not done is said at the end.
# The results are made once (the network takes about 90 s on two cores); delete them or `make clean` to make them anew.
workbook: .venv/.workbook  ## install, check this machine, run the detector on a real EEG, build and open the book
	@$(BIN)/workbook preflight || true
	@undone=""; \
	{ $(BIN)/workbook data fetch && $(MAKE) --no-print-directory $(RESULTS)/absence_rule.png $(RESULTS)/absence_network.png; } \
	  || undone="the recording and the detector on it; "; \
	$(MAKE) --no-print-directory book || undone="$${undone}the book; "; \
	echo; \
	echo "The book       _build/html/index.html"; \
	echo "First results  $(RESULTS)/absence_rule.png, $(RESULTS)/absence_network.png"; \
	echo "First chapter  $(START)"; \
	if [ -n "$$undone" ]; then echo "NOT DONE       $${undone}the reason is above"; fi; \
	if [ -t 0 ] && [ -t 1 ] && [ -z "$$CI" ]; then $(MAKE) --no-print-directory serve; \
	else echo "No terminal:   nothing is served or opened. Next: make lab, or source .venv/bin/activate and workbook --help"; \
	[ -z "$$undone" ]; fi

$(RESULTS)/absence_%.png:
	@$(BIN)/workbook detect absence --method $* --output $(RESULTS)

serve:
	@port=$$($(BIN)/python -c 'import socket, sys; ports = range(int(sys.argv[1]), int(sys.argv[1]) + 100); \
	  print(next(p for p in ports if socket.socket().connect_ex(("127.0.0.1", p))))' $(PORT)); \
	echo "Serving the book at http://127.0.0.1:$$port and opening JupyterLab; Ctrl-C ends both."; \
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $$port >/dev/null 2>&1 & \
	trap "kill $$!" EXIT INT TERM; \
	$(LAB)

test: .venv/.test  ## all tests and every notebook, on the CPU
	@$(BIN)/workbook data fetch
	CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest $(TESTS)

book: .venv/.workbook  ## build the book into _build/html; a warning is an error
	@$(BIN)/jupyter-book build . -W --keep-going -n -q

lab: .venv/.workbook  ## open JupyterLab at chapter 00
	$(LAB)

lint: .venv/.test  ## style and layers
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/lint-imports

bench: .venv/.test  ## times and sizes of this tree on this machine
	$(BIN)/workbook data fetch
	$(BIN)/workbook bench cpu
	@git ls-files -z | xargs -0 du -cb | awk 'END{printf "tracked files: %.2f MiB\n", $$1 / 2^20}'

clean:  ## remove the environment, the built book and the results
	rm -rf .venv _build $(RESULTS)

# One stamp for each set of packages, so that a second run installs nothing.
.venv/.python:
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); \
	  ok or print("error: Python %d.%d found; the notebooks need 3.11, 3.12 or 3.13. Install one, then: make workbook PYTHON=python3.12" % sys.version_info[:2]); \
	  sys.exit(not ok)'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.torch: .venv/.python
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@touch $@

.venv/.workbook: .venv/.torch pyproject.toml env/local/constraints.txt
	@echo "Installing what the notebooks and the book need: a minute or two, and quiet"
	$(PIP) --editable ".[workbook,book]"
	@touch $@

.venv/.test: .venv/.workbook
	$(PIP) --editable ".[workbook,book,test]"
	@touch $@
