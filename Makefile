# Postal Plexus. `make run` for a mail system on this desk, `make test` for all its tests, `make help` for the rest.
MAKEFLAGS += --no-print-directory
ARCH ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
BENCH_HOST_ARGS ?=
BENCH_IMPORT_ARGS ?=
BENCH_NFS_ARGS ?=
BENCH_PEERS_ARGS ?=
BENCH_SCALE_ARGS ?=
BENCH_WEB_ARGS ?=
CHAOS_ARGS ?=
plexus = .venv/bin/plexus

# Programs start hundreds of times in the tests. Without the compiled modules each start takes seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: images help run stop test test-builds test-shards test-host test-nfs test-arm64 check push patch bench bench-host bench-import bench-nfs bench-peers bench-scale bench-web chaos picture lock clean

# The first target, so that a plain `make` builds the images.
images: ## Build the container images (ARCH=arm64 for t4g instances)
	@ARCH=$(ARCH) tools/bootstrap run
	@ARCH=$(ARCH) tools/images --refresh dovecot postfix deliver certbot web

help: ## List the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Set up, start everything, show one message arrive and one leave; leaves it running
	@tools/bootstrap desk
	@ARCH= tools/images
	@$(plexus) local up >/dev/null
	@$(plexus) local demo

stop: ## Stop what `make run` started; mailboxes and queues stay in .desk
	@if [ -x $(plexus) ]; then $(plexus) local down; fi

push: ## Build what is missing and push the stack's images to ECR (`pulumi up` does it too)
	@tools/bootstrap run
	@cd pulumi && pulumi stack output --json | ../.venv/bin/python ../tools/push --all

patch: ## Rebuild the images if Debian has fixes, test them with mail, and deploy them
	@tools/bootstrap run
	@cd pulumi && pulumi stack output --json | ../.venv/bin/python ../tools/patch --outputs

test: ## Set up and run all tests
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/pytest -n 5 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-builds: ## Rebuild an image as the weekly build does, up to the running service (about 4 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/pytest tests/builds $(PYTEST_ARGS)

test-shards: ## Start a desk with two hosts, send mail through both, kill one (about 2 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/pytest tests/shards $(PYTEST_ARGS)

test-host: ## Boot the mail host in virtual machines; needs root, no KVM (12 to 14 minutes)
	@tools/bootstrap host
	@ARCH= tools/images
	@.venv/bin/pytest -n 2 --dist loadfile tests/host --ignore tests/host/test_storage_outages.py --ignore tests/host/test_nfs_moves.py $(PYTEST_ARGS)

test-nfs: ## Test Dovecot on real NFS 4.1 in a virtual machine; needs root, no KVM (10 minutes or more)
	@tools/bootstrap host
	@ARCH= tools/images
	@.venv/bin/pytest -s tests/host/test_storage.py tests/host/test_storage_outages.py tests/host/test_nfs_moves.py $(PYTEST_ARGS)

test-arm64: ## Build the images for t4g and test that they answer, emulated if necessary (about 20 minutes)
	@ARCH=arm64 tools/bootstrap test
	@ARCH=arm64 tools/images dovecot postfix deliver certbot web
	@ARCH=arm64 .venv/bin/pytest -s tests/arm64 $(PYTEST_ARGS)

check: ## Check style, types, imports, shell scripts and container files
	@tools/bootstrap test
	@tools/check

bench: ## Measure what the docs claim; needs root and a quiet machine (about 45 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/python -m benchmarks.deliver $(BENCH_ARGS)

bench-host: ## Measure the three containers, with default settings for comparison; needs root (about 40 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/python -m benchmarks.host $(BENCH_HOST_ARGS)

bench-import: ## Import 10,000 messages, and compare with Dovecot's own sync and mbsync; needs root (10 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@PYTHONPATH=tests .venv/bin/python -m benchmarks.imports $(BENCH_IMPORT_ARGS)

bench-nfs: ## Count NFS operations, and compare contention for a mailbox on NFS and on a disk; needs root (12 minutes)
	@tools/bootstrap host
	@ARCH= tools/images
	@PYTHONPATH=tests .venv/bin/python -m benchmarks.nfs $(BENCH_NFS_ARGS)

bench-peers: ## Measure what users would run instead beside this, in turns; needs root (20 minutes)
	@tools/bootstrap host
	@ARCH= tools/images
	@PYTHONPATH=tests .venv/bin/python -m benchmarks.peers $(BENCH_PEERS_ARGS)

bench-scale: ## Measure the directory, hosts and clients as they grow, and simulate a day; needs root (4 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@PYTHONPATH=tests .venv/bin/python -m benchmarks.scale $(BENCH_SCALE_ARGS)

bench-web: ## Measure the memory of the four containers, with everything on and in use; needs root (5 minutes)
	@tools/bootstrap test
	@ARCH= tools/images
	@PYTHONPATH=tests .venv/bin/python -m benchmarks.web $(BENCH_WEB_ARGS)

chaos: ## Test that 10,000 messages and 500 faults lose and duplicate nothing, with one host and with two; needs root
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/python -m tests.chaos $(CHAOS_ARGS)

picture: ## Redraw the README's picture of `make run`
	@tools/bootstrap desk
	@.venv/bin/python tools/picture

lock: ## Lock the dependencies from pyproject.toml (needs uv)
	@tools/lock --upgrade

clean: stop ## Stop, then remove the desk, its mailboxes, the build logs and .venv
	@rm -rf .desk .build .venv
