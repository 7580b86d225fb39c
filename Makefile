# The targets a person types. README.md explains the two that matter: `go run ./cmd/strongroom demo` and `make test`.
GO ?= go

.PHONY: build test bench bench-engine bars-engine soak fmt

build: ## the program, into ./strongroom
	CGO_ENABLED=0 $(GO) build -trimpath -o strongroom ./cmd/strongroom

test: ## everything that must hold before a change lands; installs what it needs (Debian packages)
	scripts/install-test-tools
	scripts/test

bench: build ## speed and memory against restic in the same run, as ratios
	scripts/install-test-tools bench
	scripts/bench

bench-engine: ## the vault engine as a command line against restic, borg and the bare pipeline: about 25 minutes
	scripts/install-test-tools bench
	scripts/bench-engine

bars-engine: ## the engine's promises, each proved at full size, with the figures: some hours
	scripts/install-test-tools
	scripts/bars-engine

soak: ## the slow ones: more crash points, longer fuzzing, bigger random schedules
	scripts/install-test-tools
	scripts/soak

fmt:
	gofmt -w $$(git ls-files '*.go')
