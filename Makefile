# Everything a contributor or an operator does with this repository. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
STAGE ?= local
ROWS ?= 5000
FILE ?=
JOB ?= transactions
PORT ?=
SEED ?=
SUITE ?=
VERSION ?=

BIN := .venv/bin
STAMP := .venv/.installed
# Where checks keep the provider, so that nothing is left in infra/.
CHECK_DATA := $(CURDIR)/.tally/check
# The proxy of `make chaos` has an environment of its own: it pins older versions of what the other tools need.
CHAOS_ENV := .tally/check/mitmproxy
CHAOS_STAMP := $(CHAOS_ENV)/.installed
# Likewise checkov.
CHECKOV_ENV := .tally/check/checkov
CHECKOV_STAMP := $(CHECKOV_ENV)/.installed
# Likewise the site's generator.
SITE_ENV := .tally/check/sphinx
SITE_STAMP := $(SITE_ENV)/.installed
# One download of the provider for all; the lock files of modules are not kept, so none can be broken.
CHECK_ENV := TF_PLUGIN_CACHE_DIR="$(CHECK_DATA)/plugins" TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE=true
# The tools that write parts of the pages; with --check each only compares.
GENERATED := terraform_readmes schemas cli_reference settings_page pictures price_table operator_rights
# Tests on stages wait more than they work: three files at a time, which tests/conftest.py has in their order. With four
# on two processors rows were slow enough to be split, and some waits were over.
DEPLOYED := $(BIN)/pytest -q --numprocesses 3 --dist loadfile --no-loadscope-reorder
# What CI runs, several at once in this order: what takes longest begins first, and has priority.
PARTS := test-deployed test-unit terraform types tf-scan site generated-check lint format-check

# Terraform's garbage collector takes a quarter of its time, and there is memory enough.
export GOGC ?= 400

.PHONY: help venv demo chaos model conformance bench bench-scale bench-contention up down test test-unit test-deployed test-e2e test-iam test-chaos check format format-check lint types docs generated generated-check site release terraform tf-fmt tf-test tf-scan iam-check lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  Variables: STAGE=$(STAGE) ROWS=$(ROWS) FILE= JOB=$(JOB) PORT= PYTHON=$(PYTHON)"

venv: $(STAMP) ## Install the tools into .venv (needs Python 3.11 or newer)

$(STAMP): requirements/dev.txt requirements/axe.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or name one with PYTHON="; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1): Python 3.11 or newer is needed, name one with PYTHON="; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --requirement requirements/axe.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

demo: venv ## Bring a local stage up, process a sample (ROWS) or your FILE for a JOB, watch, audit; leave its console running
	@$(BIN)/tally demo --stage "$(STAGE)" --rows "$(ROWS)" --job "$(JOB)" $(if $(FILE),--file "$(FILE)") $(if $(PORT),--port "$(PORT)")

chaos: venv $(CHAOS_STAMP) ## Prove exactness under injected faults (ROWS, SEED), beside eight other counters
	@$(BIN)/python -m tests.chaos --rows "$(ROWS)" $(if $(SEED),--seed "$(SEED)")

$(CHAOS_STAMP) $(CHECKOV_STAMP) $(SITE_STAMP): .tally/check/%/.installed: requirements/%.txt
	@mkdir -p $(@D)
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --requirement $<
	@touch $@

model: venv ## Explore every schedule of the protocol within bounds, and print the kill table (minutes)
	@$(BIN)/python -m tests.model

conformance: venv ## Ask a public suite how the local AWS differs from DynamoDB; writes docs/local-aws.md (git, Node.js)
	@$(BIN)/python -m tools.conformance $(if $(SUITE),--suite "$(SUITE)")

bench: venv ## Measure Tally against its limits and the textbook (about ten minutes; nothing else should run)
	@$(BIN)/python -m bench

bench-scale: venv ## Measure how a million rows, and their results, compare with ten thousand (half an hour)
	@$(BIN)/python -m bench --part speed --part exports --rows 10000 --rows 1000000

