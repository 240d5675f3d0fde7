//! Repository names and references are those of the published regular expressions, and stay themselves in an address.

use std::sync::LazyLock;

use regcred::domain::{
    host::RegistryUrl,
    image::{MAX_REPOSITORY, REFERENCE, REPOSITORY, Reference, RepositoryName},
};
use regex::Regex;

static NAMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(REPOSITORY).expect("the schema has it too"));
static REFERENCES: LazyLock<Regex> = LazyLock::new(|| Regex::new(REFERENCE).expect("the schema has it too"));

/// What holds for any bytes.
pub fn holds(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        name_holds(text);
        reference_holds(text);
    }
}

/// What holds for any text as the name of a repository.
pub fn name_holds(text: &str) {
    let name = RepositoryName::parse(text);
    assert_eq!(name.is_some(), NAMES.is_match(text) && text.len() <= MAX_REPOSITORY, "{text:?}");
    if let Some(name) = name {
        assert_eq!((name.as_str(), name.to_string().as_str()), (text, text));
        stays_itself(&format!("{name}/tags/list"));
    }
}

/// What holds for any text as a tag or a digest.
pub fn reference_holds(text: &str) {
    let reference = Reference::parse(text);
    assert_eq!(reference.is_some(), REFERENCES.is_match(text), "{text:?}");
    if let Some(reference) = reference {
        assert_eq!(reference.as_str(), text);
        stays_itself(&format!("team/web/manifests/{}", reference.as_str()));
    }
}

/// In an address a path is the path, the whole path and nothing but the path.
fn stays_itself(path: &str) {
    let registry = RegistryUrl::parse("registry.example.com:5000").expect("an address");
    let url = registry.below_api(path);
    assert_eq!(url.as_str(), format!("https://registry.example.com:5000/v2/{path}"));
    assert_eq!(url::Url::parse(url.as_str()).as_ref(), Ok(&url));
    assert_eq!(url.path(), format!("/v2/{path}"));
}
