# Chunktide. `make demo` and `make test` do all their own set-up.
# Everything that is fetched lies in .cache, pinned by version and SHA-256.

# The Go that go.mod names is fetched where an older one is installed, also where
# a distribution switched that off; set GOTOOLCHAIN=local to build with what is
# there (Go 1.26 or later).
export GOTOOLCHAIN ?= auto

SHELL   := /bin/sh
BIN     := bin/chunktide
CACHE   := $(CURDIR)/.cache
TOOLS   := $(CACHE)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOFILES := $(shell find . -name '*.go' -not -path './.cache/*')

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build setup ## the whole pipeline on this machine, on real text with a real model (ARGS=--keep: with its console)
	$(BIN) demo $(ARGS)

.PHONY: test
test: setup precisions setup-real setup-kubernetes ## every test, with a real Kafka broker and a real Redis
	tools/test.sh

.PHONY: build
build: $(BIN) ## compile the binary to bin/chunktide (TAGS=hftokenizers: for BPE and Unigram models too)

# TAGS are Go's build tags; bin/.tags is younger than the binary if it was built
# with others.
TAGS ?=
$(BIN): $(GOFILES) go.mod go.sum configs/reference.yaml bin/.tags $(if $(findstring hftokenizers,$(TAGS)),tokenizers)
	go build -trimpath -tags "$(TAGS)" -ldflags "-s -w -X main.version=$(VERSION)" -o $@ ./cmd/chunktide

.PHONY: FORCE
bin/.tags: FORCE
	@mkdir -p bin
	@echo "$(TAGS)" | cmp -s - $@ || echo "$(TAGS)" > $@

.PHONY: tokenizers
tokenizers: ## build Hugging Face's tokenizers (Rust) for TAGS=hftokenizers (does nothing when done)
	@sh tools/setup/tokenizers.sh

.PHONY: setup
setup: ## fetch the model and ONNX Runtime (does nothing when done)
	@sh tools/setup/model.sh

.PHONY: model
PRECISION ?= fp32
model: ## build the model in another precision beside the first: PRECISION=fp16 or int8
	@sh tools/setup/model.sh --precision $(PRECISION)

.PHONY: precisions
precisions: setup
	@sh tools/setup/model.sh --precision fp16
	@sh tools/setup/model.sh --precision int8

.PHONY: bench-precision
bench-precision: build precisions ## cosine, retrieval and speed of fp16 and int8 against fp32
	$(BIN) model compare .cache/models/all-MiniLM-L6-v2 .cache/models/all-MiniLM-L6-v2-fp16 .cache/models/all-MiniLM-L6-v2-int8 $(ARGS)

.PHONY: bench-python
PYVENV := $(CACHE)/bench-python
bench-python: precisions setup-real ## the worker against the same job as a Python loop (bench/python)
	@test -x $(PYVENV)/bin/python || python3 -m venv $(PYVENV)
	@$(PYVENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes -r bench/python/requirements.txt
	go run ./bench/cmd/python -python $(PYVENV)/bin/python $(ARGS)

.PHONY: setup-real
setup-real: ## fetch the Kafka broker that the tests run, and find redis-server and Chromium
	@sh tools/setup/real.sh

.PHONY: setup-kubernetes
setup-kubernetes: ## fetch what checks deploy/kubernetes without a cluster (does nothing when done)
	@sh tools/kubernetes/setup.sh

.PHONY: setup-cdc
setup-cdc: setup-real ## fetch Kafka Connect and Debezium, and find PostgreSQL
	@sh tools/cdc/setup.sh

.PHONY: test-cdc
test-cdc: setup-cdc ## docs/CDC.md on real servers: PostgreSQL, Debezium, Kafka, the worker (a minute or two; not part of make test)
	go test -count=1 -v -timeout 10m -tags cdc ./prove/cdc

.PHONY: check
check: verify fmt vet lint vuln race ## what every commit passes

.PHONY: fmt
fmt:
	@out=$$(gofmt -l $(GOFILES)); test -z "$$out" || { echo "gofmt these files:"; echo "$$out"; exit 1; }

.PHONY: vet
vet:
	go vet ./...
	go vet -tags synctests ./prove/inprocess
	go vet -tags hftokenizers ./embedder/tokenizer
	go vet -tags cdc ./prove/cdc

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)
	$< run ./...
	$< run --build-tags synctests ./prove/inprocess
	$< run --build-tags hftokenizers ./embedder/tokenizer
	$< run --build-tags cdc ./prove/cdc

