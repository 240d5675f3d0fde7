# The commands of this project. `make` alone says which there are.
#
# Needed: Rust (rust-toolchain.toml says which), Go, a C compiler, git, make. Everything else is built from pinned sources.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
# Tests wait more than they compute: for registries, for clocks, for the API server.
export RUST_TEST_THREADS ?= 12
# A build that would change Cargo.lock is a mistake everywhere but in `cargo update`.
CARGO_FLAGS := --locked
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CURDIR)/target/tools/bin/cargo-deny
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(CURDIR)/target/tools/bin/cargo-fuzz
# What the fuzzer tries, for how long, and where it keeps what it finds; `fuzz/corpus` stays as it is.
TARGET := challenge
SECONDS := 60
FUZZ_FOUND = $(CURDIR)/target/fuzz/$(TARGET)
# How many targets are measured, for how many seconds an idle operator is looked at, and where the report goes.
N := 1000
IDLE := 300
OUT := target/bench
# What the image is made for, and where it goes; PUSH=registry/name:tag pushes it too.
MACHINE := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
ARCH := $(MACHINE)
IMAGE = $(CARGO_TARGET_DIR)/image/$(ARCH)
CPU = $(if $(filter arm64,$(ARCH)),aarch64,x86_64)
TRIPLE = $(CPU)-unknown-linux-musl
# The C compiler of this machine will do for its own programs: one dependency (ring) has C code, which asks for next to nothing
# of a C library. It is linked with what comes with Rust.
STATIC_CC = $(if $(filter $(MACHINE),$(ARCH)),cc,$(shell command -v $(CPU)-linux-gnu-gcc || command -v clang))
# Relocations in their short form save 0.4 MB; functions of the same machine code once, and this linker, 0.2 MB.
STATIC_LINK := -Clinker=rust-lld -Clink-arg=--pack-dyn-relocs=relr -Clink-arg=--icf=all
# The program in the image.
PROGRAM = $(CARGO_TARGET_DIR)/$(TRIPLE)/release/regcred
MAKE_IMAGE = '$(CARGO_TARGET_DIR)/debug/image' --program '$(PROGRAM)' --arch $(ARCH) --out '$(IMAGE)'

.DEFAULT_GOAL := help
.PHONY: help demo bench test test-image soak lint advisories fuzz generate image rootfs static
.PHONY: need-rust need-go need-static need-own-arch need-cargo-deny need-cargo-fuzz

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: need-rust need-go ## Show regcred on a real control plane and a real registry; KEEP=1 leaves them running
	cargo build $(CARGO_FLAGS) --release -p regcred --bin regcred -p testenv --bin demo
	@'$(CARGO_TARGET_DIR)/release/demo' $(if $(filter-out 0,$(KEEP)),--keep)

bench: need-own-arch need-go static ## Measure what is shipped beside a bare loop: N=1000 ONLY=S2,S4 IDLE=300 OUT=target/bench
	cargo build $(CARGO_FLAGS) --release -p testenv --bin bench
	@'$(CARGO_TARGET_DIR)/release/bench' --operator '$(PROGRAM)' --targets $(N) --idle $(IDLE) --out '$(OUT)' $(if $(ONLY),--only '$(ONLY)')

# One red program must not hide what the next one has to say.
test: need-rust need-go ## Run all tests
	cargo test $(CARGO_FLAGS) --workspace --no-run
	'$(CARGO_TARGET_DIR)/debug/testenv-build'
	cargo test $(CARGO_FLAGS) --workspace --no-fail-fast

test-image: need-own-arch image ## Run the tests of the image of this machine, which need the release build
	cargo test $(CARGO_FLAGS) --workspace --test image

soak: need-rust ## Run the test that takes minutes too: thirty simulated days of refreshes
	cargo test $(CARGO_FLAGS) --release --lib -- simulation --include-ignored

lint: need-rust need-cargo-deny ## Check format, lints, documentation, generated files and dependencies
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc $(CARGO_FLAGS) --workspace --no-deps --document-private-items
	cargo test $(CARGO_FLAGS) --workspace --test it -- generated::
	'$(CARGO_DENY)' check licenses bans sources

advisories: need-rust need-cargo-deny ## Ask whether a dependency has a known fault; needs the network
	'$(CARGO_DENY)' check advisories

