//! What a listener answers: correct HTTP/1.1, or anything else that a client may meet.
//!
//! Says which bytes go out and what becomes of the connection after them; sending them is not done here.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::Seen;

/// How much of an endless answer is sent at once. In bytes.
const BLOCK: usize = 1 << 14;

/// One answer, see the module. Begin with [`Reply::status`], or with one that is no HTTP.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `None` if the body is sent as it is.
    head: Option<Head>,
    body: Vec<u8>,
    then: Then,
    delay: Duration,
    every: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
}

/// How a client knows where the answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// A `Content-Length` that is true.
    Length,
    /// A `Content-Length` of so many bytes, true or not.
    Declared(u64),
    Chunked,
    /// The head does not end.
    Open,
}

/// What becomes of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// It waits for the next request.
    Next,
    /// Nothing is sent any more.
    Close,
    /// It stays open, and nothing is sent any more.
    Hang,
    /// These bytes are sent again and again.
    Repeat(Vec<u8>),
}

/// A reply made ready for one request.
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) then: Then,
    /// How long to wait before the first byte.
    pub(super) delay: Duration,
    /// How long to wait after each byte; `None` if all go out at once.
    pub(super) every: Option<Duration>,
}

impl Reply {
    /// An answer with this status and no body. The connection is kept for the next request, unless the client does not
    /// want that or a header `Connection: close` is added.
    pub fn status(status: u16) -> Self {
        let head = Head { status, headers: Vec::new(), framing: Framing::Length };
        Self { head: Some(head), ..Self::bytes(Vec::new(), Then::Next) }
    }

    /// Exactly these bytes, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::bytes(bytes.into(), Then::Close)
    }

    /// No answer; the connection stays open.
    pub fn hang() -> Self {
        Self::bytes(Vec::new(), Then::Hang)
    }

    /// No answer; the connection ends.
    pub fn close() -> Self {
        Self::bytes(Vec::new(), Then::Close)
    }

    /// These bytes, again and again, as long as the client takes them.
    pub fn endless(bytes: impl Into<Vec<u8>>) -> Self {
        Self::bytes(Vec::new(), Then::Repeat(bytes.into()))
    }

    /// Adds a header, as it is, also one that is already there. Without effect on what is no HTTP. A `Content-Length`
    /// belongs into [`Reply::truncated`].
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(head) = &mut self.head {
            head.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body, and says that it is JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// Declares `length` bytes as the length of the body, sends the body as it is, and ends the connection.
    #[must_use]
    pub fn truncated(self, length: u64) -> Self {
        self.ending(Framing::Declared(length), Then::Close)
    }

    /// Goes on after the body with more of it, as long as the client takes it.
    #[must_use]
    pub fn endless_body(self) -> Self {
        let block = format!("{BLOCK:x}\r\n{}\r\n", "x".repeat(BLOCK));
        self.ending(Framing::Chunked, Then::Repeat(block.into_bytes()))
    }

    /// Goes on after the headers with more of them, as long as the client takes them. The body is not sent.
    #[must_use]
    pub fn endless_headers(mut self) -> Self {
        self.body = Vec::new();
        self.ending(Framing::Open, Then::Repeat(format!("X-More: {}\r\n", "x".repeat(64)).into_bytes()))
    }

    /// Waits so long before the first byte.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sends the answer, its head too, byte by byte, and waits so long after each.
    #[must_use]
    pub fn dripping(mut self, every: Duration) -> Self {
        self.every = Some(every);
        self
    }

    /// For what is no request.
    pub(super) fn bad_request() -> Self {
        Self::status(400).header("Connection", "close")
    }

    /// The bytes for `request`, which is `None` if there is none that could be read. `last`: the client wants no other.
    pub(super) fn outgoing(&self, request: Option<&Seen>, last: bool) -> Outgoing {
        let Self { head, body, then, delay, every } = self;
        let Some(head) = head else {
            return Outgoing { bytes: body.clone(), then: block(then, *every), delay: *delay, every: *every };
        };
        let has_connection = head.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection"));
        let closes = last || *then != Then::Next || head.closes();
        let mut bytes = head.lines(body.len());
        if closes && !has_connection {
            bytes.extend(b"Connection: close\r\n");
        }
        if head.framing != Framing::Open {
            bytes.extend(b"\r\n");
        }
        // The end of the head is the end of an answer to HEAD (RFC 9112, 6.3).
        let bare = request.is_some_and(|request| request.method == "HEAD") || head.has_no_body();
        match head.framing {
            _ if bare => {}
            Framing::Chunked if !body.is_empty() => {
                bytes.extend(format!("{:x}\r\n", body.len()).into_bytes());
                bytes.extend(body);
                bytes.extend(b"\r\n");
            }
            _ => bytes.extend(body),
        }
        let then = if closes && *then == Then::Next { Then::Close } else { block(then, *every) };
        Outgoing { bytes, then, delay: *delay, every: *every }
    }

    fn bytes(body: Vec<u8>, then: Then) -> Self {
        Self { head: None, body, then, delay: Duration::ZERO, every: None }
    }

    fn ending(mut self, framing: Framing, then: Then) -> Self {
        if let Some(head) = &mut self.head {
            head.framing = framing;
            self.then = then;
        }
        self
    }
}

