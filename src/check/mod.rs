//! `regcred check`: what is wrong with the connections in files, told before they are applied. No cluster is asked.
//!
//! The shape comes from the schema that the API server has, everything else from the operator's own `validate`, which
//! repeats the rules of the schema.

pub mod document;
pub mod input;
pub mod metadata;
pub mod object;
pub mod report;
pub mod schema;
pub mod shape;
pub mod together;
pub mod tree;
pub mod words;

use std::path::PathBuf;

pub use report::Report;

use crate::domain::reference::Kind;
use together::Together;

/// Checks files, and the manifests right in folders; `-` is the standard input. Beside the report stands why files could
/// not be read.
pub fn check(arguments: &[PathBuf], allow_loopback: bool) -> (Report, Vec<anyhow::Error>) {
    let schemas = Kind::ALL.map(schema::of);
    let (mut report, mut errors) = (Report::default(), vec![]);
    for argument in arguments {
        let files = input::files(argument).unwrap_or_else(|error| {
            errors.push(error);
            vec![]
        });
        for file in files {
            // A file is applied as one; several may be for several clusters.
            match input::read(&file) {
                Ok(text) => {
                    report.add(&file.to_string_lossy(), &text, &schemas, allow_loopback, &mut Together::default())
                }
                Err(error) => errors.push(error),
            }
        }
    }
    (report, errors)
}