bench-contention: venv ## Simulate finishers that meet on counters, and writers of a small table (seconds, no AWS)
	@$(BIN)/python -m bench.contention
	@$(BIN)/python -m bench.pacing
	@$(BIN)/python -m bench.capacity

up: venv ## Bring a local stage up, or bring it up to date
	@$(BIN)/tally up --stage "$(STAGE)" $(if $(PORT),--port "$(PORT)")

down: venv ## Stop a local stage and remove all of it
	@$(BIN)/tally down --stage "$(STAGE)"

test: test-unit test-deployed ## Every test

test-unit: venv ## Tests that need neither Terraform nor a local AWS
	@$(BIN)/pytest -q --numprocesses 2 --dist worksteal -m "not e2e and not chaos and not terraform"

test-deployed: venv $(CHAOS_STAMP) ## Tests on stages: test-e2e and test-chaos together (minutes)
	@$(DEPLOYED) -m "e2e or chaos"

test-e2e: venv ## Tests that apply, deploy and process on a local AWS (minutes)
	@$(DEPLOYED) -m e2e

test-iam: venv ## Tests of least privilege, on a local AWS that enforces it (part of test-e2e)
	@$(BIN)/pytest -q -m e2e tests/e2e/test_iam.py

test-chaos: venv $(CHAOS_STAMP) ## Tests under injected faults with a fixed seed (minutes)
	@$(BIN)/pytest -q -m chaos

check: venv ## All that CI runs, several parts at once; what each writes is in .tally/check/logs
	@$(BIN)/python -m tools.check $(PARTS)

format: venv ## Format Python and Terraform
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix --quiet || true
	@terraform fmt -recursive infra

format-check: venv
	@$(BIN)/ruff format --check

lint: venv ## Lint
	@$(BIN)/ruff check

types: venv ## Check types
	@$(BIN)/mypy

tf-fmt:
	@command -v terraform >/dev/null || { echo "terraform not found: https://developer.hashicorp.com/terraform/install (1.9 or newer)"; exit 1; }
	@terraform fmt -check -recursive infra

docs: venv generated site ## Write what is generated in the pages, and build the site of all pages into build/site

generated: venv ## Write what is generated in the pages: commands, settings, schemas, modules, pictures, prices
	@for tool in $(GENERATED); do $(BIN)/python -m tools.$$tool || exit 1; done

generated-check: venv
	@for tool in $(GENERATED); do $(BIN)/python -m tools.$$tool --check || exit 1; done

site: $(SITE_STAMP) ## Build the site strictly: a broken link, or a page that the menu lacks, fails
	@$(SITE_ENV)/bin/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going -c docs/site -d build/doctrees . build/site

# One after the other: Terraform does not lock the folder in which they share the provider.
terraform: tf-fmt tf-test iam-check ## All checks of infra/ that Terraform makes

tf-test: venv ## Validate and test the root module, and each module and example alone, with a mocked provider
	@$(BIN)/python -m tools.terraform_tests

iam-check: venv ## Compare the policies with what AWS knows, and with what the functions call
	@mkdir -p "$(CHECK_DATA)/plugins"
	@$(CHECK_ENV) $(BIN)/pytest -q -m terraform

tf-scan: $(CHECKOV_STAMP) ## Scan the root module, its modules and their examples with checkov
	@$(CHECKOV_ENV)/bin/checkov --directory infra --framework terraform --skip-download --quiet --compact

lock: venv ## Pin requirements/dev.in into requirements/dev.txt (needs uv)
	for name in dev mitmproxy checkov sphinx; do \
	  uv pip compile --universal --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 \
	    requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

release: venv ## Cut VERSION here: check it, close the changelog, commit and tag (docs/releasing.md)
	@test -n "$(VERSION)" || { echo "Which one? make release VERSION=1.2.3"; exit 1; }
	@$(BIN)/python -m tools.release "$(VERSION)"

clean: ## Stop every local stage; remove what was built, .venv too
	@test ! -x $(BIN)/tally || $(BIN)/tally down --all
	rm -rf .tally .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage build *.egg-info
	find infra -name .terraform.lock.hcl -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
