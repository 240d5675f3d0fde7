//! IONOS.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testenv::Ionos;
use testenv::provider::ionos::Options;
use testenv::provider::ionos::contract::{CONTRACT, Call, ENDPOINTS, Row, When};
use testenv::provider::{Listed, Login, Outage};

use super::{bearer, json, keeps, pulls, pushes};
use crate::http::{ask, basic, header, status};

const JSON: &str = "Content-Type: application/json\r\n";

/// An ID that nothing has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

async fn started(options: Options) -> (Ionos, String) {
    let ionos = Ionos::start(options).await.unwrap();
    let token = ionos.add_token();
    (ionos, token)
}

fn without_registries() -> Options {
    Options { registries: vec![], ..Options::default() }
}

/// Sends a request below the API's address.
fn send(ionos: &Ionos, request: &str, headers: &str, body: &str) -> String {
    let request = request.replacen(' ', " /containerregistries", 1);
    ask(&ionos.listener().host(), &request, headers, body.as_bytes())
}

fn call(ionos: &Ionos, request: &str, token: &str) -> String {
    send(ionos, request, &bearer(token), "")
}

fn new_token(name: &str, expires: Option<Timestamp>, scopes: &Value) -> String {
    let expires = expires.map(|expires| expires.to_string());
    json!({ "properties": { "name": name, "expiryDate": expires, "status": "enabled", "scopes": scopes } }).to_string()
}

fn pull_all() -> Value {
    json!([{ "type": "repository", "name": "*", "actions": ["pull"] }])
}

fn create(ionos: &Ionos, token: &str, body: &str) -> String {
    let request = format!("POST /registries/{}/tokens", ionos.id("shop").unwrap());
    send(ionos, &request, &(bearer(token) + JSON), body)
}

/// ID, and user and password, of a new token.
fn issue(ionos: &Ionos, token: &str, body: &str) -> (String, (String, String)) {
    let answer = create(ionos, token, body);
    assert_eq!(status(&answer), 201, "{answer}");
    let told = json(&answer);
    let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    (text("/id"), (text("/properties/credentials/username"), text("/properties/credentials/password")))
}

/// A well-formed request of this kind, for a registry and a token.
fn request(call: Call, registry: &str, token: &str) -> String {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.call == call).unwrap();
    let path = endpoint.path.strip_prefix("/containerregistries").unwrap();
    format!("{} {}", endpoint.method, path.replace("{registry}", registry).replace("{token}", token))
}

/// The answer to a request that is the case of this row.
async fn answer_of(row: &Row) -> String {
    let options = match row.when {
        When::TooMany => Options { requests_a_minute: Some(1), ..without_registries() },
        When::WrongContract => Options { contracts: vec![1, 2], ..without_registries() },
        When::Done | When::NoToken | When::BadBody | When::NameTaken => Options::default(),
        When::NoLogin
        | When::NotEncoded
        | When::NoSuchPath
        | When::WrongMethod
        | When::NoRight
        | When::UnknownParameter
        | When::BadPage
        | When::BadId
        | When::NoRegistry
        | When::NotRunning => without_registries(),
    };
    let is_new = options.registries.is_empty();
    let (ionos, token) = started(options).await;
    if is_new {
        ionos.create_registry("shop").unwrap();
    }
    let (id, good) = (ionos.id("shop").unwrap(), new_token("first", None, &pull_all()));
    let kind = row.call.unwrap_or(Call::Registry);
    let known = if is_new { NOBODY.to_owned() } else { issue(&ionos, &token, &good).0 };
    let plain = request(kind, &id, &known);
    let headers = bearer(&token) + JSON;
    match row.when {
        When::Done => send(&ionos, &plain, &headers, &new_token("second", None, &pull_all())),
        When::NoLogin => send(&ionos, &plain, "", ""),
        When::TooMany => {
            assert_eq!(status(&call(&ionos, &plain, &token)), 200);
            call(&ionos, &plain, &token)
        }
        When::NotEncoded => call(&ionos, "GET /registries?filter.name={shop}", &token),
        When::NoSuchPath => call(&ionos, "GET /registry", &token),
        When::WrongMethod => call(&ionos, "DELETE /registries", &token),
        When::WrongContract => call(&ionos, &plain, &token),
        When::NoRight => call(&ionos, &plain, &ionos.add_token_without_rights()),
        When::UnknownParameter => call(&ionos, "GET /registries?nextPageToken=x", &token),
        When::BadPage => call(&ionos, &format!("{plain}?limit=0"), &token),
        When::BadId => call(&ionos, "GET /registries/shop", &token),
        When::NoRegistry => call(&ionos, &plain.replace(&id, NOBODY), &token),
        When::NotRunning | When::NameTaken => send(&ionos, &plain, &headers, &good),
        When::NoToken => call(&ionos, &plain.replace(&known, NOBODY), &token),
        When::BadBody => send(&ionos, &plain, &headers, "{}"),
    }
}

