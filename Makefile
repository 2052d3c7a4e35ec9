# `make run` and `make test` need Debian with Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Exact versions for every install; pyproject.toml says which ranges are meant to work.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# For another machine than this one: make bundle PLATFORM=manylinux_2_28_aarch64
PLATFORM ?=
BUNDLE := dist/bundle

.PHONY: run test chaos test-systemd check format bench lock bundle install clean

run: $(VENV)/demo
	@$(BIN)/uicps-agent demo

test: $(VENV)/dev
	@.ci/need mosquitto mosquitto
	@.ci/need mbpoll mbpoll
	$(BIN)/python -m pytest

# Ten minutes of everything going wrong at once, with another seed each time.
chaos: $(VENV)/dev
	@.ci/need mosquitto mosquitto
	UICPS_CHAOS_S=$${UICPS_CHAOS_S:-600} UICPS_CHAOS_SEED=$${UICPS_CHAOS_SEED:-0} $(BIN)/python -m pytest -n 0 -s tests/chaos

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A folder that installs or upgrades a box without any network: docs/operations.md.
bundle: $(BIN)/python
	@rm -rf $(BUNDLE) build && mkdir -p $(BUNDLE)/wheels
	@echo "gathering wheels in $(BUNDLE) ..."
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w $(BUNDLE)/wheels .
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check -c constraints.txt --only-binary=:all: \
	    $(if $(PLATFORM),--platform $(PLATFORM) --platform $(subst 2_28,2_17,$(PLATFORM)) --platform $(subst manylinux_2_28,manylinux2014,$(PLATFORM)) --python-version 3.11) \
	    -d $(BUNDLE)/wheels pip $(BUNDLE)/wheels/uicps_agent-*.whl
	@cd $(BUNDLE)/wheels && sha256sum *.whl > SHA256SUMS
	@cp systemd/install.sh $(BUNDLE)/install.sh
	@echo "$(BUNDLE): $$(du -sh $(BUNDLE) | cut -f1); on the box: sudo ./install.sh"

install: bundle
	$(BUNDLE)/install.sh

# Boots Debian 12 in a container and does there what a user would. Needs root, debootstrap, systemd-container.
test-systemd: $(VENV)/dev
	$(BIN)/python -m pytest -n 0 -m systemd tests/systemd

# Side by side with the incumbent; see bench/README.md.
bench: $(VENV)/demo
	bench/compare

# Renew constraints.txt with the newest versions inside the ranges.
lock:
	rm -rf $(VENV)/lock && $(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet -e '.[demo,dev]'
	$(VENV)/lock/bin/python -m pip freeze --exclude-editable | LC_ALL=C sort -f > constraints.txt
	rm -rf $(VENV)/lock

clean:
	rm -rf $(VENV) .demo .cache build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0])'
	@# Debian ships venv apart from Python; without it `python3 -m venv` leaves half a folder behind.
	@$(PYTHON) -m venv $(VENV) >/dev/null || { rm -rf $(VENV); .ci/need no-such-command python3-venv; $(PYTHON) -m venv $(VENV); }

$(VENV)/demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV) ..."
	@$(PIP) -e '.[demo,dev]'
	@touch $@ $(VENV)/demo