impl Head {
    /// Status line and headers, without the empty line after them.
    fn lines(&self, body: usize) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut lines = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Unknown"));
        for (name, value) in &self.headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        match self.framing {
            Framing::Length if !self.has_no_body() => lines.push_str(&format!("Content-Length: {body}\r\n")),
            Framing::Declared(length) => lines.push_str(&format!("Content-Length: {length}\r\n")),
            Framing::Chunked => lines.push_str("Transfer-Encoding: chunked\r\n"),
            Framing::Length | Framing::Open => {}
        }
        lines.into_bytes()
    }

    fn closes(&self) -> bool {
        let is_close = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        };
        self.headers.iter().any(is_close)
    }

    /// Such an answer never has one (RFC 9110, 6.4.1).
    fn has_no_body(&self) -> bool {
        matches!(self.status, 100..200 | 204 | 304)
    }
}

/// What is repeated without a pause is sent in blocks of a useful size.
fn block(then: &Then, every: Option<Duration>) -> Then {
    match then {
        Then::Repeat(bytes) if every.is_none() => Then::Repeat(bytes.repeat(BLOCK.div_ceil(bytes.len().max(1)))),
        then => then.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply, method: &str, last: bool) -> (String, Then) {
        let seen = Seen { method: method.to_owned(), ..Seen::default() };
        let outgoing = reply.outgoing(Some(&seen), last);
        (String::from_utf8(outgoing.bytes).unwrap(), outgoing.then)
    }

    #[test]
    fn an_answer_says_where_it_ends_and_whether_another_may_follow() {
        let hi = Reply::status(200).body("hi");
        for (name, reply, method, last, expected, then) in [
            ("kept", hi.clone(), "GET", false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Then::Next),
            (
                "last",
                hi.clone(),
                "GET",
                true,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
                Then::Close,
            ),
            ("to HEAD", hi.clone(), "HEAD", false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Then::Next),
            ("no content", Reply::status(204), "GET", false, "HTTP/1.1 204 No Content\r\n\r\n", Then::Next),
            (
                "closing",
                Reply::status(400).header("Connection", "close"),
                "GET",
                false,
                "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                Then::Close,
            ),
            (
                "truncated",
                hi.truncated(9),
                "GET",
                false,
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhi",
                Then::Close,
            ),
            ("raw", Reply::raw("NOT HTTP"), "GET", false, "NOT HTTP", Then::Close),
            ("hang", Reply::hang(), "GET", false, "", Then::Hang),
        ] {
            assert_eq!(text(&reply, method, last), (expected.to_owned(), then), "{name}");
        }
    }

    #[test]
    fn an_endless_body_is_chunks_after_the_body() {
        let (text, then) = text(&Reply::status(200).body("hi").endless_body(), "GET", false);
        assert!(text.ends_with("Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n"), "{text}");
        assert!(matches!(then, Then::Repeat(block) if block.starts_with(b"4000\r\nxxx")));
    }
}
