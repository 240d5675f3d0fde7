//! Properties of everything that reads foreign text.
//!
//! `holds` says what holds for any input, once for these tests and for the fuzzer in `fuzz`. `replay` shows it every input
//! that was written for a trap or that the fuzzer found; the other files make inputs of which more is known than of any:
//! what has to be read from them. Nothing here needs a network, and every run makes the same inputs.

#![allow(clippy::unwrap_used, clippy::panic)]

mod challenge;
mod docker_config;
mod holds;
mod host;
mod image_name;
mod image_pattern;
mod links;
mod replay;
mod retry_after;
mod token_answer;

/// How many inputs are made and from which seed: always the same, unless `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say
/// otherwise.
fn config() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}
