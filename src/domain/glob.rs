//! Patterns in which an asterisk stands for any characters.

/// A pattern for names. `*` stands for any characters, also none; everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern that this text is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a name fits it. Takes no longer than the lengths of both multiplied.
    pub fn matches(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(start) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let end = parts.pop().unwrap_or_default();
        for part in parts {
            // The first place will do: what follows has the more to choose from.
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        name.ends_with(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_any_characters() {
        for (pattern, fitting, others) in [
            ("shop", &["shop"][..], &["", "shops", "the-shop"][..]),
            ("shop-*", &["shop-", "shop-1", "shop-a-b"], &["shop", "a-shop-1"]),
            ("*-shop", &["-shop", "a-shop", "a-shop-shop"], &["shop", "a-shop-1"]),
            ("a*b", &["ab", "axb", "abab"], &["a", "b", "aba", "ba"]),
            ("a*b*c", &["abc", "a-b-c", "abcbc"], &["acb", "abcb", "ac"]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("*", &["", "anything"], &[]),
            ("aa*aa", &["aaaa", "aabaa"], &["aa", "aaa"]),
        ] {
            let glob = Glob::new(pattern);
            fitting.iter().for_each(|name| assert!(glob.matches(name), "{pattern} {name}"));
            others.iter().for_each(|name| assert!(!glob.matches(name), "{pattern} {name}"));
        }
    }
}
