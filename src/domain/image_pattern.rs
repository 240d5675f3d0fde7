//! Patterns of image names, for linking Pods by their images: one grammar for the schema, for the operator and for the admission
//! policy (`deploy/autolink.yaml`), which reads the patterns from a table and compiles them itself.
//!
//! ```text
//! registry.example.com:5000/team/*      HOST[:PORT]/PATH, anchored at both ends
//! ```
//!
//! The host is literal. `*` stands for any characters within a segment of the path, also none; `**` for any characters; everything
//! else for itself. A pattern is about the name of an image alone: see [`ImageName`].

use super::{host::RegistryHost, image_name::ImageName};

/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 255;

/// How many asterisks a pattern may have: they are what makes it slow to match.
pub const MAX_ASTERISKS: usize = 8;

/// The host of Docker Hub as it stands in image names.
const DOCKER_HUB: &str = "docker.io/";

/// A rule that a pattern must keep. The schema says the same in CEL.
pub struct Rule {
    /// What the schema checks; `self` is the pattern.
    pub cel: &'static str,
    /// Whether a text keeps it.
    keeps: fn(&str) -> bool,
    /// What is said where it is broken.
    pub message: &'static str,
}

/// All rules, in the order in which they are told.
pub const RULES: [Rule; 8] = [
    Rule {
        cel: "!self.contains('://')",
        keeps: |text| !text.contains("://"),
        message: "autoLinkPattern must not have a scheme: write it as image names begin, such as registry.example.com/team/*",
    },
    Rule {
        cel: "!self.matches('[A-Z]')",
        keeps: |text| !text.bytes().any(|byte| byte.is_ascii_uppercase()),
        message: "autoLinkPattern must be in lower case, as the names of repositories are",
    },
    Rule {
        cel: "!self.contains('@') && !self.matches(':[^/]*$') && !self.matches('/.*:')",
        keeps: |text| {
            let path = text.split_once('/').map_or("", |(_, path)| path);
            !text.contains('@') && !text.rsplit('/').next().unwrap_or_default().contains(':') && !path.contains(':')
        },
        message: "autoLinkPattern must not have a tag or a digest: it is about names of images, such as registry.example.com/team/*",
    },
    Rule {
        cel: "self.matches('^[a-zA-Z0-9._:/@*-]*$')",
        keeps: |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@*-".contains(&byte)),
        message: "autoLinkPattern may hold lower-case letters, digits, * and the characters . _ : / - only",
    },
    Rule {
        cel: "self.matches('^(localhost|[^/*]*[.:][^/*]*)/.') && !self.matches('^[.:]')",
        keeps: |text| {
            text.split_once('/').is_some_and(|(host, path)| {
                let is_host = host == "localhost" || host.contains(['.', ':']);
                is_host && !host.contains('*') && !host.starts_with(['.', ':']) && !path.is_empty()
            })
        },
        message: "autoLinkPattern must begin with a registry's host, without *, and go on with a path: \
                  registry.example.com/team/*, localhost:5000/**, docker.io/library/nginx",
    },
    Rule {
        cel: "!self.startsWith('index.docker.io/')",
        keeps: |text| !text.starts_with("index.docker.io/"),
        message: "autoLinkPattern must call Docker Hub docker.io, whatever image names call it",
    },
    Rule {
        cel: "!self.matches('^docker[.]io/[^/]*$') || self.contains('**')",
        keeps: |text| text.strip_prefix(DOCKER_HUB).is_none_or(|path| path.contains('/') || path.contains("**")),
        message: "autoLinkPattern must name two parts below docker.io, or all of it: docker.io/library/nginx for nginx, \
                  docker.io/acme/*, docker.io/**",
    },
    Rule {
        cel: "self.split('*').size() <= 9",
        keeps: |text| text.bytes().filter(|byte| *byte == b'*').count() <= MAX_ASTERISKS,
        message: "autoLinkPattern may have at most 8 asterisks",
    },
];

/// A pattern that keeps all [`RULES`] and is at most [`MAX_PATTERN`] bytes long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePattern(Line);

