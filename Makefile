# The commands of this project; `make help` lists them. Each works on its own in a fresh clone of Debian 12.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
DESTDIR ?=
PREFIX ?= /usr/local

.PHONY: help run demo build simulate test interop bench record-profile bench-adaptive campaign-presence campaign-reload campaign-store campaign-kill campaign-metamorphic campaign-rate-limit soak scan-tls format install clean sanitize fuzz docs deps

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install what building and testing needs (apt-get; asks for nothing)
	@scripts/install-deps build test

build: ## build the programs into build/release/bin
	@scripts/install-deps build
	@scripts/build $(PRESET) dao daoctl dao-upstream

run: build ## build, then serve the demo: DAO before three upstreams, with live figures
	@$(BUILD)/bin/dao demo

demo: run

simulate: ## every scenario of configs/scenarios in virtual time; fails if an expectation is not met
	@scripts/install-deps build
	@scripts/build $(PRESET) dao
	@$(BUILD)/bin/dao simulate $(SIMULATE_ARGS) configs/scenarios/*.toml

test: ## build and run everything a change must pass (unit, behaviour, generated docs, format)
	@scripts/install-deps build test
	@scripts/test $(PRESET)

sanitize: ## unit and behaviour tests under ASan+UBSan (-O0, -O2) and TSan
	@scripts/install-deps build test
	@scripts/sanitize

interop: ## WebSocket endpoints of others through DAO: python3-websockets, npm's ws, Chromium over HTTP/2 (needs npm)
	@scripts/install-deps build interop
	@scripts/interop

fuzz: ## every fuzz target for FUZZ_SECONDS (30) each
	@scripts/install-deps build test
	@scripts/fuzz

bench: ## DAO beside nginx, HAProxy, h2o and Caddy on this machine
	@scripts/install-deps build bench
	@scripts/build release dao dao-upstream dao_load bench_backend ws_echo tls_load
	@/usr/bin/python3 bench/run.py $(BENCH_ARGS)

record-profile: ## record anew the profile that release builds are optimised by (CONTRIBUTING.md says when)
	@scripts/install-deps build bench
	@scripts/record-profile

bench-adaptive: ## DAO beside HAProxy, nginx and Caddy when one of four servers misbehaves
	@scripts/install-deps build bench
	@scripts/build release dao dao-upstream dao_load
	@scripts/in-memory /usr/bin/python3 bench/adaptive/run.py $(BENCH_ARGS)

campaign-presence: ## randomised faults of upstreams; every presence verdict scored against the truth
	@scripts/install-deps build test
	@scripts/build release dao dao-upstream dao_load
	@DAO_TEST_TIME_SCALE=4 scripts/in-memory /usr/bin/python3 tests/campaigns/presence/run.py $(CAMPAIGN_ARGS)

campaign-reload: ## 1000 random reloads under load of every kind; nobody may notice
	@scripts/install-deps build test
	@scripts/build release dao dao-upstream
	@scripts/in-memory /usr/bin/python3 tests/campaigns/reload/reload_campaign.py $(CAMPAIGN_ARGS)

campaign-store: ## kill -9 at 500 random moments under writes to the store; it must be whole each time
	@scripts/install-deps build test
	@scripts/build release store_writer
	@/usr/bin/python3 tests/campaigns/store/run.py $(CAMPAIGN_ARGS)

campaign-kill: ## kill -9 of DAO at KILLS (500) random moments under traffic and reloads; the next one must go on
	@scripts/install-deps build test
	@scripts/build release dao dao-upstream
	@/usr/bin/python3 tests/campaigns/kill/kill_campaign.py --kills $${KILLS:-500} $(CAMPAIGN_ARGS)

campaign-metamorphic: ## 1000 seeded transitions of each kind: how often a worse configuration is found, and an equal one taken back
	@scripts/install-deps build test
	@scripts/build release dao_liminal_test
	@DAO_METAMORPHIC_TRIALS=$${TRIALS:-1000} build/release/tests/dao_liminal_test --gtest_brief=1 --gtest_filter='TransitionTrials.*'

campaign-rate-limit: ## a minute at three times a rate limit, on two workers: within 1 % of it
	@scripts/install-deps build test
	@scripts/build release dao
	@DAO_RATE_LIMIT_SECONDS=60 /usr/bin/python3 -m pytest -q -s tests/behaviour/test_flow_access.py -k three_times

soak: ## ten minutes of load with faults; memory and descriptors must stay flat
	@scripts/install-deps build
	@scripts/build release dao dao-upstream dao_load bench_backend
	@/usr/bin/python3 bench/soak.py $(SOAK_ARGS)

scan-tls: ## testssl.sh looks at DAO's default TLS settings
	@scripts/install-deps build scan
	@scripts/build release dao dao-upstream
	@scripts/scan-tls build/release/bin/dao

format: ## reformat the sources
	@scripts/install-deps build test
	@git ls-files '*.cpp' '*.h' | xargs clang-format-19 -i

docs: build ## regenerate the reference pages from the tables in the code
	@scripts/generate-docs $(BUILD)/bin/dao

install: build ## install dao, its systemd unit and an example configuration (DESTDIR, PREFIX)
	@DESTDIR=$(DESTDIR) cmake --install $(BUILD) --prefix $(PREFIX)

clean: ## remove build results
	@rm -rf build
