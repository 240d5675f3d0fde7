//! The documents of a file. Pure.

use serde_saphyr::Error;

use super::tree::{Node, Value};
use crate::problem::shortened;

/// How many parts of a document may come from aliases: a short text can stand for billions of them.
const MAX_ALIASED: usize = 100_000;

/// The longest word of a file that is repeated in a message, in bytes.
const MAX_WORD: usize = 100;

const TOO_BIG: &str = "this document is bigger, or nested deeper, than a manifest can be";

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line in the file, counted from 1; 0 if it is not known.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// The documents of a file, each with its tree, without those in which nothing stands. They are taken apart at the lines
/// `---`, as kubectl does, so that one that cannot be read does not hide the next.
pub fn documents(text: &str) -> impl Iterator<Item = Result<Node, Unreadable>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut starts = vec![(0, 1)];
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if index > 0 && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            starts.push((offset, index));
        }
        offset += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(start, _)| *start).chain([text.len()]).collect();
    starts.into_iter().zip(ends).filter_map(move |((start, line), end)| {
        let document = text.get(start..end).filter(|document| !is_empty(document))?;
        let before = if start == 0 { 0 } else { line };
        match parse(document, u64::try_from(before).unwrap_or_default()) {
            Ok(Node { value: Value::Null, .. }) => None,
            result => Some(result),
        }
    })
}

fn is_empty(document: &str) -> bool {
    document.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with(['#', '%']) || line == "---")
}

/// The tree of a document before which so many lines stand in its file.
fn parse(document: &str, before: u64) -> Result<Node, Unreadable> {
    let options = serde_saphyr::options! {
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED },
        // kubectl reads 010 as 8.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(document, options).map(|node: Node| node.shifted(before)).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line() + before);
        let (message, remedy) = if document.contains("{{") { template() } else { explanation(&error) };
        Unreadable { line, message, remedy }
    })
}

/// What to say of a template of Helm, which is no manifest yet.
pub fn template() -> (String, String) {
    (
        "this is a template ({{ ... }}), not a manifest".to_owned(),
        "render it first, and check what comes out: helm template ... | regcred check -".to_owned(),
    )
}

/// In our own words: those of the parser may repeat a value of the file, which may be a password.
fn explanation(error: &Error) -> (String, String) {
    let look = "look at this line and the ones above it: indentation, quotes, brackets".to_owned();
    let (message, remedy) = match error.without_snippet() {
        Error::AliasError { error, .. } => return explanation(error),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map(|key| format!(" {:?}", shortened(key.to_owned(), MAX_WORD)));
            return (
                format!("the key{} stands twice in one mapping", key.unwrap_or_default()),
                "remove one of the two".to_owned(),
            );
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => (TOO_BIG.to_owned(), None),
        Error::ExternalMessage { msg, .. } if msg.contains("recursion limit") => (TOO_BIG.to_owned(), None),
        // What the scanner says names the rule, and never a value.
        Error::ExternalMessage { msg, .. } => {
            (format!("this is not YAML: {}", shortened(msg.clone(), MAX_WORD)), Some(look))
        }
        Error::UnknownAnchor { .. } => (
            "an alias (*) names an anchor (&) that is not there".to_owned(),
            Some("put a value that begins with * in quotes".to_owned()),
        ),
        _ => ("this is not YAML that a manifest can be made of".to_owned(), Some(look)),
    };
    let smaller =
        "look for brackets that are never closed and aliases (*) that multiply; a long list can be split with ---";
    (message, remedy.unwrap_or_else(|| smaller.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each document as JSON, or what is wrong with it, and the line.
    fn read(text: &str) -> Vec<(u64, String)> {
        let say = |document: Result<Node, Unreadable>| match document {
            Ok(node) => (node.line, node.to_json().to_string()),
            Err(unreadable) => (unreadable.line, unreadable.message),
        };
        documents(text).map(say).collect()
    }

    #[test]
    fn reads_scalars_as_kubectl_does() {
        for (text, json) in [
            ("[a, 'b', \"c\"]", r#"["a","b","c"]"#),
            ("[true, on, Off, yes, \"off\"]", r#"[true,true,false,true,"off"]"#),
            ("[1, 30.0, 1.5, 0x10, 010, 1_000]", "[1,30,1.5,16,8,1000]"),
            ("[99999999999999999999]", "[9223372036854775807]"),
            ("[~, null, a]", r#"[null,null,"a"]"#),
            ("{a: ~, b: 1}", r#"{"b":1}"#),
            ("{1: a, true: b}", r#"{"1":"a","true":"b"}"#),
            ("[2026-01-01]", r#"["2026-01-01"]"#),
            ("{\"a\": \"\\/\",\n\t\"b\": []}", r#"{"a":"/","b":[]}"#),
            ("a: &x {b: 1}\nc: {<<: *x, d: 2}", r#"{"a":{"b":1},"c":{"b":1,"d":2}}"#),
            ("\u{feff}a: 1", r#"{"a":1}"#),
        ] {
            let parts: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(read(text), [(1, parts.to_string())], "{text}");
        }
    }

    #[test]
    fn takes_documents_apart_and_keeps_the_lines() {
        assert_eq!(read(""), []);
        assert_eq!(read("# only\n---\n\n--- \n# this\n---"), []);
        assert_eq!(read("%YAML 1.2\n---\na: 1\n"), [(3, r#"{"a":1}"#.to_owned())]);
        let text = "a: |\n  x\n  ---\r\n---\r\nb: 1\r\n--- # c\nc: 1\n---d: 1\n";
        let lines: Vec<u64> = read(text).iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 5, 7]);
        let node = documents("a: 1\n---\nb:\n  c:\n  - d\n").nth(1).unwrap().unwrap();
        assert_eq!((node.line_of("b"), node.line_of("b.c"), node.line_of("b.x.y")), (3, 4, 3));
    }

    #[test]
    fn says_in_a_sentence_why_a_document_cannot_be_read() {
        let nested = "[".repeat(10_000);
        let laughs: String = (1..12)
            .map(|index| format!("a{index}: &a{index} [{}]\n", vec![format!("*a{}", index - 1); 10].join(",")))
            .collect();
        for (text, line, words) in [
            ("a: 1\nb: [", 2, "unclosed bracket"),
            ("a: b: c", 1, "mapping values are not allowed"),
            ("a: 1\na: 2", 2, "\"a\" stands twice"),
            ("a: *canary", 1, "names an anchor (&) that is not there"),
            ("a: .inf", 1, "not YAML that a manifest can be made of"),
            ("~: 1", 1, "not YAML that a manifest can be made of"),
            ("a:\n  {{ .Values.canary }}", 2, "a template"),
            (&nested, 1, TOO_BIG),
            (&format!("a0: &a0 [x]\n{laughs}"), 6, TOO_BIG),
        ] {
            let found = read(text);
            let [(found, message)] = found.as_slice() else { panic!("{text:.100}: {found:?}") };
            assert!(*found == line && message.contains(words), "{text:.100}: {found}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }
}
