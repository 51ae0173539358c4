# keyturn. `make help` lists the targets; `make run` and `make test` are the two to begin with.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
LAMBDAS  := $(patsubst functions/%/aws/main.go,%,$(wildcard functions/*/aws/main.go))
# Flags of every Lambda binary. norpc leaves out what only the go1.x runtime needed; nothing of this machine gets in. "make build" stamps the version in.
LAMBDA_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid='
# Programs get their version from the checkout; VERSION=v1.2.3 sets it where there is none.
STAMP         := -X github.com/keyturn/keyturn/internal/version.stamp=
PROGRAM_BUILD := go build -trimpath -buildvcs=auto $(if $(VERSION),-ldflags '$(STAMP)$(VERSION)')

# The CDK's command line, for deployments only; templates are written without it.
CDK := npx --yes aws-cdk@2.1148.1
# What these would say is not for users of this Makefile: that Node 20 has reached its end of life (24 is better), and that parts
# of the CDK call deprecated parts of it.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
export JSII_DEPRECATED := quiet
# The deployment's file, and which stacks to deploy.
CONFIG ?= keyturn.yaml
STACKS ?= --all

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: need-go ## Watch a KMS rotation being followed through on this machine (Go only)
	@mkdir -p bin
	@echo "building bin/keyturn"
	@go build -o bin/keyturn ./functions/keyturn
	@bin/keyturn demo --dir .keyturn/demo

.PHONY: test
test: need-go need-node ## Run the tests (Go and Node)
	go vet ./...
	go test -timeout 30m ./...

.PHONY: soak
soak: need-go ## Run SCHEDULES (default 50000) days of trouble through the simulation from seed FROM, and the explorer one level deeper
	go test ./functions/rotation/simulation -run TestSimulation -v -timeout 24h -schedules $(or $(SCHEDULES),50000) -from $(or $(FROM),100000) | grep -Ev '^=== |^ +--- PASS: .*/schedules/'
	go test ./functions/rotation -run TestExplore -v -timeout 2h -deeper 1 | grep -v '^=== '

.PHONY: e2e
e2e: need-go need-node ## Deploy into moto_server, run the built Lambda binaries between it and the simulators, and look at the report in a browser
	@scripts/need.sh aws "install the AWS CLI" moto_server "pip install 'moto[server]'" cfn-lint "pip install cfn-lint" gcloud "install the Google Cloud CLI with its Firestore and Pub/Sub emulators" java "install Java 17" chromium "apt-get install chromium"
	npm ci --silent --ignore-scripts --no-audit --no-fund --prefix internal/report/testdata/browser
	KEYTURN_E2E=1 KEYTURN_SCREENSHOTS=$(CURDIR)/dist/report go test -json -p 1 -count=1 -timeout 20m ./scripts/e2e/... ./infra/aws/stack ./infra/gcp ./internal/amazon/... ./internal/google/... ./internal/local/... ./internal/report ./scripts/stagegcp | go run ./scripts/skipped

.PHONY: lint
lint: need-go ## Lint, with the design's import rules
	@test -z "$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))" || { echo "not gofmt'ed (run make fmt):"; gofmt -l $$(git ls-files -co --exclude-standard '*.go'); exit 1; }
	go mod tidy -diff
	$(GOLANGCI) run ./...
	go run ./scripts/words

.PHONY: fmt
fmt: need-go ## Format the code
	$(GOLANGCI) fmt ./...

.PHONY: build
build: need-go ## Build bin/keyturn and dist/aws/<function>.zip (linux/arm64, reproducible)
	@mkdir -p bin
	$(PROGRAM_BUILD) -o bin/keyturn ./functions/keyturn
	@bin/keyturn manual dist
	@version=$$(bin/keyturn version --short); for f in $(LAMBDAS); do \
		echo "dist/aws/$$f.zip"; \
		GOOS=linux GOARCH=arm64 $(subst -buildid=',-buildid= $(STAMP)'"$$version",$(LAMBDA_BUILD)) -o dist/aws/$$f/bootstrap ./functions/$$f/aws; \
		go run ./scripts/lambdazip dist/aws/$$f/bootstrap dist/aws/$$f.zip; \
	done

.PHONY: stage-gcp
stage-gcp: need-go ## Write dist/gcp/<function>.zip, what Google Cloud builds each function from (vendored, reproducible)
	@mkdir -p bin
	@$(PROGRAM_BUILD) -o bin/keyturn ./functions/keyturn
	@go run ./scripts/stagegcp "$$(bin/keyturn version --short)" dist/gcp

.PHONY: release
release: build stage-gcp ## Build archives, SBOMs and checksums of VERSION=v1.2.3 into dist/release/, reproducibly
	@test -n "$(VERSION)" || { echo "say which: make release VERSION=v1.2.3"; exit 2; }
	go run ./scripts/release $(VERSION) dist/release

.PHONY: synth
synth: need-go need-node ## Write the AWS templates for keyturn.yaml (CONFIG=file) to cdk.out/
	@mkdir -p bin
	@go build -o bin/keyturn ./functions/keyturn
	@bin/keyturn config check $(CONFIG)
	@$(MAKE) --no-print-directory build
	@$(PROGRAM_BUILD) -o bin/synth ./infra/aws
	@bin/synth -config $(CONFIG) -out cdk.out

.PHONY: deploy
deploy: synth ## Deploy all stacks to AWS, asking first (STACKS=name for one)
	$(CDK) deploy --app cdk.out --require-approval broadening --exclusively $(STACKS)

.PHONY: destroy
destroy: synth ## Remove the stacks from AWS; ledger and archive survive
	$(CDK) destroy --app cdk.out --exclusively $(STACKS)

.PHONY: bench
bench: build stage-gcp ## Measure cold start, memory, size, sweep, a run of the checks and decoding; fails if a promise is broken
	go run ./scripts/coldstart
	go test -run '^$$' -bench . -benchtime 1s ./events
	go test -run '^$$' -bench LargeFleet -benchtime 1x ./functions/compliance
	go test -run TestSweepKeepsItsShareOfTheRequestRateBusy -v -count=1 ./functions/rotation | grep -v '^=== '

.PHONY: fuzz
fuzz: need-go ## Fuzz every target for FUZZTIME each (default 20s)
	@scripts/fuzz.sh $(or $(FUZZTIME),20s)

.PHONY: golden
golden: need-go ## Rewrite the golden files; read the diff before you commit it
	go test ./events ./functions/alerting ./functions/alerting/aws ./functions/keyturn ./functions/compliance/aws ./functions/notify/aws ./functions/rotation/aws ./functions/trailcheck/aws ./functions/alerting/gcp ./functions/compliance/gcp ./functions/notify/gcp ./functions/rotation/gcp ./infra/aws/stack ./infra/gcp ./infra/gcp/filter ./internal/channel -update

.PHONY: mutate
mutate: export TESTS = world claims_of_reads upgrade failed_move same_work revived optout
mutate: need-go ## Mutation testing of rotation's decisions, alerting's judge, the table of risks, the ledger, the policies, the decoder and the client
	scripts/mutate.sh functions/rotation decide outcome transition -- fleet inventory alerts evidence settings keys optout
	scripts/mutate.sh functions/rotation fleet inventory alerts evidence settings keys optout -- decide outcome transition
	TESTS="judge_property lockout world versions assess log alerting" scripts/mutate.sh functions/alerting judge judge_aws judge_google judge_key judge_trust judge_principal noted --
	scripts/mutate.sh functions/alerting/risk
	scripts/mutate.sh internal/ledger
	scripts/mutate.sh internal/policy
	scripts/mutate.sh internal/policy/google
	scripts/mutate.sh events
	scripts/mutate.sh internal/cockroachcloud

.PHONY: screenshots
screenshots: need-go need-node ## Make README's pictures again, of the real demo and a real alert (Chromium and npm)
	@scripts/need.sh chromium "install Chromium" npm "install npm"
	@mkdir -p bin
	@$(PROGRAM_BUILD) -o bin/keyturn ./functions/keyturn
	go run ./scripts/screenshots bin/keyturn scripts/screenshots

.PHONY: cover
cover: need-go ## Show test coverage by package
	go test -coverprofile=coverage.out -coverpkg=./events/...,./functions/...,./internal/... ./events/... ./functions/... ./internal/... >/dev/null
	@go tool cover -func=coverage.out | tail -1
	@echo "go tool cover -html=coverage.out shows it line by line"

.PHONY: clean
clean: ## Remove what make made
	rm -rf bin dist cdk.out .keyturn .mutate coverage.out

.PHONY: need-go need-node
need-go:
	@scripts/need.sh go 1.26
need-node:
	@scripts/need.sh node 20
