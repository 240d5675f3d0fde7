//! A request as it reached a listener, and the questions tests have about it.
//!
//! Reads what was sent and judges nothing: whether a login is right is not known here.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// One request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// The HTTP method.
    pub method: String,
    /// Path and query as they were sent; the whole address from a client that takes the listener for a proxy.
    pub target: String,
    /// Name and value as they were sent, in their order; bytes that are no UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The body, with chunks put together.
    pub body: Vec<u8>,
}

impl Seen {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The values of a query parameter, decoded, in their order.
    pub fn query(&self, name: &str) -> Vec<String> {
        values(self.target.split_once('?').map_or("", |(_, query)| query).as_bytes(), name)
    }

    /// The values of a form field in the body, decoded, in their order. The content type is not looked at.
    pub fn form(&self, name: &str) -> Vec<String> {
        values(&self.body, name)
    }

    /// The value of the first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// User and password of a Basic login; `None` also for one that cannot be read.
    pub fn basic(&self) -> Option<(String, String)> {
        let decoded = BASE64_STANDARD.decode(self.authorization("Basic")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// The token of a Bearer login.
    pub fn bearer(&self) -> Option<&str> {
        self.authorization("Bearer")
    }

    fn authorization(&self, wanted: &str) -> Option<&str> {
        let (scheme, rest) = self.header("Authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
    }
}

fn values(encoded: &[u8], name: &str) -> Vec<String> {
    form_urlencoded::parse(encoded).filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorized(value: &str) -> Seen {
        Seen { headers: vec![("authorization".to_owned(), value.to_owned())], ..Seen::default() }
    }

    #[test]
    fn a_query_is_decoded_and_may_repeat_itself() {
        let target = "/token?scope=repository%3Aa%2Fb%3Apull&service=x+y&scope=second".to_owned();
        let seen = Seen { target, ..Seen::default() };
        assert_eq!(seen.path(), "/token");
        assert_eq!(seen.query("scope"), ["repository:a/b:pull", "second"]);
        assert_eq!(seen.query("service"), ["x y"]);
        assert!(seen.query("account").is_empty());
    }

    #[test]
    fn a_login_is_basic_or_bearer() {
        for (name, value, basic, bearer) in [
            ("basic", "Basic YWxpY2U6cjpnaHQ=", Some(("alice", "r:ght")), None),
            ("scheme in small letters", "basic YTpi", Some(("a", "b")), None),
            ("no base64", "Basic %%%", None, None),
            ("no colon", "Basic YWI=", None, None),
            ("bearer", "Bearer abc.def", None, Some("abc.def")),
            ("neither", "Negotiate abc", None, None),
        ] {
            let seen = authorized(value);
            let login = seen.basic();
            assert_eq!(login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())), basic, "{name}");
            assert_eq!(seen.bearer(), bearer, "{name}");
        }
    }
}
