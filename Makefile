# `make run` serves the quickstart here; `make test` runs all tests but the end-to-end ones. Both set everything up.
SHELL := /bin/bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROMPT ?= Tell me a short story about a fox.
RUN_FLAGS := --ask "$(PROMPT)" $(if $(ONCE),--once)

.PHONY: help setup run test clients check lint-shell lint-chart vet docs audit fuzz format images chart e2e e2e-full pictures cluster-up cluster-down requirements client-requirements dist release-check
help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(VENV)/.installed  ## a virtual environment with everything pinned

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@echo "== installing the pinned requirements into $(VENV) (torch is large: one to five minutes)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@[ -x $(BIN)/uv ] || $(BIN)/pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

run: setup  ## serve examples/quickstart.yaml on this machine (ONCE=1: one answer, then end)
	@echo "== serving examples/quickstart.yaml"
	@$(BIN)/pagoda run examples/quickstart.yaml $(RUN_FLAGS)

test: setup  ## all tests but the end-to-end ones
	@echo "== the test control plane, helm and promtool (the first build takes about ten minutes)"
	@e2e/cluster/build.sh test
	@echo "== tests"
	@$(BIN)/python -m pytest -q -m "not full"

clients: setup  ## every client library of docs/how-to/clients.md against the sample model (make test has the light ones)
	@$(BIN)/python -m pytest -q tests/clients

check: setup  ## lint, formatting, types, import rules, generated files, shell, chart, Go, the docs' links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pagoda crds --check
	@$(MAKE) --no-print-directory lint-shell lint-chart vet docs

SCRIPTS = $(filter-out %.template,$(shell grep -rlzP --exclude-dir=node_modules '\A\#!.*[/ ](ba)?sh\n' .ci bench e2e helm server_image))
lint-shell: setup
	$(BIN)/shellcheck $(SCRIPTS)

CLUSTER_HOME ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pagoda-cluster
lint-chart:
	@e2e/cluster/build.sh helm
	$(CLUSTER_HOME)/bin/helm lint --strict helm/pagoda

# Those that hold all of Kubernetes take minutes to vet: `make vet GO_MODULES=e2e/cluster/build/kube` after a change there.
SLOW_TO_VET := %/kube %/coredns
GO_MODULES  ?= $(filter-out $(SLOW_TO_VET),$(patsubst %/go.mod,%,$(shell find bench e2e tests -name go.mod)))
vet:
	@for module in $(GO_MODULES); do echo "go vet $$module"; (cd $$module && CGO_ENABLED=0 GOFLAGS=-trimpath go vet ./...) || exit 1; done

docs: setup  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

ADVISORIES := https://api.osv.dev
audit: setup  ## known vulnerabilities of what the images are built from (says so where no advisories can be reached)
	@curl -sS -m 10 -o /dev/null $(ADVISORIES) || { echo "== not audited: $(ADVISORIES) cannot be reached"; exit 0; }; \
	$(BIN)/uv tool run pip-audit==2.10.1 --vulnerability-service osv --strict --disable-pip --require-hashes \
	  $(patsubst %,-r requirements/%.txt,control server build)

MINUTES ?= 10
FUZZED   = $$(grep -rlE '@given|RuleBasedStateMachine' tests)
fuzz: setup  ## property tests, again and again with new inputs (MINUTES=10)
	@end=$$((SECONDS + 60 * $(MINUTES))); while [ $$SECONDS -lt $$end ]; do \
	  $(BIN)/python -m pytest -q -p no:cacheprovider --hypothesis-seed=$$RANDOM $(FUZZED) || exit 1; done

format: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

images:  ## both images (REGISTRY=registry.example.com/team PUSH=1; more: server_image/build-images.sh)
	@server_image/build-images.sh

HELM ?= $(or $(shell command -v helm),$(CLUSTER_HOME)/bin/helm)
CHART_VERSION = $(shell sed -n 's/^version: //p' helm/pagoda/Chart.yaml)
chart:  ## the chart as dist/pagoda-VERSION.tgz (REGISTRY=registry.example.com/team PUSH=1: to oci://REGISTRY/charts)
	@[ -z "$(PUSH)" ] || [ -n "$(REGISTRY)" ] || { echo "PUSH is set and REGISTRY is not: say where to" >&2; exit 1; }
	@[ -x "$(HELM)" ] || e2e/cluster/build.sh helm
	@$(HELM) package --destination dist helm/pagoda
	@[ -z "$(PUSH)" ] || $(HELM) push $(HELM_FLAGS) dist/pagoda-$(CHART_VERSION).tgz oci://$(REGISTRY)/charts

cluster-up:  ## a real Kubernetes in namespaces of its own
	@e2e/cluster/build.sh
	@e2e/cluster/cluster-up.sh

cluster-down:  ## end it; nothing is left
	@e2e/cluster/cluster-down.sh

STORIES ?= e2e
e2e: setup $(if $(CLUSTER),,cluster-up)  ## the user stories on a real cluster (CLUSTER=current: the kubeconfig's)
	@$(BIN)/python -m pytest -q -s -m "not full" $(STORIES)

e2e-full: setup  ## the same, the pages of docs, and the stories that need Prometheus, Jaeger or five quiet minutes
	@[ -n "$(CLUSTER)" ] || { e2e/cluster/build.sh full && e2e/cluster/cluster-up.sh; }
	@$(BIN)/python -m pytest -q -s $(STORIES)

PICTURES ?= docs/images
pictures: setup  ## the dashboards, the tool's screens and the page to chat, drawn and looked over (PICTURES=docs/images; five to ten minutes)
	@e2e/cluster/build.sh pictures
	@PICTURES=$(PICTURES) $(BIN)/python -m pytest -q -s e2e/dashboards/test_pictures.py tests/contract/page/test_run.py

requirements:  ## pin the requirements again
	for extra in control:--extra=s3 server:--extra=server "dev:--extra=server --extra=s3 --extra=dev"; do \
	  $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    pyproject.toml $${extra#*:} -o requirements/$${extra%%:*}.txt; done
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  requirements/build.in -o requirements/build.txt

client-requirements: setup  ## pin the client libraries of tests/clients again, and write their table
	@for client in requirements/clients/*.in; do \
	  $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    $$client -o $${client%.in}.txt || exit 1; done
	@for client in requirements/clients/*/; do (cd $$client && npm update --save --package-lock-only --ignore-scripts) || exit 1; done
	$(BIN)/python -m tests.clients.table

dist: setup  ## wheel, source distribution, .deb and krew plugin, in dist/
	$(BIN)/uv build --quiet --clear --out-dir dist --require-hashes --build-constraints requirements/build.txt
	$(BIN)/python .ci/packages.py dist/pagoda-*-py3-none-any.whl dist

release-check: setup  ## what must hold before a tag (TAG=v0.1.0): docs/releasing.md
	$(BIN)/python .ci/release.py $(TAG)
	@$(MAKE) --no-print-directory check dist
	$(CLUSTER_HOME)/bin/helm package --destination dist helm/pagoda
