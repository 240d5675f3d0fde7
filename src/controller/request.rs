//! What a user asks for by annotation on a connection: a refresh or a test, now. Each value is acted on once; the status
//! echoes it. Pure.

use sha2::{Digest, Sha256};

use crate::api::{
    Declared, RegistryConnectionStatus,
    names::{REFRESH_REQUESTED_ANNOTATION, TEST_REQUESTED_ANNOTATION},
};

/// The longest value that is echoed as it is, in bytes.
const MAX_ECHO: usize = 64;

/// The values of the two annotations, as the status echoes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// Of [`REFRESH_REQUESTED_ANNOTATION`].
    pub refresh: Option<String>,
    /// Of [`TEST_REQUESTED_ANNOTATION`].
    pub test: Option<String>,
}

impl Requested {
    /// What the annotations of a connection ask for.
    pub fn by(connection: &Declared) -> Self {
        let value = |key: &str| connection.metadata.annotations.as_ref()?.get(key).map(|value| echo(value));
        Self { refresh: value(REFRESH_REQUESTED_ANNOTATION), test: value(TEST_REQUESTED_ANNOTATION) }
    }

    /// What a status says was acted on.
    fn handled(status: &RegistryConnectionStatus) -> Self {
        Self { refresh: status.last_handled_refresh_at.clone(), test: status.last_handled_test_at.clone() }
    }
}

/// What is asked for, and what was acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    asked: Requested,
    handled: Requested,
}

impl Requests {
    /// Those of a connection: acted on is what its status or this process says so of.
    pub fn of(connection: &Declared, status: &RegistryConnectionStatus, remembered: &Requested) -> Self {
        let asked = Requested::by(connection);
        let told = Requested::handled(status);
        let newest = |asked: &Option<String>, remembered: &Option<String>, told: Option<String>| {
            if remembered.is_some() && asked == remembered { remembered.clone() } else { told }
        };
        let handled = Requested {
            refresh: newest(&asked.refresh, &remembered.refresh, told.refresh),
            test: newest(&asked.test, &remembered.test, told.test),
        };
        Self { asked, handled }
    }

    /// True if something is asked for that was not acted on.
    pub fn is_pending(&self) -> bool {
        let is_new = |asked: &Option<String>, handled: &Option<String>| asked.is_some() && asked != handled;
        is_new(&self.asked.refresh, &self.handled.refresh) || is_new(&self.asked.test, &self.handled.test)
    }

    /// True if a refresh is asked for that was not acted on, and not only a test.
    pub fn wants_refresh(&self) -> bool {
        self.asked.refresh.is_some() && self.asked.refresh != self.handled.refresh
    }

    /// The refresh that is asked for, whether it was acted on or not.
    pub fn refresh(&self) -> Option<&str> {
        self.asked.refresh.as_deref()
    }

    /// What is asked for.
    pub fn asked(&self) -> &Requested {
        &self.asked
    }

    /// Takes note that all that is asked for was acted on.
    pub fn acted_on(&mut self) -> Requested {
        let Requested { refresh, test } = self.asked.clone();
        self.handled.refresh = refresh.or(self.handled.refresh.take());
        self.handled.test = test.or(self.handled.test.take());
        self.handled.clone()
    }

    /// What was acted on last.
    pub fn handled(&self) -> &Requested {
        &self.handled
    }
}

/// The value, or, where it is too long for a status, what stands for it.
fn echo(value: &str) -> String {
    if value.len() <= MAX_ECHO {
        return value.to_owned();
    }
    let digest = Sha256::digest(value.as_bytes());
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::fixture::object;
    use serde_json::{Value, json};

    fn requests(annotations: Value, handled: Value, remembered: &Requested) -> Requests {
        let connection = object(|object| {
            object["metadata"]["annotations"] = annotations;
            object["status"] = handled;
        });
        Requests::of(&connection, &connection.status.clone().unwrap_or_default(), remembered)
    }

    #[test]
    fn each_value_asks_once() {
        let refresh = |value: &str| json!({REFRESH_REQUESTED_ANNOTATION: value});
        let test = |value: &str| json!({TEST_REQUESTED_ANNOTATION: value});
        let none = Requested::default();
        let remembered = Requested { refresh: Some("b".into()), test: None };
        for (name, annotations, handled, remembered, expected) in [
            ("nothing asked", json!({}), json!({}), &none, false),
            ("nothing asked any more", json!({}), json!({"lastHandledRefreshAt": "a"}), &none, false),
            ("a refresh", refresh("a"), json!({}), &none, true),
            ("an empty value", refresh(""), json!({}), &none, true),
            ("a refresh that was made", refresh("a"), json!({"lastHandledRefreshAt": "a"}), &none, false),
            ("another one", refresh("b"), json!({"lastHandledRefreshAt": "a"}), &none, true),
            (
                "another one, made and not told yet",
                refresh("b"),
                json!({"lastHandledRefreshAt": "a"}),
                &remembered,
                false,
            ),
            ("a third one", refresh("c"), json!({"lastHandledRefreshAt": "a"}), &remembered, true),
            ("the first one again", refresh("a"), json!({"lastHandledRefreshAt": "b"}), &remembered, true),
            ("a test", test("a"), json!({"lastHandledRefreshAt": "a"}), &none, true),
            ("a test that was made", test("a"), json!({"lastHandledTestAt": "a"}), &none, false),
        ] {
            assert_eq!(requests(annotations, handled, remembered).is_pending(), expected, "{name}");
        }
    }

    #[test]
    fn what_was_acted_on_is_echoed_and_nothing_is_forgotten() {
        let asked = json!({TEST_REQUESTED_ANNOTATION: "now"});
        let mut requests = requests(asked, json!({"lastHandledRefreshAt": "a"}), &Requested::default());
        let handled = Requested { refresh: Some("a".into()), test: Some("now".into()) };
        assert_eq!(requests.acted_on(), handled);
        assert_eq!((requests.handled(), requests.is_pending()), (&handled, false));
    }

    #[test]
    fn a_value_of_any_length_fits_into_the_status() {
        let (longest, longer) = ("a".repeat(MAX_ECHO), "a".repeat(MAX_ECHO + 1));
        assert_eq!(echo(&longest), longest);
        assert_eq!(echo(&longer).len(), 39);
        assert_ne!(echo(&longer), echo(&"b".repeat(MAX_ECHO + 1)));
        assert!(echo(&"ü".repeat(100_000)).len() <= MAX_ECHO);
    }
}