#[tokio::test]
async fn keeps_every_row_of_its_contract() {
    for row in CONTRACT {
        let name = format!("{:?} {:?}", row.call, row.when);
        let answer = answer_of(row).await;
        assert_eq!(status(&answer), row.status, "{name}: {answer}");
        keeps(&answer, row.headers, row.body, &name);
        if row.code.is_empty() {
            continue;
        }
        let told = json(&answer);
        assert_eq!((&told["httpStatus"], &told["messages"][0]["errorCode"]), (&json!(row.status), &json!(row.code)));
        assert_eq!(header(&answer, "Retry-After").is_some(), row.status == 429, "{name}");
    }
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say_until_it_is_deleted() {
    let (ionos, token) = started(Options::default()).await;
    for name in ["web:v1", "team/app:v1"] {
        ionos.push("shop", name).await.unwrap();
    }
    let registry = ionos.registry("shop").unwrap();
    let scope = |kind: &str, name: &str, actions: &[&str]| json!([{ "type": kind, "name": name, "actions": actions }]);
    let cases = [
        ("all", pull_all(), (true, true, false)),
        ("one", scope("repository", "web", &["pull", "push"]), (true, false, true)),
        ("some", scope("namespace", "team", &["*"]), (false, true, false)),
        ("none", scope("registry", "*", &["list"]), (false, false, false)),
    ];
    let mut issued = Vec::new();
    for (name, scopes, expected) in cases {
        let (id, login) = issue(&ionos, &token, &new_token(name, None, &scopes));
        assert_eq!(login.0, name, "the user name is the token's name");
        assert!(ionos.accepts("shop", &login.0, &login.1).await.unwrap());
        let can = (
            pulls(&registry, &ionos.image("shop", "web:v1").unwrap(), &login).await,
            pulls(&registry, &ionos.image("shop", "team/app:v1").unwrap(), &login).await,
            pushes(&registry, &ionos.image("shop", &format!("web:{name}")).unwrap(), &login).await,
        );
        assert_eq!(can, expected, "{name}");
        issued.push((id, login));
    }
    let (id, login) = &issued[0];
    let delete = request(Call::DeleteToken, &ionos.id("shop").unwrap(), id);
    assert_eq!([204, 404].map(|_| status(&call(&ionos, &delete, &token))), [204, 404]);
    assert!(!ionos.accepts("shop", &login.0, &login.1).await.unwrap());
    assert!(!pulls(&registry, &ionos.image("shop", "web:v1").unwrap(), login).await);
    assert!(ionos.accepts("shop", &issued[1].1.0, &issued[1].1.1).await.unwrap(), "the others go on");
    ionos.delete_token("shop", "one").unwrap();
    assert!(!ionos.accepts("shop", &issued[1].1.0, &issued[1].1.1).await.unwrap());
    assert_eq!((ionos.issued(), ionos.alive()), (4, 2));
}

#[tokio::test]
async fn a_password_is_shown_once() {
    let (ionos, token) = started(Options::default()).await;
    let (id, (_, password)) = issue(&ionos, &token, &new_token("ci", None, &pull_all()));
    let registry = ionos.id("shop").unwrap();
    let one = call(&ionos, &request(Call::Token, &registry, &id), &token);
    let all = call(&ionos, &request(Call::Tokens, &registry, ""), &token);
    let shown = |told: &Value| told["properties"]["credentials"].clone();
    let expected = json!({ "username": "ci", "password": "" });
    assert_eq!((shown(&json(&one)), shown(&json(&all)["items"][0])), (expected.clone(), expected));
    assert!(!one.contains(&password) && !all.contains(&password));
    let text = format!("{:?}", ionos.requests());
    assert!(!text.contains(&password) && !text.contains(&token));
}

#[tokio::test]
async fn an_expired_token_is_refused_but_listed_and_its_name_is_taken() {
    let (ionos, token) = started(Options { speed: 1_000, ..Options::default() }).await;
    ionos.push("shop", "web:v1").await.unwrap();
    let expires = ionos.clock().now() + SignedDuration::from_secs(4_000);
    let (_, login) = issue(&ionos, &token, &new_token("short", Some(expires), &pull_all()));
    let (_, ever) = issue(&ionos, &token, &new_token("ever", None, &pull_all()));
    let ended = testenv::eventually("the end of a token", crate::DEADLINE, async || {
        Ok((!ionos.accepts("shop", &login.0, &login.1).await?).then_some(()))
    });
    ended.await.unwrap();
    assert!(ionos.clock().now() >= expires);
    let (registry, image) = (ionos.registry("shop").unwrap(), ionos.image("shop", "web:v1").unwrap());
    assert!(!pulls(&registry, &image, &login).await);
    assert!(pulls(&registry, &image, &ever).await);
    assert_eq!(ionos.alive(), 1);
    let listed = |name: &str, expires| Listed { name: name.to_owned(), expires };
    assert_eq!(ionos.tokens("shop").unwrap(), [listed("short", Some(expires)), listed("ever", None)]);
    assert_eq!(status(&create(&ionos, &token, &new_token("short", None, &pull_all()))), 409);
}

#[tokio::test]
async fn of_two_who_create_the_same_token_one_gets_it() {
    let (ionos, token) = started(Options::default()).await;
    let body = new_token("same", None, &pull_all());
    let mut statuses = thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| status(&create(&ionos, &token, &body))));
        both.map(|one| one.join().unwrap())
    });
    statuses.sort_unstable();
    assert_eq!((statuses, ionos.issued(), ionos.alive()), ([201, 409], 1, 1));
}

