//! What keys of labels, annotations and data, and values of labels look like, by the API server's rules for them. An
//! object that breaks one can never be written.

use super::names::is_object_name;

/// The longest key of a label or annotation behind its prefix, and the longest value of a label, in bytes.
const MAX_LABEL: usize = 63;

/// The longest key in the data of a Secret or ConfigMap.
pub const MAX_DATA_KEY: usize = 253;

/// The most that all keys and values of an object's annotations may hold together, in bytes.
pub const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The key of a label or annotation in words, for those who have to correct one.
pub const QUALIFIED_NAME_IN_WORDS: &str = "use at most 63 letters, digits, -, _ and ., with a letter or digit at both ends; before that may stand the name of a domain and a slash, such as example.com/team";

/// The key of a label, as a regular expression for the schema.
pub const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// The value of a label, as a regular expression for the schema.
pub const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// The same in words.
pub const LABEL_VALUE_IN_WORDS: &str =
    "use at most 63 letters, digits, -, _ and ., with a letter or digit at both ends; what needs more is an annotation";

/// A key in the data of a Secret or ConfigMap, as a regular expression for the schema.
pub const DATA_KEY: &str = r"^\.?[-_A-Za-z0-9][-._A-Za-z0-9]*$";

/// The same in words.
pub const DATA_KEY_IN_WORDS: &str = "use at most 253 letters, digits, -, _ and ., and not two dots at the start";

/// Whether a text can be the key of a label. With a prefix in lower case it can be that of an annotation, too.
pub fn is_label_key(text: &str) -> bool {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_object_name) && !name.is_empty() && is_label_value(name)
}

/// Whether a text can be the key of an annotation: the API server looks at it in lower case.
pub fn is_annotation_key(text: &str) -> bool {
    is_label_key(&text.to_ascii_lowercase())
}

/// Whether a text can be the value of a label: [`LABEL_VALUE`], and at most 63 characters.
pub fn is_label_value(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let ends = [text.bytes().next(), text.bytes().last()];
    text.len() <= MAX_LABEL
        && text.as_bytes().iter().all(is_inner)
        && ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a text can be a key in the data of a Secret or ConfigMap: [`DATA_KEY`], and at most 253 characters.
pub fn is_data_key(text: &str) -> bool {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_DATA_KEY).contains(&text.len()) && text.bytes().all(is_key) && text != "." && !text.starts_with("..")
}

/// Whether annotations hold more than an object may have, by their keys and values.
pub fn are_too_large<'a>(annotations: impl Iterator<Item = (&'a str, &'a str)>) -> bool {
    annotations.map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_ANNOTATIONS
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn knows_the_keys_of_labels_and_annotations() {
        let long = "a".repeat(63);
        for (text, label, annotation) in [
            ("team", true, true),
            ("A.b_c-1", true, true),
            (&long, true, true),
            ("example.com/Team", true, true),
            (&format!("{}/{long}", "a".repeat(253)), true, true),
            ("Example.com/team", false, true),
            ("", false, false),
            ("/team", false, false),
            ("example.com/", false, false),
            ("a/b/c", false, false),
            ("bad key!", false, false),
            ("-a", false, false),
            ("a.", false, false),
            ("b\u{fc}cher", false, false),
            (&format!("{long}a"), false, false),
            (&format!("{}/a", "a".repeat(254)), false, false),
            ("a_b/c", false, false),
        ] {
            assert_eq!((is_label_key(text), is_annotation_key(text)), (label, annotation), "{text}");
        }
    }

    #[test]
    fn knows_values_and_keys_of_data_as_the_schema_does() {
        let (value, key) = (Regex::new(LABEL_VALUE).unwrap(), Regex::new(DATA_KEY).unwrap());
        for (text, is_value, is_key) in [
            ("", true, false),
            ("a", true, true),
            ("A.b_c-1", true, true),
            ("_a", false, true),
            (".dockerconfigjson", false, true),
            (".", false, false),
            ("..", false, false),
            ("..a", false, false),
            (".-", false, true),
            ("a..", false, true),
            ("a b/c", false, false),
            ("a\n", false, false),
            ("not ok!", false, false),
        ] {
            assert_eq!((is_label_value(text), is_data_key(text)), (is_value, is_key), "{text}");
            assert_eq!((value.is_match(text), key.is_match(text)), (is_value, is_key), "{text}");
        }
        assert!(is_label_value(&"a".repeat(63)) && !is_label_value(&"a".repeat(64)));
        assert!(is_data_key(&"a".repeat(253)) && !is_data_key(&"a".repeat(254)));
    }

    #[test]
    fn adds_up_what_annotations_hold() {
        let value = "a".repeat(MAX_ANNOTATIONS - 2);
        assert!(!are_too_large([("k", value.as_str()), ("l", "")].into_iter()));
        assert!(are_too_large([("k", value.as_str()), ("l", "a")].into_iter()));
    }
}
