//! Decides which case of the contract a request is, and answers by the table.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::account::{Account, Registry, Wanted};
use super::contract::{CONTRACT, Call, ENDPOINTS, Endpoint, When};
use super::{LONGEST, Paths};
use crate::listener::{Reply, Seen};
use crate::provider::contract::{Found, find, is_encoded, query_names, reply, row, uncharted};
use crate::provider::limit::{Limits, Room, Window};
use crate::provider::{Login, uuid};

/// Which case, for which kind of request, and with what in the body if it is none of an error.
struct Decided {
    call: Option<Call>,
    when: When,
    body: Value,
}

impl Account {
    /// Answers a request to the API; with the status, and who asked.
    pub(super) fn answer(&mut self, seen: &Seen, now: Timestamp) -> (u16, Login, Reply) {
        let limits = Limits { hour: self.options.requests_an_hour, minute: self.options.requests_a_minute };
        let token = seen.bearer().unwrap_or_default();
        let stranger = if seen.header("Authorization").is_some() { Login::Stranger } else { Login::None };
        let mut wait = None;
        let (login, scopes, headers, room) = match self.asking(token, now) {
            None => (stranger, None, Window::default().headers(limits, now), Room::Yes),
            Some(asking) => {
                let room = asking.window.take(limits, now);
                (asking.login, Some(asking.scopes.to_vec()), asking.window.headers(limits, now), room)
            }
        };
        let decided = match (scopes, room) {
            (None, _) => case(None, When::NoLogin),
            (Some(_), Room::NotThisHour) => case(None, When::HourFull),
            (Some(_), Room::NotThisMinute(seconds)) => {
                wait = Some(seconds);
                case(None, When::MinuteFull)
            }
            (Some(scopes), Room::Yes) => self.decide(seen, token, &scopes, now),
        };
        let Some(row) = row(CONTRACT, decided.call, decided.when) else { return (500, login, uncharted()) };
        let error = || json!({ "id": row.code, "message": format!("{:?}", row.when), "request_id": uuid() });
        let body = if row.code.is_empty() { decided.body } else { error() };
        let mut reply = reply(row, &body);
        for (name, value) in headers {
            reply = reply.header(name, &value);
        }
        if let Some(seconds) = wait {
            reply = reply.header("retry-after", &seconds.to_string());
        }
        (row.status, login, reply)
    }

    fn decide(&mut self, seen: &Seen, token: &str, scopes: &[String], now: Timestamp) -> Decided {
        if !is_encoded(&seen.target) {
            return case(None, When::NotEncoded);
        }
        let paths = self.options.paths;
        let (endpoint, arguments) = match find(ENDPOINTS, &seen.method, seen.path(), |call| is_served(call, paths)) {
            Found::Call(endpoint, arguments) => (endpoint, arguments),
            Found::WrongMethod => return case(None, When::WrongMethod),
            Found::Nothing => return case(None, When::NoSuchPath),
        };
        let call = endpoint.call;
        match self.fulfil(endpoint, &arguments, seen, token, scopes, now) {
            Ok(body) => Decided { call: Some(call), when: When::Done, body },
            Err(when) => case(Some(call), when),
        }
    }

    fn fulfil(
        &mut self,
        endpoint: &Endpoint,
        arguments: &[String],
        seen: &Seen,
        token: &str,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<Value, When> {
        if endpoint.needs.iter().any(|needed| !scopes.iter().any(|scope| scope == needed)) {
            return Err(When::NoScope);
        }
        if query_names(seen).iter().any(|name| !endpoint.query.contains(&name.as_str())) {
            return Err(When::UnknownParameter);
        }
        match endpoint.call {
            Call::Registries => Ok(json!({ "registries": self.registries.iter().map(shown).collect::<Vec<_>>() })),
            Call::Registry => Ok(json!({ "registry": shown(self.named(arguments)?) })),
            Call::OnlyRegistry => {
                let mut registry = shown(self.only()?);
                registry["subscription"] = json!({ "tier": { "slug": "basic" } });
                Ok(json!({ "registry": registry }))
            }
            Call::Credentials => {
                let name = self.named(arguments)?.name.clone();
                let wanted = wanted(seen)?;
                Ok(self.issue(&name, &wanted, now))
            }
            Call::OnlyCredentials => {
                let name = self.only()?.name.clone();
                let wanted = wanted(seen)?;
                Ok(self.issue(&name, &wanted, now))
            }
            Call::Revoke if !is_form(seen) => Err(When::BadValue),
            Call::Revoke => match seen.form("token").as_slice() {
                // Only by itself.
                [named] if named == token && self.revoke(named, now) => Ok(Value::Null),
                [_] => Err(When::NoLogin),
                _ => Err(When::BadValue),
            },
        }
    }

    fn named(&self, arguments: &[String]) -> Result<&Registry, When> {
        let [name] = arguments else { return Err(When::NoRegistry) };
        self.registries.iter().find(|registry| registry.name == *name).ok_or(When::NoRegistry)
    }

    fn only(&self) -> Result<&Registry, When> {
        match self.registries.as_slice() {
            [only] => Ok(only),
            [] => Err(When::NoRegistry),
            _ => Err(When::Several),
        }
    }
}

fn case(call: Option<Call>, when: When) -> Decided {
    Decided { call, when, body: Value::Null }
}

fn is_served(call: Call, paths: Paths) -> bool {
    match call {
        Call::Registries | Call::Registry | Call::Credentials => paths != Paths::Old,
        Call::OnlyRegistry | Call::OnlyCredentials => paths != Paths::New,
        Call::Revoke => true,
    }
}

fn is_form(seen: &Seen) -> bool {
    seen.header("Content-Type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn wanted(seen: &Seen) -> Result<Wanted, When> {
    let seconds = match seen.query("expiry_seconds").as_slice() {
        [] => 0,
        [text] if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().map_err(|_| When::BadValue)?,
        _ => return Err(When::BadValue),
    };
    let read_write = match seen.query("read_write").as_slice() {
        [] => false,
        [text] => text.parse().map_err(|_| When::BadValue)?,
        _ => return Err(When::BadValue),
    };
    if seconds > LONGEST { Err(When::BadValue) } else { Ok(Wanted { seconds, read_write }) }
}

fn shown(registry: &Registry) -> Value {
    let created = registry.created.to_string();
    json!({
        "name": registry.name, "created_at": created, "region": "fra1", "storage_usage_bytes": 0,
        "storage_usage_bytes_updated_at": created,
    })
}
