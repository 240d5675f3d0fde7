//! What a registry has answered, read from its log.
//!
//! An answered request has one line in the access log, with method, path and status. Who asked is told by the JSON lines
//! that the registry writes while it works on a request; they share an id, which the access line lacks. The two are put
//! together by method, address and status: requests that agree in all three may swap their lines without harm. How long
//! a log is waited for is not decided here.

use std::collections::{BTreeMap, HashMap, VecDeque};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One answered request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// The HTTP method.
    pub method: String,
    /// The path as it was sent, without query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// Whether the request carried a Basic login, accepted or not. The registry does not tell any other
    /// `Authorization` header from none, and does not look at logins for paths that are not its API's. Never with a token
    /// server: then the registry does not look at Basic logins.
    pub authorization: bool,
    /// Whether the request carried a Bearer token, accepted or not. Never without a token server: then the registry does
    /// not look at tokens.
    pub bearer: bool,
    /// The user of a Basic login, accepted or not, or of an accepted token. `None` also if a login was refused because
    /// the registry does not know the user: it keeps such names to itself; if a token was refused; and if a token was
    /// made for somebody without a login.
    pub user: Option<String>,
}

impl Access {
    /// Whether somebody tried to log in and was refused; a first, anonymous try is none, and neither is a token that was
    /// refused, because it is too old or allows too little. With a token server this is never so: ask that.
    pub fn is_failed_login(&self) -> bool {
        self.status == 401 && self.authorization
    }
}

/// By what a registry lets in. Its log does not say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    /// By Basic logins, with htpasswd.
    Basic,
    /// By Bearer tokens, from a token server.
    Bearer,
}

/// What a log says so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// In the order in which the answers were finished.
    pub(crate) answered: Vec<Access>,
    /// The requests that the running registry has begun but not finished: id to method and address.
    pub(crate) open: BTreeMap<String, String>,
}

/// One JSON line; the fields that are read.
#[derive(Deserialize)]
struct Line {
    msg: String,
    #[serde(rename = "http.request.id")]
    id: Option<String>,
    #[serde(default, rename = "http.request.method")]
    method: String,
    #[serde(default, rename = "http.request.uri")]
    uri: String,
    #[serde(rename = "http.response.status")]
    status: Option<u16>,
    /// The user whose login was accepted; empty for a token without a user.
    #[serde(rename = "auth.user.name")]
    accepted: Option<String>,
    /// The user whose login was refused, if the registry knows one of that name.
    #[serde(rename = "username")]
    refused: Option<String>,
}

/// A request as its JSON lines tell it.
#[derive(Default)]
struct Begun {
    id: String,
    /// How often the registry had been started before.
    life: usize,
    /// Method and address.
    request: String,
    /// `None` until it is decided, and for the few answers whose status only the access line has.
    status: Option<u16>,
    authorization: bool,
    bearer: bool,
    user: Option<String>,
}

impl Begun {
    fn note(&mut self, line: Line, scheme: Scheme) -> Result<()> {
        self.status = line.status.or(self.status);
        let carried = match scheme {
            Scheme::Basic => &mut self.authorization,
            Scheme::Bearer => &mut self.bearer,
        };
        if let Some(user) = line.accepted.or(line.refused) {
            *carried = true;
            self.user = Some(user).filter(|user| !user.is_empty());
        }
        if let Some(cause) = line.msg.strip_prefix("error authorizing context: ") {
            self.status = Some(401);
            *carried = match scheme {
                Scheme::Basic if cause.ends_with("authentication failure") => true,
                Scheme::Basic if cause.ends_with("invalid authorization credential") => false,
                Scheme::Basic => bail!("the registry could not judge a login: {cause}"),
                // Of all its causes the only one that is not about the token (registry/auth/token in distribution v3).
                Scheme::Bearer => cause != "authorization token required",
            };
        }
        Ok(())
    }
}

