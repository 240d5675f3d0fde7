//! Names that are made of the characters that matter, near to and far from what is allowed.

use proptest::prelude::*;
use regcred::domain::image::{MAX_REPOSITORY, REFERENCE, REPOSITORY, Reference, RepositoryName};

use crate::{
    config,
    holds::image_name::{holds, name_holds, reference_holds},
};

/// What a pattern describes, without the anchors, which generators do not know.
fn of_pattern(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
}

/// Names of the published pattern, of few and short parts: repeated without limits they would hardly ever be short enough.
fn name() -> impl Strategy<Value = String> {
    of_pattern(&REPOSITORY.replace('*', "{0,3}").replace('+', "{1,4}"))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_name_of_the_published_pattern_is_one_and_stays_itself_in_an_address(name in name()) {
        name_holds(&name);
        prop_assert_eq!(RepositoryName::parse(&name).is_some(), name.len() <= MAX_REPOSITORY);
    }

    #[test]
    fn every_reference_of_the_published_pattern_is_one_and_stays_itself_in_an_address(text in of_pattern(REFERENCE)) {
        reference_holds(&text);
        prop_assert!(Reference::parse(&text).is_some());
    }

    #[test]
    fn the_published_patterns_are_what_is_accepted(
        name in "[a0._/-]{0,12}",
        near in "a[0a]{0,2}([.]{1,2}|_{1,4}|-{1,4}|/{1,2}|_-|%2f|\\.\\./|[?#@:A é\n]){1}[a0]{1,3}",
        long in "(a|a/|a__){250,260}",
        reference in "[aA0._+=:-]{0,12}",
        digest in "[a-z0-9+._A-]{0,8}:?[a-fA-Z0-9=_/.-]{30,34}",
        long_tag in "[a-z_.]{126,130}",
        any in any::<String>(),
    ) {
        for text in [name, near, long, reference, digest, long_tag, any] {
            holds(text.as_bytes());
        }
    }
}
