# make demo   the relay at work, on a PostgreSQL and a receiver of its own
# make test   what must be green before a change is merged: all tests, on the PostgreSQL of this machine, each fault once or twice
# make help   the rest
#
# Options for the program go into ARGS: make demo ARGS=--keep

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VERSION  ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GO       ?= go
LINT     := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
IMAGE    ?= iam-relay:$(VERSION)

# For one package only: make unit PACKAGES=./cdc/...
PACKAGES     ?= ./...
TEST_TIMEOUT ?= 45m

# The major versions of PostgreSQL that are supported, and the packages that talk to it.
MAJORS          ?= 14 15 16 17 18
MATRIX_PACKAGES ?= ./cdc/... ./relay/... ./integration/...
FUZZTIME     ?= 20s
STEPS        ?= 5000
IAMS         ?= all

# The version comes from git above; Go's own stamp fails in a clone that belongs to another user.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

.NOTPARALLEL:
.PHONY: help build man demo test test-full unit ends test-matrix check lint fmt bench reliability model oracle iams fuzz image clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

build: ## bin/iam-relay, one static file
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/iam-relay .

demo: ## every documented event, from a committed row to a verified webhook
	@$(GO) build -o bin/demo ./integration/demo; needs=$$(.ci/prepare postgres); eval "$$needs"; exec bin/demo $(ARGS)

test: check lint unit ## vet, format, lint, and all tests with the race detector

test-full: export IAM_RELAY_TEST_FULL = 1
test-full: export RAPID_SEED = 0
test-full: test ends ## test with each fault more often, and the oldest and the newest version of PostgreSQL as well

check:
	$(GO) mod verify
	$(GO) vet $(PACKAGES)

# The first run builds the linter, which takes a minute or two; later ones find it in Go's cache.
lint: ## format, words and lint
	.ci/words
	$(LINT) fmt --diff
	$(LINT) run $(PACKAGES)

unit:
	@needs=$$(.ci/prepare postgres cc); eval "$$needs"; TEST_FLAGS='-timeout $(TEST_TIMEOUT)' .ci/test $(PACKAGES)

test-matrix: ## the tests that talk to PostgreSQL on every supported version; MAJORS="14 18" for some
	@needs=$$(.ci/prepare cc); eval "$$needs"; MAJORS='$(MAJORS)' TEST_FLAGS='-timeout $(TEST_TIMEOUT)' .ci/matrix .ci/test $(MATRIX_PACKAGES)

ends:
	@$(MAKE) test-matrix MAJORS='14 18' IAM_RELAY_TEST_FULL=

fmt: ## write the formatting, and what the linters can fix
	$(LINT) fmt
	$(LINT) run --fix $(PACKAGES)

bench: ## what the relay takes and gives, as a table
	@needs=$$(.ci/prepare postgres); eval "$$needs"; set -x; $(GO) run ./integration/bench $(ARGS)

model: ## random histories and faults against a model, STEPS of them
	@needs=$$(.ci/prepare postgres cc); eval "$$needs"; set -x; \
	$(GO) test $$RACE -run '^TestModel_' -timeout 24h ./mapping/engine -rapid.checks=$(STEPS); \
	IAM_RELAY_TEST_MODEL_STEPS=$(STEPS) $(GO) test $$RACE -run '^TestModel_' -timeout 24h -v ./integration -rapid.checks=$(STEPS)

# The first run builds Go's library once more, with a clock that can be set.
oracle: ## random histories of tenants, webhooks and schema, with faults, against an oracle, STEPS of them
	@needs=$$(.ci/prepare postgres cc); eval "$$needs"; set -x; \
	IAM_RELAY_TEST_ORACLE_STEPS=$(STEPS) $(GO) test $$RACE -run '^TestOracle_' -count 1 -timeout 24h -v ./integration -rapid.checks=$(STEPS)

# As often as it takes to believe it, and without the race detector. A part of it: make reliability RUN=Network
reliability: ## every fault at full strength; writes the table of docs/reliability.md
	@needs=$$(.ci/prepare postgres cc); eval "$$needs"; set -x; \
	IAM_RELAY_TEST_REPORT='$(CURDIR)/docs/reliability.md' $(GO) test -run '^TestFault_$(RUN)' -count 1 -parallel 4 -timeout 2h ./integration

# Each fuzz target for a short while. A failing input is written to testdata/fuzz: commit it with the fix.
fuzz: ## look for inputs that break the decoders
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u | while read -r dir; do \
		grep -rhoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | cut -d ' ' -f 2 | while read -r target; do \
			(set -x; $(GO) test "$$dir" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) </dev/null); \
		done; \
	done

# The products themselves, driven through their own APIs beside the relay: make iams IAMS=quick for the newest version and what is quick.
iams: ## real IAMs, each operation of theirs against the events that are wanted of it
	@needs=$$(.ci/prepare postgres cc java); eval "$$needs"; set -x; \
	IAM_RELAY_TEST_IAMS=$(IAMS) IAM_RELAY_TEST_RACE=$$RACE $(GO) test -run '^TestKeycloak_' -count 1 -v -timeout 2h ./integration

man: ## the man pages, into dist/man
	$(GO) run ./relay/command/man '$(VERSION)' dist/man

image: ## the container image
	docker build --build-arg VERSION='$(VERSION)' -t '$(IMAGE)' .

clean: ## what the targets above wrote here
	rm -rf bin dist