/// Reads a whole log. A last line without end is still being written and left out.
pub(crate) fn read(text: &str, scheme: Scheme) -> Result<Log> {
    let mut life = 0;
    let mut begun: Vec<Begun> = Vec::new();
    let mut ids = HashMap::new();
    let mut ended = Vec::new();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for text in whole.lines() {
        if text.starts_with('{') {
            let line: Line = serde_json::from_str(text).with_context(|| format!("a line of the log: {text}"))?;
            if line.msg.starts_with("listening on ") {
                life += 1;
            }
            let Some(id) = line.id.clone() else { continue };
            let index = *ids.entry(id.clone()).or_insert_with(|| {
                let request = format!("{} {}", line.method, line.uri);
                begun.push(Begun { id, life, request, ..Begun::default() });
                begun.len() - 1
            });
            begun[index].note(line, scheme)?;
        } else if text.starts_with("127.0.0.1 - ") {
            let (request, status) = access_line(text).with_context(|| format!("a line of the access log: {text}"))?;
            ended.push((life, request, status));
        }
    }
    let mut waiting: HashMap<_, VecDeque<&Begun>> = HashMap::new();
    for one in &begun {
        waiting.entry((one.life, one.request.as_str(), one.status)).or_default().push_back(one);
    }
    let mut take = |life, request, status| waiting.get_mut(&(life, request, status)).and_then(VecDeque::pop_front);
    // First those whose status is told, so that only the others share what is left.
    let mut who: Vec<_> = ended.iter().map(|&(life, request, status)| take(life, request, Some(status))).collect();
    for (who, &(life, request, _)) in who.iter_mut().zip(&ended) {
        *who = who.or_else(|| take(life, request, None));
    }
    let answered = ended.iter().zip(who).map(|(&(_, request, status), who)| access(request, status, who)).collect();
    // What an earlier life has left open was cut off with it.
    let open = waiting.into_values().flatten().filter(|one| one.life == life);
    Ok(Log { answered, open: open.map(|one| (one.id.clone(), one.request.clone())).collect() })
}

fn access(request: &str, status: u16, who: Option<&Begun>) -> Access {
    let (method, uri) = request.split_once(' ').unwrap_or((request, ""));
    let path = uri.split('?').next().unwrap_or_default();
    Access {
        method: method.to_owned(),
        path: path.to_owned(),
        status,
        authorization: who.is_some_and(|who| who.authorization),
        bearer: who.is_some_and(|who| who.bearer),
        user: who.and_then(|who| who.user.clone()),
    }
}