#[tokio::test]
async fn a_token_whose_answer_is_lost_is_listed_all_the_same() {
    let (ionos, token) = started(Options::default()).await;
    let body = new_token("lost", None, &pull_all());
    let path = format!("/containerregistries/registries/{}/tokens", ionos.id("shop").unwrap());
    let head = format!("POST {path} HTTP/1.1\r\n{}{JSON}Content-Length: {}\r\n\r\n{body}", bearer(&token), body.len());
    ionos.pause(Outage::AnswersLost);
    let mut connection = TcpStream::connect(ionos.listener().host()).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    assert_eq!(std::io::read_to_string(connection).unwrap(), "");
    ionos.resume();
    assert_eq!(ionos.requests().last().unwrap().status, Some(201));
    assert_eq!((ionos.issued(), ionos.tokens("shop").unwrap()[0].name.as_str()), (1, "lost"));
    assert_eq!(status(&create(&ionos, &token, &body)), 409);
}

#[tokio::test]
async fn a_token_may_need_a_while_until_it_works() {
    let effective_after = Duration::from_secs(60);
    let (ionos, token) = started(Options { speed: 30, effective_after, ..Options::default() }).await;
    let (_, login) = issue(&ionos, &token, &new_token("slow", None, &pull_all()));
    let works = testenv::eventually("a token that works", crate::DEADLINE, async || {
        Ok(ionos.accepts("shop", &login.0, &login.1).await?.then_some(()))
    });
    works.await.unwrap();
    let issued = ionos.requests()[0].at;
    assert!(ionos.clock().now().duration_since(issued) >= SignedDuration::try_from(effective_after).unwrap());
}

