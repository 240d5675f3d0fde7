//! Registries that mean harm: whatever they answer, nobody but the registry and its token servers hears the login, and
//! nobody but the user who reads the status learns that they tried.
//!
//! A [`Case`] is one connection with a registry of its own, which behaves but for what the case makes it do, and with a
//! foreign listener where the login must not go. [`court::Court`] sets up all cases of a test, waits for what the operator
//! says of each, and looks at the bytes that reached the listeners. Its harness proves something only because it also has
//! cases in which the login is let through: a table without one fails.
//!
//! No test here sleeps: slow registries are given up by `spec.test.timeoutSeconds`.

mod case;
mod court;
pub mod log;
mod reply;
mod stage;

mod address;
mod answer;
mod content;
mod dns;
mod realm;
mod redirect;
mod tls;
mod turned;

use case::{Case, Class};

/// Stands in everything a hostile server says, and in nothing else.
const MARKER: &str = "remote-marker-7f3a";

/// Opens every registry here.
const TOKEN: &str = "remote-marker-7f3a-token";

#[test]
fn each_class_has_two_cases_or_more_and_there_are_sixty_in_all() {
    let tables = [
        realm::cases(),
        address::cases(),
        redirect::cases(),
        dns::cases(),
        answer::cases(),
        content::cases(),
        tls::cases(),
        turned::cases(),
    ];
    let cases: Vec<Case> = tables.into_iter().flatten().filter(|case| !case.is_control()).collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    for class in Class::ALL {
        let count = cases.iter().filter(|case| case.class == *class).count();
        println!("{class:?}: {count}");
        assert!(count >= 2, "{class:?}: {count}");
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
}
