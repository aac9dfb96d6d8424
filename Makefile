# tarn. `make` lists the targets.

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/tarn, a static binary
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/tarn ./cmd/tarn

.PHONY: demo
demo: build ## back up a folder (DIR=...), change it, restore it, compare
	testing/demo.sh $(DIR)

.PHONY: deps
deps: ## install what the tests need (apt, as root)
	testing/deps.sh

.PHONY: test
test: deps ## run all tests
	$(GO) test -timeout 90m ./...

.PHONY: race
race: ## run the tests of the packages with goroutines under the race detector
	CGO_ENABLED=1 $(GO) test -race -short -timeout 60m ./index ./repo/... ./backup ./restore ./source/live

.PHONY: soak
soak: ## run the long versions of the tests (hours)
	TARN_SOAK=1 $(GO) test -timeout 12h ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

.PHONY: cross
cross: ## build for the other systems
	for t in windows/amd64 darwin/arm64 linux/arm64 freebsd/amd64; do \
	  echo $$t; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./... || exit 1; done

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (default 10s)
	testing/fuzz.sh $(or $(FUZZTIME),10s)

.PHONY: bench
bench: ## benchmarks of the stages
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-run
bench-run: build ## back up, restore and mount beside restic and borg (WORKLOAD=linux)
	bin/tarn bench run --workload $(or $(WORKLOAD),linux) --peer restic,borg --report bench-$(notdir $(or $(WORKLOAD),linux)).json

.PHONY: prune-compare
prune-compare: ## compare forget and prune with restic's (FILES=40000 SNAPSHOTS=50)
	testing/prune-compare.sh $(or $(FILES),40000) $(or $(SNAPSHOTS),50)

.PHONY: bench-compare
bench-compare: ## compare the benchmarks with another commit (REF=...)
	testing/bench-compare.sh $(REF)

.PHONY: vm-short
vm-short: ## run the LVM tests that matter most in a virtual machine, some minutes
	testing/vm/deps.sh
	TARN_VM_SECONDS=2400 testing/vm/test.sh short

.PHONY: vm-zfs
vm-zfs: ## run the ZFS tests that matter most in a virtual machine; the first run builds the modules, some minutes more
	testing/vm/deps.sh
	TARN_TEST_KILLS=2 TARN_VM_SECONDS=2400 testing/vm/test.sh zfs -test.run='TestHolds$$|TestValid|TestKill'

.PHONY: vm-test
vm-test: ## run all tests of LVM and ZFS in virtual machines, with 52 killed backups, and the writers of bench/inuse (hours)
	testing/vm/deps.sh
	TARN_VM_SECONDS=3600 testing/vm/test.sh lvm
	TARN_VM_SECONDS=7200 TARN_TEST_KILLS=13 testing/vm/test.sh tarn
	TARN_VM_SECONDS=3600 testing/vm/test.sh inuse -runs 5 -each 2
	TARN_VM_SECONDS=3600 testing/vm/test.sh zfs