.PHONY: vuln
vuln: ## known vulnerabilities in what the program calls (VULNDB=URL for a mirror of vuln.go.dev)
	VULNDB=$(VULNDB) tools/vuln.sh

.PHONY: vuln-ci
vuln-ci:
	VULNDB=$(VULNDB) tools/vuln.sh --ci

.PHONY: verify
verify: ## the modules are those of go.sum
	go mod verify

.PHONY: race
race: setup
	go test -race -short ./...
	go test -race -short -tags synctests ./prove/inprocess

.PHONY: prove
SEEDS ?= 200000
prove: ## the model of the write protocol over SEEDS histories
	CHUNKTIDE_TEST_SEEDS=$(SEEDS) go test -count=1 -v -run 'TestTheProtocolHolds|TestEveryMutantDies' ./prove/model

.PHONY: chaos
SEED ?= 1
chaos: setup-real ## 100k events on real servers while everything fails, and the control (SEED=1)
	@mkdir -p bin
	go run ./prove/cmd/chaos -control -seed $(SEED) -json bin/chaos-report.json

.PHONY: soak
MINUTES ?= 30
soak: setup-real ## the same at a low rate for MINUTES, and nothing may grow
	@mkdir -p bin
	go run ./prove/cmd/chaos -soak $(MINUTES)m -seed $(SEED) -json bin/soak-report.json

.PHONY: screenshots
screenshots: setup setup-real ## docs/images of the console, from the demo in headless Chromium (three minutes)
	@mkdir -p docs/images
	go test -count=1 -run TestTheDemoIsKept ./cmd/chunktide -screenshots $(CURDIR)/docs/images

.PHONY: story
story: build setup ## the life of an index, command by command: indexed, migrated, killed, promoted, rolled back, replayed
	go run ./prove/cmd/story -chunktide $(CURDIR)/$(BIN) $(ARGS)

.PHONY: bench
bench: setup setup-real ## the worker against what bounds it, in ratios of one run (ONLY=ad for some of them, PLOTS=docs/plots)
	@mkdir -p bin
	go run ./bench/cmd/bench $(if $(ONLY),-only $(ONLY)) -plots $(or $(PLOTS),bin) -json bin/bench.json

.PHONY: gpu-bench
gpu-bench: ## the encoder against bare ONNX Runtime on an NVIDIA GPU (MODEL_DIR=, ONNXRUNTIME=libonnxruntime.so; docs/GPU.md)
	CHUNKTIDE_TEST_PROVIDER=$(or $(PROVIDER),cuda) CHUNKTIDE_TEST_MODEL_DIR=$(MODEL_DIR) CHUNKTIDE_TEST_ONNXRUNTIME=$(ONNXRUNTIME) \
		go test -run '^$$' -bench Ceiling -benchtime 20x -timeout 30m ./bench/ceiling

.PHONY: docs
docs: ## write docs/CONFIG.md from the settings' types and comments, docs/METRICS.md from what the programs export, the dashboard, and the rules for Kubernetes
	go generate ./configs
	go test -count=1 -run TestTheMetricsPageIsCurrent ./cmd/chunktide -update
	go test -count=1 -run TestTheDashboardIsCurrent ./deploy/grafana -update
	go test -count=1 -run TestThePrometheusRuleIsCurrent ./deploy -update

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## run every fuzz target for FUZZTIME
	@tools/fuzz.sh $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built (git clean -fdx also removes what was fetched)
	rm -rf bin

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) GOTOOLCHAIN=$$(go env GOVERSION) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv $(TOOLS)/golangci-lint $@

$(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) GOTOOLCHAIN=$$(go env GOVERSION) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@mv $(TOOLS)/govulncheck $@

.PHONY: scaling
scaling: setup setup-real ## measure what docs/SCALING.md starts from, on this machine, and work its tables out anew
	go run ./bench/cmd/scaling -measure