/// Method with address, and status, from `HOST - - [TIME] "METHOD ADDRESS HTTP/1.1" STATUS …`.
fn access_line(line: &str) -> Option<(&str, u16)> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once(" HTTP/")?;
    let (_, rest) = rest.split_once("\" ")?;
    Some((request, rest.split(' ').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENING: &str = "{\"msg\":\"listening on 127.0.0.1:5000\"}\n";

    fn read(text: &str) -> Result<Log> {
        super::read(text, Scheme::Basic)
    }

    fn json(id: &str, uri: &str, msg: &str, more: &str) -> String {
        let request =
            format!("\"http.request.id\":\"{id}\",\"http.request.method\":\"GET\",\"http.request.uri\":\"{uri}\"");
        format!("{{{request},\"msg\":\"{msg}\"{more}}}\n")
    }

    fn authorized(id: &str, uri: &str, user: &str) -> String {
        json(id, uri, "authorized request", &format!(",\"auth.user.name\":\"{user}\""))
    }

    fn completed(id: &str, uri: &str) -> String {
        json(id, uri, "response completed", ",\"http.response.status\":200")
    }

    fn line(uri: &str, status: u16) -> String {
        format!(
            "127.0.0.1 - - [21/Nov/2026:13:07:13 +0000] \"GET {uri} HTTP/1.1\" {status} 87 \"\" \"client \\\" HTTP/2\"\n"
        )
    }

    fn told(log: &Log) -> Vec<String> {
        let told = |one: &Access| format!("{} {} {:?}", one.path, one.status, one.user.as_deref().unwrap_or("-"));
        log.answered.iter().map(told).collect()
    }

    #[test]
    fn a_request_is_open_from_its_first_line_to_its_access_line() {
        let mut text = LISTENING.to_owned() + &authorized("1", "/v2/?a=b", "alice");
        assert_eq!(read(&text).unwrap().open.into_values().collect::<Vec<_>>(), ["GET /v2/?a=b"]);
        text += &completed("1", "/v2/?a=b");
        assert_eq!(read(&text).unwrap().open.len(), 1);
        text += line("/v2/?a=b", 200).trim_end();
        assert_eq!(read(&text).unwrap().open.len(), 1, "half a line");
        text += "\n";
        let log = read(&text).unwrap();
        assert!(log.open.is_empty());
        assert_eq!(told(&log), ["/v2/ 200 \"alice\""]);
    }

    #[test]
    fn requests_at_the_same_time_keep_their_users() {
        let refused = "error authorizing context: challenge: authentication failure";
        let text = [
            LISTENING.to_owned(),
            authorized("1", "/v2/", "alice"),
            json("2", "/v2/", "user failed to authenticate", ",\"username\":\"bob\""),
            json("2", "/v2/", refused, ""),
            line("/v2/", 401),
            completed("1", "/v2/"),
            line("/v2/", 200),
        ];
        assert_eq!(told(&read(&text.concat()).unwrap()), ["/v2/ 401 \"bob\"", "/v2/ 200 \"alice\""]);
    }

    #[test]
    fn an_answer_whose_status_only_the_access_line_has_goes_to_who_is_left() {
        let range =
            [LISTENING.to_owned(), authorized("1", "/b", "alice"), authorized("2", "/b", "bob"), line("/b", 416)];
        let mut text = range.concat();
        assert_eq!(read(&text).unwrap().open.len(), 1);
        text += &completed("1", "/b");
        text += &line("/b", 200);
        let log = read(&text).unwrap();
        assert!(log.open.is_empty());
        assert_eq!(told(&log), ["/b 416 \"bob\"", "/b 200 \"alice\""]);
    }

    #[test]
    fn what_was_cut_off_is_not_open_and_gets_no_later_line() {
        let text = [LISTENING, &authorized("1", "/v2/", "alice"), LISTENING, &line("/v2/", 404)].concat();
        let log = read(&text).unwrap();
        assert!(log.open.is_empty());
        assert_eq!(told(&log), ["/v2/ 404 \"-\""]);
    }

    #[test]
    fn a_login_that_could_not_be_judged_is_an_error() {
        let error = read(&json("1", "/v2/", "error authorizing context: no such file", "")).unwrap_err();
        assert_eq!(error.to_string(), "the registry could not judge a login: no such file");
    }

    #[test]
    fn a_token_is_told_from_none_and_its_user_only_if_it_was_accepted() {
        let mut text = LISTENING.to_owned();
        for cause in ["authorization token required", "insufficient scope", "go-jose/go-jose: error"] {
            text += &json(cause, "/v2/", &format!("error authorizing context: {cause}"), "");
            text += &line("/v2/", 401);
        }
        for user in ["alice", ""] {
            text += &(authorized(user, "/v2/", user) + &completed(user, "/v2/") + &line("/v2/", 200));
        }
        let log = super::read(&text, Scheme::Bearer).unwrap().answered;
        assert!(log.iter().all(|access| !access.authorization && !access.is_failed_login()));
        let told: Vec<_> = log.iter().map(|access| (access.status, access.bearer, access.user.as_deref())).collect();
        let expected =
            [(401, false, None), (401, true, None), (401, true, None), (200, true, Some("alice")), (200, true, None)];
        assert_eq!(told, expected);
    }
}
