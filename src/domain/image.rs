//! The parts of an image name (OCI distribution specification, "Pulling manifests"): repository names and references.

/// The longest repository name, in bytes: with a host in front it must fit into the 255 characters that clients allow.
pub const MAX_REPOSITORY: usize = 255;

/// What a repository name looks like, as a regular expression for the schema.
pub const REPOSITORY: &str = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$";

/// The same in words, for those who have to correct one.
pub const REPOSITORY_IN_WORDS: &str =
    "write it as in an image name, without host and tag: lower-case letters and digits, with / . _ - between them";

/// What a tag or a digest looks like, as a regular expression for the schema.
pub const REFERENCE: &str = r"^([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,128})$";

/// The same in words, for those who have to correct one.
pub const REFERENCE_IN_WORDS: &str = "write a tag such as v1.2, or a digest such as sha256: and its 64 digits";

/// The name of a repository, such as `team/web`. It goes into the paths of requests, so nothing else ever becomes one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// A text that is a repository's name: [`REPOSITORY`], and at most [`MAX_REPOSITORY`] bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_name = text.len() <= MAX_REPOSITORY && text.split('/').all(is_component);
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference(String);

impl Reference {
    /// A text that is a tag or a digest: [`REFERENCE`].
    pub fn parse(text: &str) -> Option<Self> {
        (is_tag(text) || is_digest(text)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Runs of letters and digits with single separators between them: a dot, one or two underscores, any number of dashes.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_with_words =
        bytes.first().is_some_and(|byte| is_word(*byte)) && bytes.last().is_some_and(|byte| is_word(*byte));
    ends_with_words
        && text.split(|character: char| u8::try_from(character).is_ok_and(is_word)).all(|separator| match separator {
            "" | "." | "_" | "__" => true,
            dashes => dashes.bytes().all(|byte| byte == b'-'),
        })
}

fn is_tag(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, encoded)) = text.split_once(':') else { return false };
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    algorithm.split(['+', '.', '_', '-']).all(is_word)
        && (32..=128).contains(&encoded.len())
        && encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_repositories() {
        for (text, expected) in [
            ("app", true),
            ("team/web", true),
            ("a.b/c_d/e__f/g--h/0", true),
            ("", false),
            ("/app", false),
            ("app/", false),
            ("a//b", false),
            ("..", false),
            ("a/../b", false),
            ("A", false),
            ("a___b", false),
            ("a.-b", false),
            ("-a", false),
            ("a?n=1", false),
            ("a%2f", false),
            ("ä", false),
        ] {
            assert_eq!(RepositoryName::parse(text).is_some(), expected, "{text}");
        }
        assert!(RepositoryName::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn knows_tags_and_digests() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            ("latest", true),
            ("V1.2-rc_3", true),
            ("_x", true),
            (digest.as_str(), true),
            ("", false),
            (".x", false),
            ("a/b", false),
            ("sha256:abc", false),
            ("sha256:../../../../../../../../../../../../../../..", false),
        ] {
            assert_eq!(Reference::parse(text).is_some(), expected, "{text}");
        }
    }
}
