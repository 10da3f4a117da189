# What one does here; `make` alone lists it. Rust 1.95 is needed, for a control plane of its own also Go 1.26.
.DEFAULT_GOAL := help
CARGO ?= cargo
BIN := bitbucket-connection-operator
# Tests mostly wait for servers: more of them than cores.
THREADS ?= 12
CONNECTIONS ?= 10000
SECONDS ?= 60
OBJECTS ?= 10000
HISTORIES ?= 2000
# Where cargo installs it, if it isn't there yet.
MDBOOK ?= $(or $(shell command -v mdbook),$(or $(CARGO_HOME),$(HOME)/.cargo)/bin/mdbook)
IMAGE ?= localhost/$(BIN):dev

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## show the main job: control plane, stand-ins, a connection from token to rotation (KEEP=1 keeps it running, CONTEXT=name uses that cluster)
	@echo "== building the demo and the operator (the first time takes minutes)"
	@KEEP=$(KEEP) CONTEXT=$(CONTEXT) $(CARGO) run --example demo

demo-test: controlplane ## play the demo on a cluster that is there already, and see that nothing is left of it (minutes)
	$(CARGO) test --test cluster demo -- --ignored

test: lint tools controlplane ## check everything: format, lints, then unit, command line and cluster tests
	@echo "== tests: unit, command line, cluster"
	RUST_TEST_THREADS=$(THREADS) $(CARGO) test --workspace --no-fail-fast

simulate: ## a day of 10,000 connections at the limits of both services, as a table by hours (minutes; CONNECTIONS=…)
	@echo "== simulation: building with optimizations"
	CONNECTIONS=$(CONNECTIONS) $(CARGO) test --profile simulate --test in_process day -- --nocapture

histories: ## play HISTORIES=2000 random histories of people, outages and crashes against a model, HISTORIES_SEED=0 (minutes)
	@echo "== histories: building with optimizations"
	HISTORIES=$(HISTORIES) $(CARGO) test --profile simulate --test in_process histories -- --nocapture

fuzz: ## look for inputs that break what must always hold, SECONDS=60 for each of TARGETS (nightly Rust, cargo-fuzz)
	@fuzz/run.sh $(SECONDS) $(TARGETS)

proof: controlplane ## try all that must hold in thousands of ways: crashes, faults, histories, misuse; one table (minutes)
	@tests/proof.sh

mutants: ## change the rules one by one and see whether a test notices (hours; FILES=src/domain/expiry.rs)
	@tests/mutants.sh $(FILES)

bench: ## measure the program as it is shipped: throughput, memory, CPU, calls (minutes; OBJECTS=…, BENCH="--compare old.json")
	@echo "== benchmark: building the operator as it is shipped, and what measures it"
	image/root.sh
	$(CARGO) run --profile simulate -p bench -- --program target/image/root/$(BIN) --objects $(OBJECTS) $(BENCH)

test-all: test demo-test simulate histories deny image-test ## `make test`, and what takes longer: a day, histories, dependencies, the image

lint: ## check format and lints
	@echo "== format"
	$(CARGO) fmt --all --check
	@echo "== lints"
	$(CARGO) clippy --workspace --all-targets -- -D warnings

crds: ## write the CRDs anew after a change of the kinds: crds/, and those in the chart
	$(CARGO) run --quiet --bin $(BIN) -- crds --output-dir crds
	$(CARGO) run --quiet --bin $(BIN) -- crds --output-dir charts/$(BIN)/files/crds

docs: ## write the generated pages anew (read the difference), then make the site, target/book, and check its links (installs mdbook)
	UPDATE_DOCS=1 $(CARGO) test --quiet --lib words
	UPDATE_DOCS=1 $(CARGO) test --quiet --test in_process faults::while_it_lasts
	UPDATE_DOCS=1 $(CARGO) test --quiet --test docs fields
	@$(MDBOOK) --version >/dev/null 2>&1 || $(CARGO) install --locked mdbook
	$(MDBOOK) build
	$(CARGO) test --quiet --test docs

screens: controlplane ## write anew what people see of each failure in docs/troubleshooting.md, to be read (a minute)
	UPDATE_DOCS=1 $(CARGO) test --quiet --test cluster stranger

pictures: tools ## take the pictures in docs/pictures anew after a change of the page or the calendar (needs Chromium and npm)
	UPDATE_DOCS=1 $(CARGO) test --quiet --test page pictures

dashboard: tools ## take the picture of the Grafana dashboard anew after a change of it (Chromium, Prometheus, half a gigabyte from npm; minutes)
	tests/page/dashboard/install.sh
	$(CARGO) test --quiet --test in_process a_day_for_the_picture -- --ignored
	UPDATE_DOCS=1 $(CARGO) test --quiet --test page the_dashboard

recording: controlplane ## play the demo and record it anew: docs/pictures/demo.cast, demo.svg (a minute; for asciinema, and for pages)
	@mkdir -p target
	CLICOLOR_FORCE=1 COLUMNS=100 $(CARGO) run --quiet --example demo > target/demo.txt
	RECORDING=$(CURDIR)/target/demo.txt UPDATE_DOCS=1 $(CARGO) test --quiet --test docs recording

chart: ## write the chart's README.md and deploy/ anew after a change of the chart (builds helm where none is found: minutes, once)
	UPDATE_DOCS=1 $(CARGO) test --quiet --test cluster -- chart::generated

deny: ## check licenses, duplicates and sources of all dependencies (installs cargo-deny where it is not there)
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --workspace check licenses bans sources

sbom: ## write target/image/sbom.cdx.json, what the binary is made of, in CycloneDX (installs cargo-cyclonedx)
	@$(CARGO) cyclonedx --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-cyclonedx
	image/sbom.sh

image: ## pack the operator into an image, IMAGE=name:tag, with buildah, podman or docker
	image/root.sh
	image/build.sh $(IMAGE)

image-test: ## check the image: runs as in a pod, is the same to the byte wherever it is built (minutes)
	image/test.sh

# Before the tests, not while they wait for servers: building takes all the processors.
controlplane: ## find or build what the tests need: control plane, helm, kstatus (minutes, once)
	$(CARGO) run --quiet -p controlplane -- build
	$(CARGO) run --quiet -p controlplane -- helm
	$(CARGO) run --quiet -p controlplane -- judges

tools: ## find or get Prometheus, Chromium, mdbook and others for the tests that need them (Debian, npm, crates.io; skipped elsewhere)
	@tests/observability/install-tools.sh
	@tests/page/install-tools.sh
	@$(MDBOOK) --version 2>/dev/null || { echo "tools: building mdbook"; $(CARGO) install --quiet --locked mdbook; } || \
		echo "tools: mdbook can't be had; whether the pages make a site is not tested"

.PHONY: help demo demo-test test proof mutants test-all simulate histories bench fuzz lint crds docs screens pictures dashboard recording chart deny sbom image image-test controlplane tools
