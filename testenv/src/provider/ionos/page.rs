//! The two ways in which lists come in pages: by offset, and by an opaque token. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::listener::Seen;

/// What a page holds when nothing is asked, and at most: registry-apis.md 4.1.
const LIMIT: usize = 100;

/// What a page token says before the number of the next item.
const MARK: &str = "after:";

/// A part of a list.
pub(super) struct Page {
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// The page by offset that is asked for; `None` for one that cannot be.
pub(super) fn by_offset(seen: &Seen, most: usize) -> Option<Page> {
    Some(Page { offset: number(seen, "offset", 0)?, limit: limit(seen, most)? })
}

/// The page by token that is asked for; `None` for one that cannot be, or a token that was not given out.
pub(super) fn by_token(seen: &Seen, most: usize) -> Option<Page> {
    let offset = match seen.query("pagination.token").as_slice() {
        [] => 0,
        [token] => {
            let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            text.strip_prefix(MARK)?.parse().ok()?
        }
        _ => return None,
    };
    Some(Page { offset, limit: limit(seen, most)? })
}

impl Page {
    /// The items on it.
    pub(super) fn items<T>(&self, all: impl Iterator<Item = T>) -> Vec<T> {
        all.skip(self.offset).take(self.limit).collect()
    }

    /// Whether more come behind it.
    pub(super) fn has_next(&self, total: usize) -> bool {
        self.offset.saturating_add(self.limit) < total
    }

    /// The token for the next page; empty if there is none.
    pub(super) fn next_token(&self, total: usize) -> String {
        let token = || BASE64_URL_SAFE_NO_PAD.encode(format!("{MARK}{}", self.offset + self.limit));
        if self.has_next(total) { token() } else { String::new() }
    }

    /// Where this page, the next and the previous one are by offset; empty if there are none.
    pub(super) fn links(&self, path: &str, total: usize) -> Value {
        let at = |offset: usize| format!("{path}?offset={offset}&limit={}", self.limit);
        let next = if self.has_next(total) { at(self.offset + self.limit) } else { String::new() };
        let previous = if self.offset > 0 { at(self.offset.saturating_sub(self.limit)) } else { String::new() };
        json!({ "self": at(self.offset), "next": next, "previous": previous })
    }
}

fn limit(seen: &Seen, most: usize) -> Option<usize> {
    number(seen, "limit", LIMIT).filter(|limit| *limit > 0).map(|limit| limit.min(most).min(LIMIT))
}

fn number(seen: &Seen, name: &str, default: usize) -> Option<usize> {
    match seen.query(name).as_slice() {
        [] => Some(default),
        [text] if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
