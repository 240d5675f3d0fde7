//! What holds for every input, one function per parser of foreign text.
//!
//! Each function takes the bytes of one file and panics if a property does not hold. They exist once and are used twice:
//! this folder is a module of the tests in `tests/properties`, which replay `fuzz/corpus`, and the library of the crate in
//! `fuzz`, whose targets call them. So the folder needs nothing from outside itself but public crates, and no copy and no
//! third package stands between what the fuzzer finds and what `make test` repeats.

pub mod challenge;
pub mod docker_config;
pub mod host;
pub mod image_name;
pub mod image_pattern;
pub mod links;
pub mod retry_after;
pub mod token_answer;

/// The properties of a parser, as a function of the bytes of one file.
pub type Property = fn(&[u8]);

/// Every property under the name of its target in `fuzz/fuzz_targets` and of its folder in `fuzz/corpus`.
pub const ALL: [(&str, Property); 8] = [
    ("challenge", challenge::holds),
    ("docker_config", docker_config::holds),
    ("host", host::holds),
    ("image_name", image_name::holds),
    ("image_pattern", image_pattern::holds),
    ("links", links::holds),
    ("retry_after", retry_after::holds),
    ("token_answer", token_answer::holds),
];