impl ImagePattern {
    /// The pattern that this text is.
    ///
    /// # Errors
    /// What is said of the first rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_PATTERN {
            return Err("autoLinkPattern may have at most 255 characters");
        }
        match RULES.iter().find(|rule| !(rule.keeps)(text)) {
            Some(broken) => Err(broken.message),
            None => Ok(Self(Line(text.to_owned()))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    /// The host it begins with, if it is one.
    pub fn host(&self) -> Option<RegistryHost> {
        let (host, _) = self.as_str().split_once('/')?;
        RegistryHost::parse(host).ok()
    }

    /// Whether an image of this name fits it.
    pub fn matches(&self, image: &ImageName) -> bool {
        self.0.matches(image)
    }
}

/// A line of a table of patterns, as the admission policy reads it. Whoever may write ConfigMaps may have written it: it need not
/// keep the rules, and what it holds besides the characters of a pattern counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(String);

/// What a part of a pattern stands for.
enum Part<'a> {
    /// Itself.
    Literal(&'a str),
    /// Any characters but a slash.
    WithinSegment,
    /// Any characters but a line break, as in the regular expressions of the policy.
    Across,
}

impl Line {
    /// The pattern that a line is, if the policy takes it for one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:/*-".contains(&byte);
        let is_pattern = (3..=MAX_PATTERN).contains(&text.len()) && text.bytes().all(is_known);
        is_pattern.then(|| Self(text.to_owned()))
    }

    /// Whether an image of this name fits it. Takes no longer than the lengths of both multiplied.
    pub fn matches(&self, image: &ImageName) -> bool {
        let text = image.as_str();
        // Where in the text what was looked at of the pattern may end: true at each of these places.
        let mut ends = vec![false; text.len() + 1];
        ends[0] = true;
        for part in self.parts() {
            ends = after(&part, text, &ends);
        }
        ends[text.len()]
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![];
        let mut rest = self.0.as_str();
        while !rest.is_empty() {
            let (part, length) = match rest.find('*') {
                Some(0) if rest.starts_with("**") => (Part::Across, 2),
                Some(0) => (Part::WithinSegment, 1),
                Some(at) => (Part::Literal(&rest[..at]), at),
                None => (Part::Literal(rest), rest.len()),
            };
            parts.push(part);
            rest = &rest[length..];
        }
        parts
    }
}

/// Where a part may end that begins where one of these ends is.
fn after(part: &Part<'_>, text: &str, begins: &[bool]) -> Vec<bool> {
    let stop = match part {
        Part::Literal(literal) => {
            let mut ends = vec![false; begins.len()];
            for (at, _) in begins.iter().enumerate().filter(|(_, may_begin)| **may_begin) {
                if text.as_bytes()[at..].starts_with(literal.as_bytes()) {
                    ends[at + literal.len()] = true;
                }
            }
            return ends;
        }
        Part::WithinSegment => b'/',
        Part::Across => b'\n',
    };
    let mut is_inside = false;
    let mut ends = Vec::with_capacity(begins.len());
    for (at, may_begin) in begins.iter().enumerate() {
        let goes_on = is_inside && at > 0 && text.as_bytes()[at - 1] != stop;
        is_inside = *may_begin || goes_on;
        ends.push(is_inside);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_told_where_it_is_broken() {
        for (text, words) in [
            ("https://r.example/team/*", "scheme"),
            ("r.example/Team/*", "lower case"),
            ("R.example/team", "lower case"),
            ("r.example/team/app:v1", "tag or a digest"),
            ("r.example/te:am/app", "tag or a digest"),
            ("r.example/team@sha256:abc", "tag or a digest"),
            ("r.example/te am", "characters"),
            ("r.example/team?", "characters"),
            ("r.example/tëam", "characters"),
            ("r.example/a\nb", "characters"),
            ("nginx", "host"),
            ("acme/web", "host"),
            ("*/web", "host"),
            ("*.example/web", "host"),
            ("r.example/", "host"),
            ("", "host"),
            ("./a", "host"),
            ("index.docker.io/library/nginx", "docker.io"),
            ("docker.io/nginx", "two parts"),
            ("docker.io/*", "two parts"),
            ("r.example/*********", "8 asterisks"),
            (&format!("r.example/{}", "a".repeat(255)), "255 characters"),
        ] {
            let message = ImagePattern::parse(text).expect_err(text);
            assert!(message.contains(words), "{text}: {message}");
        }
    }

    #[test]
    fn takes_what_keeps_the_rules() {
        let longest = format!("r.example/{}", "a".repeat(245));
        for text in [
            "r.example/a",
            "r.example:5000/team/*",
            "localhost/app",
            "localhost:5000/**",
            "docker.io/library/nginx",
            "docker.io/**",
            "docker.io/acme/*",
            "r.example/a*b*c*d*e*f*g*h*",
            "r.example/a.b_c-d__e/f",
            longest.as_str(),
        ] {
            let pattern = ImagePattern::parse(text).unwrap_or_else(|message| panic!("{text}: {message}"));
            assert!(pattern.host().is_some(), "{text}");
        }
    }

    #[test]
    fn asterisks_in_a_row_are_read_from_the_left() {
        let matches = |line: &str, image: &str| Line::parse(line).unwrap().matches(&ImageName::of(image));
        assert!(matches("r.example/***", "r.example/a/b/c"));
        assert!(matches("r.example/**/*", "r.example/a/b"));
        assert!(!matches("r.example/**/*", "r.example/a"));
        assert!(matches("r.example/a**b", "r.example/ab"));
    }

    #[test]
    fn the_worst_pattern_takes_no_time_to_speak_of() {
        let line = Line::parse(&format!("r.example/{}", "*a".repeat(120))).unwrap();
        let image = ImageName::of(&format!("r.example/{}b", "a".repeat(100_000)));
        assert!(!line.matches(&image));
    }
}
