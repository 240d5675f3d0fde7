//! Answers of token servers of which the tokens are known.

use proptest::prelude::*;
use regcred::{domain::token::Token, registry::grant::token};
use serde_json::{Value, json};

use crate::{config, holds::token_answer::holds};

/// A text that can be sent as a token.
fn usable() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,40}", "[A-Za-z0-9_-]{2,20}\\.[A-Za-z0-9_-]{2,20}\\.[A-Za-z0-9_-]{2,20}"]
}

/// Anything that is none.
fn unusable() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!(["abc"])),
        Just(json!({"token": "abc"})),
        any::<i64>().prop_map(Value::from),
        "[!-~]{0,8}[ \t\r\n\u{0}\u{7f}äé☃]{1}[!-~]{0,8}".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_token_is_found_under_either_name_and_the_first_counts(
        wanted in usable(),
        other in prop_oneof![usable().prop_map(Value::from), unusable()],
        bad in unusable(),
        is_first in any::<bool>(),
    ) {
        let other = if is_first { other } else { bad };
        let (token_, access_token) = if is_first { (json!(wanted), other) } else { (other, json!(wanted)) };
        let body = json!({
            "access_token": access_token, "expires_in": "soon", "issued_at": 7, "refresh_token": "r", "token": token_,
        });
        let found = token(body.to_string().as_bytes());
        prop_assert_eq!(found.as_ref().map(Token::expose), Some(wanted.as_str()));
        let alone = json!({ if is_first { "token" } else { "access_token" }: wanted });
        let found = token(alone.to_string().as_bytes());
        prop_assert_eq!(found.as_ref().map(Token::expose), Some(wanted.as_str()));
    }

    #[test]
    fn what_cannot_be_sent_is_no_token(token_ in unusable(), access_token in unusable()) {
        let body = json!({"token": token_, "access_token": access_token, "refresh_token": "abc"});
        prop_assert!(token(body.to_string().as_bytes()).is_none());
    }

    #[test]
    fn an_answer_that_is_cut_off_grants_nothing(wanted in usable(), at in any::<prop::sample::Index>()) {
        let body = json!({"token": wanted}).to_string();
        prop_assert!(token(&body.as_bytes()[..at.index(body.len())]).is_none());
    }

    #[test]
    fn of_anything_else_only_what_could_be_sent_is_taken(
        text in "[\\[{]?(\"(token|access_token|a|ä|\\\\u00e4|\\\\n)?\"|:|,|\\{|\\}|\\[|\\]|7|null| ){0,12}",
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        holds(text.as_bytes());
        holds(&bytes);
    }
}
