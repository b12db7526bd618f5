# The commands of daily work. Each is one script under scripts/, which can be read and run by itself.

.PHONY: bench bench-short help run test test-long

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: ## build the program and start it for development: http://127.0.0.1:8008, data in ./data
	@scripts/run.sh

test: ## every check and test; the last line is the total
	@scripts/test.sh

test-long: ## the same with more rounds and seeds: ROUNDS=100 SEEDS=250
	@ROUNDS=$${ROUNDS:-100} SEEDS=$${SEEDS:-250} scripts/test.sh

bench: ## measure against Synapse, the least a server can do, and other code: about an hour, in Markdown; ARGS="--target …"
	@scripts/bench.sh $(ARGS)

bench-short: ## the same in eight minutes: SQLite only, small rooms
	@scripts/bench.sh --short $(ARGS)
