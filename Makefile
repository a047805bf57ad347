# SPDX-License-Identifier: Apache-2.0
# The commands of everyday work. `make` lists them.
#
# They use $PYTHON, else the active virtual environment, else .venv, which `make venv` makes.

PYTHON ?= $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV)/bin/python,.venv/bin/python)
READY = $(filter .venv/bin/python,$(PYTHON))
BIN = $(dir $(shell command -v $(PYTHON)))
JOBS := $(shell nproc)
T ?= http1
S ?= 60
B ?= selection
ARGS ?=

# Each mode builds in a folder of its own, so that none takes another's objects for its own.
BUILD = FASTLB_BUILD=$(1) $(PYTHON) setup.py -q
INTO = --build-temp build/$(1)/temp --build-lib build/$(1)/lib
# The suite over a build that lies outside of the clone; -P, or the clone's own fastlb would come first.
SUITE = FASTLB_BUILD=$(1) PYTHONPATH=$(CURDIR)/build/$(1)/lib PYTHONMALLOC=malloc $(PYTHON) -P -m pytest
# A preloaded sanitizer is in the children too, whose output tests read: reports go to files. UBSan has no file for
# its last words beside ASan, so pytest leaves descriptor 2 alone (--capture=sys).
REPORTS = $(CURDIR)/build/$(1)/reports

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.venv/bin/python:
	python3 -m venv .venv
	.venv/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); q = p['project']; \
	  print(*p['build-system']['requires'], *q['dependencies'], *sum(q['optional-dependencies'].values(), []), sep='\n')" \
	  | .venv/bin/pip install -q -r /dev/stdin

venv: .venv/bin/python  ## .venv with what building, testing and linting need

build: $(READY)  ## in place, -O0: for the edit loop
	$(call BUILD,debug) build_ext --inplace -j $(JOBS) $(call INTO,debug)

release: $(READY)  ## in place, as it is shipped
	$(call BUILD,release) build_ext --inplace -j $(JOBS) $(call INTO,release)

test: build  ## unit, native and wire tests over the build in place
	$(PYTHON) -m pytest $(ARGS)

lint: build  ## ruff, cython-lint, mypy, stubtest
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	git ls-files -z --cached --others --exclude-standard '*.pyx' '*.pxd' \
	  | PATH="$(BIN):$$PATH" xargs -0 $(PYTHON) -m cython_lint.cython_lint
	$(PYTHON) -m mypy
	PYTHONPATH=. $(PYTHON) -m mypy.stubtest fastlb._core

asan: $(READY)  ## the tests under AddressSanitizer, LeakSanitizer and UBSan
	$(call BUILD,asan) build $(call INTO,asan)
	rm -rf $(call REPORTS,asan) && mkdir -p $(call REPORTS,asan)
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" \
	  ASAN_OPTIONS=detect_leaks=1:leak_check_at_exit=0:detect_stack_use_after_return=1:log_path=$(call REPORTS,asan)/asan \
	  UBSAN_OPTIONS=print_stacktrace=1 \
	  LSAN_OPTIONS=suppressions=$(CURDIR)/tests/data/lsan.supp:print_suppressions=0 \
	  $(call SUITE,asan) --capture=sys $(ARGS); code=$$?; $(call SHOW,asan)

tsan: $(READY)  ## the tests under ThreadSanitizer
	$(call BUILD,tsan) build $(call INTO,tsan)
	rm -rf $(call REPORTS,tsan) && mkdir -p $(call REPORTS,tsan)
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" \
	  TSAN_OPTIONS=exitcode=0:history_size=4:log_path=$(call REPORTS,tsan)/tsan \
	  $(call SUITE,tsan) --capture=sys $(ARGS); code=$$?; $(call SHOW,tsan)

SHOW = if [ -n "$$(ls $(call REPORTS,$(1)))" ]; then cat $(call REPORTS,$(1))/*; exit 1; fi; exit $$code

cov: $(READY)  ## lines of the core that the tests reach, part by part
	$(call BUILD,gcov) build $(call INTO,gcov)
	find build -name '*.gcda' -delete
	$(call SUITE,gcov) $(ARGS); code=$$?; $(PYTHON) -m gcovr --root . --filter fastlb/ --include-internal-functions --merge-mode-functions merge-use-line-0 \
	  --gcov-ignore-errors all --gcov-ignore-parse-errors all build/gcov build/native-gcov-*; exit $$code

fuzz: $(READY)  ## T=http1 S=60: feed one parser for S seconds
	$(PYTHON) -m tests.fuzz.$(T) --seconds $(S)

bench: release  ## B=selection: one file of benchmarks/
	$(PYTHON) -m pytest benchmarks/bench_$(B).py --benchmark-enable --benchmark-only $(ARGS)

compare: release  ## fastlb beside HAProxy and nginx; ARGS=--smoke for a short run
	$(PYTHON) -m benchmarks.compare $(ARGS)

clean:  ## remove what builds and runs made
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find fastlb tests benchmarks \( -name '*.so' -o -name '*.pyc' -o -name '*.gcda' -o -name '*.gcno' \) -delete

.PHONY: help venv build release test lint asan tsan cov fuzz bench compare clean
.DEFAULT_GOAL := help
