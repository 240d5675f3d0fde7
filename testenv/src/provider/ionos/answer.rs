//! Decides which case of the contract a request is, and answers by the table.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::account::{Account, Life, Registry};
use super::body::new_token;
use super::contract::{CONTRACT, Call, ENDPOINTS, Endpoint, When};
use super::page::{by_offset, by_token};
use crate::listener::{Reply, Seen};
use crate::provider::Login;
use crate::provider::contract::{Found, find, is_encoded, query_names, reply, row, uncharted};
use crate::provider::limit::{Limits, Room};

/// Which case, for which kind of request, and with what in the body if it is none of an error.
struct Decided {
    call: Option<Call>,
    when: When,
    body: Value,
}

impl Account {
    /// Answers a request to the API; with the status, and who asked.
    pub(super) fn answer(&mut self, seen: &Seen, now: Timestamp) -> (u16, Login, Reply) {
        let stranger = if seen.header("Authorization").is_some() { Login::Stranger } else { Login::None };
        let asking = self.asking(seen);
        let mut wait = None;
        let decided = match &asking {
            None => case(None, When::NoLogin),
            Some((login, may_manage)) => match self.room(login, now) {
                Room::Yes => self.decide(seen, *may_manage, now),
                Room::NotThisHour => case(None, When::TooMany),
                Room::NotThisMinute(seconds) => {
                    wait = Some(seconds);
                    case(None, When::TooMany)
                }
            },
        };
        let login = asking.map_or(stranger, |(login, _)| login);
        let Some(row) = row(CONTRACT, decided.call, decided.when) else { return (500, login, uncharted()) };
        let message = json!({ "errorCode": row.code, "message": format!("{:?}", row.when) });
        let error = json!({ "httpStatus": row.status, "messages": [message] });
        let body = if row.code.is_empty() { &decided.body } else { &error };
        let mut reply = reply(row, body);
        if let Some(seconds) = wait {
            reply = reply.header("Retry-After", &seconds.to_string());
        }
        if row.headers.contains(&"Location") {
            reply = reply.header("Location", decided.body["href"].as_str().unwrap_or_default());
        }
        (row.status, login, reply)
    }

    fn room(&mut self, login: &Login, now: Timestamp) -> Room {
        let Some(minute) = self.options.requests_a_minute else { return Room::Yes };
        self.windows.entry(format!("{login:?}")).or_default().take(Limits { hour: usize::MAX, minute }, now)
    }

    fn decide(&mut self, seen: &Seen, may_manage: bool, now: Timestamp) -> Decided {
        if !is_encoded(&seen.target) {
            return case(None, When::NotEncoded);
        }
        let (endpoint, arguments) = match find(ENDPOINTS, &seen.method, seen.path(), |_| true) {
            Found::Call(endpoint, arguments) => (endpoint, arguments),
            Found::WrongMethod => return case(None, When::WrongMethod),
            Found::Nothing => return case(None, When::NoSuchPath),
        };
        let call = Some(endpoint.call);
        match self.fulfil(endpoint, &arguments, seen, may_manage, now) {
            Ok(body) => Decided { call, when: When::Done, body },
            Err(when) => case(call, when),
        }
    }

    fn fulfil(
        &mut self,
        endpoint: &Endpoint,
        arguments: &[String],
        seen: &Seen,
        may_manage: bool,
        now: Timestamp,
    ) -> Result<Value, When> {
        let is_first = self.contract(seen)?;
        if !endpoint.needs.is_empty() && !may_manage {
            return Err(When::NoRight);
        }
        if query_names(seen).iter().any(|name| !endpoint.query.contains(&name.as_str())) {
            return Err(When::UnknownParameter);
        }
        if arguments.iter().any(|id| !is_uuid(id)) {
            return Err(When::BadId);
        }
        let [registry, token] = [0, 1].map(|at| arguments.get(at).map_or("", String::as_str));
        let clock = self.clock();
        let most = self.options.page;
        let delay = SignedDuration::try_from(self.options.effective_after).unwrap_or(SignedDuration::ZERO);
        let begins = (!delay.is_zero()).then(|| now + delay);
        match endpoint.call {
            Call::Locations => Ok(json!({ "items": [{ "id": "de/fra" }, { "id": "de/txl" }] })),
            Call::Registries => self.list(seen, is_first),
            Call::Registry => Ok(self.found(registry, is_first)?.shown()),
            Call::Tokens => tokens(self.found(registry, is_first)?, seen, most),
            Call::CreateToken => {
                let registry = self.found(registry, is_first)?;
                let (from, expires) = new_token(seen, now).ok_or(When::BadBody)?;
                if registry.host.is_none() {
                    return Err(When::NotRunning);
                }
                if registry.tokens.iter().any(|token| token.made_from.name == from.name) {
                    return Err(When::NameTaken);
                }
                Ok(registry.issue(from, Life { begins, expires }, &clock, now))
            }
            Call::Token => {
                let registry = self.found(registry, is_first)?;
                let token = registry.tokens.iter().find(|one| one.id == token).ok_or(When::NoToken)?;
                Ok(token.shown(&registry.id))
            }
            Call::DeleteToken => {
                if self.found(registry, is_first)?.delete(|one| one.id == token) {
                    Ok(Value::Null)
                } else {
                    Err(When::NoToken)
                }
            }
        }
    }

    fn found(&mut self, id: &str, is_first: bool) -> Result<&mut Registry, When> {
        self.registry(id).filter(|_| is_first).ok_or(When::NoRegistry)
    }

    /// Whether the contract is the first, in which all the registries are.
    fn contract(&self, seen: &Seen) -> Result<bool, When> {
        let contracts = &self.options.contracts;
        match seen.header("X-Contract-Number") {
            None if contracts.len() > 1 => Err(When::WrongContract),
            None => Ok(true),
            Some(text) => {
                let at = contracts.iter().position(|contract| contract.to_string() == text);
                at.map(|at| at == 0).ok_or(When::WrongContract)
            }
        }
    }

    fn list(&self, seen: &Seen, is_first: bool) -> Result<Value, When> {
        let page = by_token(seen, self.options.page).ok_or(When::BadPage)?;
        // It searches: a name that holds another one is found with it.
        let wanted = seen.query("filter.name").concat();
        let fits = |registry: &&Registry| is_first && registry.name.contains(&wanted);
        let total = self.registries.iter().filter(fits).count();
        let items = page.items(self.registries.iter().filter(fits).map(Registry::shown));
        let next = page.next_token(total);
        let at = |token: &str| format!("{}?limit={}&pagination.token={token}", seen.path(), page.limit);
        let link = if next.is_empty() { String::new() } else { at(&next) };
        Ok(json!({
            "items": items, "_links": { "self": seen.target, "next": link, "previous": "" },
            "pagination": { "limit": page.limit, "token": next },
        }))
    }
}

fn tokens(registry: &Registry, seen: &Seen, most: usize) -> Result<Value, When> {
    let page = by_offset(seen, most).ok_or(When::BadPage)?;
    let total = registry.tokens.len();
    let items = page.items(registry.tokens.iter().map(|token| token.shown(&registry.id)));
    Ok(json!({
        "count": items.len(), "items": items, "limit": page.limit, "offset": page.offset, "total": total,
        "_links": page.links(seen.path(), total),
    }))
}

fn case(call: Option<Call>, when: When) -> Decided {
    Decided { call, when, body: Value::Null }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit())
}
