# `just` lists what there is; `.ci/run` needs none of it.

_default:
    @just --list

# What a change should pass before it is shown
check: lint test

# Types only, fast
types:
    cargo check --all-targets

# Every test
test *ARGS:
    cargo test --workspace {{ARGS}}

# Every test in a process of its own, with cargo-nextest
nextest *ARGS:
    cargo nextest run {{ARGS}}

# Format, lints, dependencies, documentation
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo deny check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

# A simulated day
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Write the generated reference pages anew
docs:
    UPDATE_DOCS=1 cargo test --test tidy
    UPDATE_DOCS=1 cargo test --test pipeline night

# What is measured, against the bars of docs/benchmarks.md
bench *ARGS:
    cargo bench --bench bars -- {{ARGS}}

# The long form of the crash tests, before a release (about an hour)
crash:
    TARDY_CRASH_KILLS=200 TARDY_CRASH_AIMED=50 TARDY_CRASH_CUTS=100 cargo test --release --test crash

# What continuous integration runs
ci:
    .ci/run
