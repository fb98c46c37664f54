# Postal Plexus. `make run` for a mail system on this desk, `make test` for all its tests.
MAKEFLAGS += --no-print-directory
ARCH ?=
PYTEST_ARGS ?=
plexus = .venv/bin/plexus

.PHONY: run stop test check images lock clean

run: ## Set up, start everything, show one mail come in and one go out; leaves it running
	@tools/bootstrap run
	@ARCH= tools/images
	@$(plexus) local up
	@$(plexus) local demo

stop: ## Stop what `make run` started; mailboxes and queues stay in .desk
	@if [ -x $(plexus) ]; then $(plexus) local down; fi

images: ## Build the three container images (ARCH=arm64 for t4g instances)
	@tools/bootstrap run
	@ARCH=$(ARCH) tools/images

test: ## Set up and run all tests
	@tools/bootstrap test
	@ARCH= tools/images
	@.venv/bin/pytest $(PYTEST_ARGS)

check: ## Style, types, the direction of knowledge, shell and container files
	@tools/bootstrap test
	@tools/check

lock: ## Lock the dependencies anew from pyproject.toml (needs uv)
	@tools/lock --upgrade

clean: stop ## Stop, then remove the desk, its mailboxes, the build logs and .venv
	@rm -rf .desk .build .venv
