//! Names of images and patterns of them are read as the admission policy reads them, which does all of it with regular expressions.

use std::sync::LazyLock;

use regcred::domain::{
    image_name::ImageName,
    image_pattern::{ImagePattern, Line},
};
use regex::Regex;

/// The expressions of `deploy/autolink.yaml`.
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new("^([^/@]*/)*[^/:@]*").expect("an expression"));
static HOST: LazyLock<Regex> = LazyLock::new(|| Regex::new("^(localhost|[^/]*[.:A-Z][^/]*)/").expect("an expression"));
static SHORT: LazyLock<Regex> = LazyLock::new(|| Regex::new("^docker\\.io/[^/]+$").expect("an expression"));
static LINE: LazyLock<Regex> = LazyLock::new(|| Regex::new("^[a-z0-9._:/*-]{3,255}$").expect("an expression"));

/// What holds for any bytes: a line of a table, and after a zero byte an image.
pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (line, image) = text.split_once('\0').unwrap_or((text, text));
    pair_holds(line, image);
}

/// What holds for any line and any image.
pub fn pair_holds(line: &str, image: &str) {
    let name = ImageName::of(image);
    assert_eq!(name.as_str(), by_expressions(image), "{image:?}");
    let read = Line::parse(line);
    assert_eq!(read.is_some(), LINE.is_match(line), "{line:?}");
    let Some(read) = read else {
        assert!(ImagePattern::parse(line).is_err(), "{line:?}");
        return;
    };
    let expression = line.replace('.', "\\.").replace("**", "@").replace('*', "[^/]*").replace('@', ".*");
    let expression = Regex::new(&format!("^{expression}$")).expect("a line is an expression");
    assert_eq!(read.matches(&name), expression.is_match(name.as_str()), "{line:?} {name:?}");
    if let Ok(pattern) = ImagePattern::parse(line) {
        assert_eq!((pattern.as_str(), pattern.matches(&name)), (line, read.matches(&name)));
    }
}

fn by_expressions(image: &str) -> String {
    let name = NAME.find(image).map_or("", |found| found.as_str()).to_owned();
    let name = if HOST.is_match(&name) { name } else { format!("docker.io/{name}") };
    let name = match name.strip_prefix("index.docker.io/") {
        Some(rest) => format!("docker.io/{rest}"),
        None => name,
    };
    if SHORT.is_match(&name) { format!("docker.io/library/{}", &name[10..]) } else { name }
}
