# What one does here; `make` alone lists it. Rust 1.95 is needed, for a control plane of its own also Go 1.26.
.DEFAULT_GOAL := help
CARGO ?= cargo
BIN := bitbucket-connection-operator
# Tests mostly wait for servers: more of them than cores.
THREADS ?= 12
CONNECTIONS ?= 10000

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## show the main job: control plane, stand-ins, a connection from token to rotation (KEEP=1 keeps it running)
	@echo "== building the demo and the operator (the first time takes minutes)"
	@KEEP=$(KEEP) $(CARGO) run --example demo

test: lint tools ## check everything: format, lints, then unit, command line and cluster tests
	@echo "== tests: unit, command line, cluster (a control plane is built where none is found: minutes, once)"
	RUST_TEST_THREADS=$(THREADS) $(CARGO) test --workspace --no-fail-fast

simulate: ## a day of 10,000 connections at the limits of both services, as a table by hours (minutes; CONNECTIONS=…)
	@echo "== simulation: building with optimizations"
	CONNECTIONS=$(CONNECTIONS) $(CARGO) test --profile simulate --test in_process day -- --nocapture

test-all: test simulate ## all that is checked before a change is merged

lint: ## check format and lints
	@echo "== format"
	$(CARGO) fmt --all --check
	@echo "== lints"
	$(CARGO) clippy --workspace --all-targets -- -D warnings

crds: ## write crds/ anew after a change of the kinds
	$(CARGO) run --quiet --bin $(BIN) -- crds --output-dir crds

docs: ## write the generated pages anew: all messages, docs/conditions.md, docs/metrics.md (read the difference)
	UPDATE_DOCS=1 $(CARGO) test --quiet --lib words

controlplane: ## find or build the control plane that the cluster tests need
	$(CARGO) run --quiet -p controlplane -- build

tools: ## find or unpack Prometheus and promtool for the tests of alerts and dashboard (Debian; skipped elsewhere)
	@tests/observability/install-tools.sh

.PHONY: help demo test test-all simulate lint crds docs controlplane tools