fuzz: need-rust need-cargo-fuzz ## Look for inputs that break the properties of a parser: TARGET=host SECONDS=300
	mkdir -p '$(FUZZ_FOUND)'
	env -u CARGO_TARGET_DIR '$(CARGO_FUZZ)' run --sanitizer none $(TARGET) '$(FUZZ_FOUND)' 'fuzz/corpus/$(TARGET)' -- \
		-max_total_time=$(SECONDS) -max_len=4096 -timeout=10

generate: need-rust need-go ## Write the generated files anew: crds/, the chart's kinds, deploy/, the tables in docs/, the help texts
	EXPECTORATE=overwrite cargo test $(CARGO_FLAGS) --workspace --test it -- generated:: install::manifests::the_manifests

image: need-go static ## Make the image, without a container engine: ARCH=arm64 PUSH=registry/name:tag
	cargo build $(CARGO_FLAGS) -p testenv --bin image
	$(MAKE_IMAGE) $(if $(PUSH),--push '$(PUSH)')

rootfs: static
	cargo build $(CARGO_FLAGS) -p testenv --bin image
	$(MAKE_IMAGE) --files-only

# The same sources give the same program on every machine: no path of this one gets in. The flags are told to Cargo one by one,
# so that paths may have blanks; they hold for this target only, and no other build begins anew because of them.
static: need-static
	cargo fetch $(CARGO_FLAGS)
	@flags=$$(printf '%s\037' $(STATIC_LINK) '--remap-path-prefix=$(CURDIR)=.' \
		"--remap-path-prefix=$$(rustc --print sysroot)/lib/rustlib/src/rust=rust" '--remap-path-prefix=$(CARGO_TARGET_DIR)=target'; \
		for folder in "$${CARGO_HOME:-$$HOME/.cargo}"/registry/src/*; do printf -- '--remap-path-prefix=%s=crates\037' "$$folder"; done); \
	set -x; CARGO_ENCODED_RUSTFLAGS="$${flags%?}" CC_$(subst -,_,$(TRIPLE))='$(STATIC_CC)' \
		cargo build $(CARGO_FLAGS) --release --target $(TRIPLE) -p regcred --bin regcred

need-rust:
	@command -v cargo >/dev/null || { echo 'cargo was not found in PATH: install Rust from https://rustup.rs' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'cc was not found in PATH: install a C compiler; one dependency (ring) needs it' >&2; exit 1; }

need-go:
	@command -v go >/dev/null || { echo 'go was not found in PATH: install Go from https://go.dev/dl; it builds the control plane and the registry' >&2; exit 1; }

need-own-arch:
	@[ '$(ARCH)' = '$(MACHINE)' ] || { echo 'this machine is $(MACHINE) and cannot run what is made for $(ARCH)' >&2; exit 1; }

need-static: need-rust
	@[ '$(ARCH)' = amd64 ] || [ '$(ARCH)' = arm64 ] || { echo 'ARCH is amd64 or arm64, not $(ARCH)' >&2; exit 1; }
	@[ -n '$(STATIC_CC)' ] || { echo 'no C compiler for $(ARCH) was found in PATH: install $(CPU)-linux-gnu-gcc (Debian: gcc-$(subst _,-,$(CPU))-linux-gnu with what it recommends) or clang' >&2; exit 1; }
	@[ -d "$$(rustc --print target-libdir --target $(TRIPLE))" ] || { command -v rustup >/dev/null \
		|| { echo 'rustup was not found in PATH: install it from https://rustup.rs, or add the target $(TRIPLE) to Rust; static programs need it' >&2; exit 1; }; \
		rustup target add $(TRIPLE); }

need-cargo-fuzz: need-rust
	@command -v c++ >/dev/null || { echo 'c++ was not found in PATH: install a C++ compiler; the fuzzer (libfuzzer-sys) needs it' >&2; exit 1; }
	@[ "$$('$(CARGO_FUZZ)' --version 2>/dev/null)" = 'cargo-fuzz $(CARGO_FUZZ_VERSION)' ] \
		|| env -u CARGO_TARGET_DIR cargo install --locked cargo-fuzz --version $(CARGO_FUZZ_VERSION) --root '$(CURDIR)/target/tools'

need-cargo-deny: need-rust
	@[ "$$('$(CARGO_DENY)' --version 2>/dev/null)" = 'cargo-deny $(CARGO_DENY_VERSION)' ] \
		|| env -u CARGO_TARGET_DIR cargo install --locked cargo-deny --version $(CARGO_DENY_VERSION) --root '$(CURDIR)/target/tools'
