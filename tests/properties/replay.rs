//! Every file of `fuzz/corpus` through the properties of its parser.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::holds;

/// How large a corpus may be, in files; `make fuzz` says how it is kept small.
const MAX_FILES: usize = 60;

/// How large a file of it may be, in bytes.
const MAX_LENGTH: usize = 4096;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(target: &str) {
    let (_, property) = holds::ALL.into_iter().find(|(name, _)| *name == target).unwrap();
    let files = files(&fuzz().join("corpus").join(target));
    assert!((1..=MAX_FILES).contains(&files.len()), "{} files", files.len());
    for file in files {
        let input = fs::read(&file).unwrap();
        assert!(input.len() <= MAX_LENGTH, "{} has {} bytes", file.display(), input.len());
        if let Err(panic) = std::panic::catch_unwind(|| property(&input)) {
            eprintln!("with {}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn what_a_registry_asks_for_is_read_from_every_challenge_of_the_corpus() {
    replay("challenge");
}

#[test]
fn a_login_is_read_from_every_docker_config_of_the_corpus_or_refused_without_quoting_it() {
    replay("docker_config");
}

#[test]
fn every_address_of_the_corpus_has_one_normal_form_or_none() {
    replay("host");
}

#[test]
fn every_pattern_of_the_corpus_fits_its_image_as_for_the_admission_policy() {
    replay("image_pattern");
}

#[test]
fn every_annotation_of_the_corpus_is_read_to_something_that_can_be_written_again() {
    replay("links");
}

#[test]
fn every_image_name_of_the_corpus_is_judged_as_the_schema_judges_it() {
    replay("image_name");
}

#[test]
fn every_pause_of_the_corpus_is_between_a_second_and_an_hour() {
    replay("retry_after");
}

#[test]
fn every_token_of_the_corpus_can_be_sent() {
    replay("token_answer");
}

#[test]
fn every_target_of_the_fuzzer_has_a_property_and_a_corpus() {
    let names = |folder: &str| -> BTreeSet<String> {
        let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&fuzz().join(folder)).into_iter().map(name).collect()
    };
    let properties: BTreeSet<String> = holds::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), properties);
    assert_eq!(names("corpus"), properties);
}