#[tokio::test]
async fn tokens_come_in_pages_by_offset() {
    let (ionos, token) = started(Options { page: 2, ..Options::default() }).await;
    let names = ["aa", "bb", "cc", "dd", "ee"];
    for name in names {
        issue(&ionos, &token, &new_token(name, None, &pull_all()));
    }
    let plain = request(Call::Tokens, &ionos.id("shop").unwrap(), "");
    let mut seen = Vec::new();
    for (query, count) in [("", 2), ("?offset=2&limit=100", 2), ("?offset=4", 1), ("?offset=5&limit=1", 0)] {
        let told = json(&call(&ionos, &format!("{plain}{query}"), &token));
        let items = told["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["properties"]["name"].as_str().unwrap().to_owned()));
        assert_eq!((&told["count"], &told["total"], items.len()), (&json!(count), &json!(5), count), "{query}");
        assert_eq!(told["_links"]["next"] == json!(""), count < 2, "{query}");
    }
    assert_eq!(seen, names);
    for query in ["?offset=-1", "?limit=x", "?limit=0", "?limit=1&limit=2"] {
        assert_eq!(status(&call(&ionos, &format!("{plain}{query}"), &token)), 400, "{query}");
    }
}

#[tokio::test]
async fn registries_come_in_pages_by_a_token_that_means_nothing_to_the_client() {
    let (ionos, token) = started(without_registries()).await;
    let names = ["demo", "demo-two", "other", "my-demo"];
    for name in names {
        ionos.create_registry(name).unwrap();
    }
    let list = |query: &str| json(&call(&ionos, &format!("GET /registries?{query}"), &token));
    let named = |told: &Value| -> Vec<String> {
        let items = told["items"].as_array().unwrap().iter();
        items.map(|item| item["properties"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let told =
            list(&if next.is_empty() { "limit=3".to_owned() } else { format!("limit=3&pagination.token={next}") });
        seen.extend(named(&told));
        next = told["pagination"]["token"].as_str().unwrap().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(seen, names);
    assert_eq!(named(&list("filter.name=demo")), ["demo", "demo-two", "my-demo"], "a search, not a comparison");
    assert_eq!(status(&call(&ionos, "GET /registries?pagination.token=3", &token)), 400);
}

#[tokio::test]
async fn a_registry_is_new_and_without_a_hostname_before_it_is_running() {
    let (ionos, token) = started(without_registries()).await;
    let id = ionos.create_registry("shop").unwrap();
    let look = || {
        let told = json(&call(&ionos, &request(Call::Registry, &id, ""), &token));
        (told["metadata"]["state"].clone(), told["properties"]["hostname"].clone())
    };
    assert_eq!(look(), (json!("New"), json!("")));
    assert!(ionos.registry("shop").is_err());
    ionos.finish_registry("shop").await.unwrap();
    assert_eq!(look(), (json!("Running"), json!(ionos.registry("shop").unwrap().host())));
    issue(&ionos, &token, &new_token("ci", None, &pull_all()));
}

#[tokio::test]
async fn a_token_of_one_registry_is_nothing_at_another() {
    let registries = vec!["shop".to_owned(), "store".to_owned()];
    let (ionos, token) = started(Options { registries, ..Options::default() }).await;
    let (_, login) = issue(&ionos, &token, &new_token("ci", None, &pull_all()));
    for (registry, expected) in [("shop", true), ("store", false)] {
        assert_eq!(ionos.accepts(registry, &login.0, &login.1).await.unwrap(), expected, "{registry}");
    }
    assert_eq!(ionos.logins("shop").unwrap()[0].user.as_deref(), Some("ci"));
}

#[tokio::test]
async fn who_has_several_contracts_says_which() {
    for (contracts, header, expected) in [
        (vec![7], "", (200, 1)),
        (vec![7], "X-Contract-Number: 7\r\n", (200, 1)),
        (vec![7], "X-Contract-Number: 8\r\n", (403, 0)),
        (vec![7, 8], "", (403, 0)),
        (vec![7, 8], "X-Contract-Number: 7\r\n", (200, 1)),
        (vec![7, 8], "X-Contract-Number: 8\r\n", (200, 0)),
        (vec![7, 8], "X-Contract-Number: x\r\n", (403, 0)),
    ] {
        let (ionos, token) = started(Options { contracts: contracts.clone(), ..without_registries() }).await;
        ionos.create_registry("shop").unwrap();
        let answer = send(&ionos, "GET /registries", &(bearer(&token) + header), "");
        let found = json(&answer)["items"].as_array().map_or(0, Vec::len);
        assert_eq!((status(&answer), found), expected, "{contracts:?} {header}");
    }
}

#[tokio::test]
async fn tokens_and_users_get_in_until_they_are_taken_away() {
    let (ionos, token) = started(without_registries()).await;
    let password = ionos.add_user("anna@example.com");
    let by_login = |password: &str| send(&ionos, "GET /registries", &basic("anna@example.com", password), "");
    assert_eq!(status(&by_login(&password)), 200);
    assert_eq!(status(&by_login("wrong")), 401);
    assert_eq!(status(&call(&ionos, "GET /registries", &token)), 200);
    ionos.remove_user("anna@example.com");
    ionos.revoke_token(&token);
    assert_eq!(status(&by_login(&password)), 401);
    assert_eq!(status(&call(&ionos, "GET /registries", &token)), 401);
    let who: Vec<_> = ionos.requests().into_iter().map(|one| one.login).collect();
    let anna = Login::User("anna@example.com".to_owned());
    assert_eq!(who, [anna, Login::Stranger, Login::ApiToken(0), Login::Stranger, Login::Stranger]);
}
