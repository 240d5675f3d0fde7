//! The name of an image without tag and digest, in one form for all ways of writing it.

/// Host and repository: `nginx:1.27` is `docker.io/library/nginx`, as container clients read it (distribution/reference,
/// "familiar names"). Any text has one, for any text may stand in a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(String);

impl ImageName {
    /// The name of the image that a Pod refers to in these words.
    pub fn of(image: &str) -> Self {
        let before_digest = image.split('@').next().unwrap_or_default();
        let path = before_digest.rfind('/').map_or(0, |at| at + 1);
        let (path, last) = before_digest.split_at(path);
        let name = format!("{path}{}", last.split(':').next().unwrap_or_default());
        let name = if begins_with_host(&name) { name } else { format!("docker.io/{name}") };
        let name = match name.strip_prefix("index.docker.io/") {
            Some(rest) => format!("docker.io/{rest}"),
            None => name,
        };
        match name.strip_prefix("docker.io/") {
            Some(short) if !short.is_empty() && !short.contains('/') => Self(format!("docker.io/library/{short}")),
            Some(_) | None => Self(name),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether what stands before the first slash is a host: with a dot, a port or an upper-case letter, or `localhost`.
fn begins_with_host(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| {
        first == "localhost"
            || first.contains(|character: char| matches!(character, '.' | ':') || character.is_ascii_uppercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_of_writing_a_name_come_to_one() {
        for (image, expected) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("nginx@sha256:abc", "docker.io/library/nginx"),
            ("acme/web", "docker.io/acme/web"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/acme/web:v1", "docker.io/acme/web"),
            ("r.example/app", "r.example/app"),
            ("r.example:5000/team/app:v1@sha256:abc", "r.example:5000/team/app"),
            ("localhost/app", "localhost/app"),
            ("LOCAL/app", "LOCAL/app"),
            ("r.example:5000", "docker.io/library/r.example"),
            ("a/b@c/d", "docker.io/a/b"),
            ("", "docker.io/"),
            ("docker.io/", "docker.io/"),
        ] {
            assert_eq!(ImageName::of(image).as_str(), expected, "{image}");
        }
    }
}
