# hafleet: the commands that people and CI use. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CARGO ?= cargo
# A session may keep builds elsewhere: CARGO_TARGET_DIR is respected everywhere.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TOOLS := .tools
PROFILE ?= dev
PROFILE_DIR := $(if $(filter release,$(PROFILE)),release,debug)
HAFLEET := $(abspath $(TARGET_DIR))/$(PROFILE_DIR)/hafleet

# Programs and files that the build, the demo and the tests need, and the Debian and Ubuntu packages that have them.
# etcd's client compiles its protocol when it is built.
BUILD_PROGRAMS := cc:gcc protoc:protobuf-compiler /usr/include/google/protobuf/descriptor.proto:libprotobuf-dev
RUN_PROGRAMS := $(BUILD_PROGRAMS) haproxy:haproxy iptables:iptables nft:nftables ip:iproute2
# The library that gives a process a wall clock of its own, where Debian and Ubuntu have it.
FAKETIME := /usr/lib/$(shell uname -m)-linux-gnu/faketime/libfaketimeMT.so.1:libfaketime
TEST_PROGRAMS := $(RUN_PROGRAMS) $(FAKETIME) etcd:etcd-server dockerd:docker.io openssl:openssl curl:curl python3:python3 knotd:knot

.PHONY: help
help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: demo
demo: deps build ## start a fleet of three on this machine; FOR=30s ends it by itself, NODES=5, DIR=somewhere
	@$(HAFLEET) demo $(if $(NODES),--nodes $(NODES)) $(if $(DIR),--dir $(DIR)) $(if $(FOR),--for $(FOR))

.PHONY: test
test: test-deps build ## run all tests (as root for those in network namespaces)
	@$(if $(filter 0,$(shell id -u)),,echo "not root: tests in network namespaces say so and are left out")
	HAFLEET_BIN=$(HAFLEET) HAFLEET_PYTHON=$(abspath $(TOOLS))/venv/bin/python scripts/run-tests

.PHONY: test-long
test-long: test-deps build ## the faults of names in DNS for as long as they would really last (15 minutes)
	HAFLEET_LONG=1 HAFLEET_BIN=$(HAFLEET) HAFLEET_PYTHON=$(abspath $(TOOLS))/venv/bin/python \
	  $(CARGO) nextest run --profile long -p hafleet-tests --test publication_faults --test publication_addresses \
	  --test publication_leaders

.PHONY: lint
lint: build-deps ## what CI asks for before the tests
	$(CARGO) fmt --all --check
	scripts/check-one-sdk
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) fmt --manifest-path tests/exhaustive/Cargo.toml --check
	$(CARGO) clippy --manifest-path tests/exhaustive/Cargo.toml --all-targets -- -D warnings

.PHONY: bench
bench: test-deps ## measure; ONLY=fleet, node, discovery, dns, cluster or questions for one group; writes bench-results.json
	$(CARGO) build --release -p hafleet-cli -p hafleet-tests
	HAFLEET_BIN=$(abspath $(TARGET_DIR))/release/hafleet $(abspath $(TARGET_DIR))/release/bench $(if $(ONLY),--only $(ONLY))

.PHONY: simulate
simulate: build-deps ## whole fleets under faults, by seed: SEEDS=100000 of them, FROM=0; ends with a line that counts them
	$(CARGO) run --quiet --release -p hafleet-simulation --bin simulate -- --seeds $(or $(SEEDS),10000) --from $(or $(FROM),0)

.PHONY: simulate-mutations
simulate-mutations: build-deps ## break one rule after the other on purpose, and see that the simulation notices: SEEDS=5000 each, FROM=0
	$(CARGO) run --quiet --release -p hafleet-simulation --bin simulate -- --flaws --seeds $(or $(SEEDS),5000) --from $(or $(FROM),0)

.PHONY: explore
explore: build-deps ## all that a small fleet can do; BOUNDS="--nodes 3 --claims 2 --writes 3 --depth 12" goes further
	$(if $(BOUNDS),$(CARGO) run --quiet --release --manifest-path tests/exhaustive/Cargo.toml -- $(BOUNDS),$(CARGO) test --manifest-path tests/exhaustive/Cargo.toml -- --nocapture)

.PHONY: soak
soak: test-deps build ## break a fleet at random for FOR=10m; SEED=n for the same faults again, NODES=5
	$(CARGO) build --profile $(PROFILE) -p hafleet-tests --bin soak
	HAFLEET_BIN=$(HAFLEET) $(abspath $(TARGET_DIR))/$(PROFILE_DIR)/soak $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) $(if $(NODES),--nodes $(NODES))

.PHONY: upgrade-test
upgrade-test: test-deps build ## replace the agents of revision FROM=… one by one by those of this one, under load
	HAFLEET_BIN=$(HAFLEET) scripts/test-upgrade $(FROM)

.PHONY: apply-test
apply-test: test-deps build ## apply one spec after the other, COUNT=1000 in a row, under load
	HAFLEET_BIN=$(HAFLEET) HAFLEET_APPLIES=$(or $(COUNT),1000) $(CARGO) test -p hafleet-tests --test trials -- --exact --nocapture applies_in_a_row

.PHONY: fuzz
fuzz: ## give the parsers random input, each for SECONDS=60; needs a nightly toolchain
	@scripts/run-fuzz $(or $(SECONDS),60)

.PHONY: build
build: build-deps ## build the command; PROFILE=release for the fast one
	@echo "building hafleet ($(PROFILE)); the first build compiles all dependencies and takes a few minutes"
	$(CARGO) build --profile $(PROFILE) -p hafleet-cli

.PHONY: manual
manual: build ## write the manual pages and shell completions to $(TARGET_DIR)/manual
	@mkdir -p $(TARGET_DIR)/manual
	@$(HAFLEET) man --dir $(TARGET_DIR)/manual
	@for shell in bash zsh fish; do $(HAFLEET) completions $$shell > $(TARGET_DIR)/manual/hafleet.$$shell; done
	@echo "manual pages and completions are in $(TARGET_DIR)/manual"

.PHONY: docs
docs: ## build the book into docs/book (installs mdbook with cargo if it is missing)
	@command -v mdbook >/dev/null || $(CARGO) install --locked mdbook
	mdbook build docs

.PHONY: build-deps
build-deps: ## install what the build needs and this machine lacks
	@scripts/install-missing $(BUILD_PROGRAMS)

.PHONY: deps
deps: ## install what the demo needs and this machine lacks
	@scripts/install-missing $(RUN_PROGRAMS)

.PHONY: test-deps
test-deps: ## install what the tests need and this machine lacks
	@scripts/install-missing $(TEST_PROGRAMS)
	@scripts/install-nextest
	@$(MAKE) --no-print-directory test-tools

.PHONY: test-tools
test-tools: $(TOOLS)/venv/.complete ## the Python client's environment in .tools/venv

$(TOOLS)/venv/.complete: tests/python/requirements.txt
	@scripts/install-python-tools $(TOOLS)/venv $<
	@touch $@

.PHONY: clean
clean: ## remove what was built and installed inside this directory
	$(CARGO) clean
	rm -rf $(TOOLS) docs/book bench-results.json
