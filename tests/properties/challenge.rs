//! Challenges that are written by the rules of RFC 9110 are read back exactly, however they are written.

use http::HeaderValue;
use proptest::{prelude::*, sample::select};
use regcred::registry::challenge::{Bearer, Challenges};

use crate::{
    config,
    holds::challenge::{holds, read},
};

/// A challenge, and the way in which it is written.
#[derive(Clone, Debug)]
struct Written {
    scheme: String,
    parameters: Vec<(String, String)>,
    text: String,
}

/// What may stand between two items: at least one comma, and any white space around it.
fn separator() -> impl Strategy<Value = String> {
    "[ \t]{0,2},[ \t]{0,2}(,[ \t]?){0,2}"
}

/// A word in any mixture of large and small letters.
fn in_any_case(word: String) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<bool>(), word.len()).prop_map(move |large| {
        let letters = word.chars().zip(large);
        letters.map(|(letter, large)| if large { letter.to_ascii_uppercase() } else { letter }).collect()
    })
}

/// A value and one way to write it: as a word if it is one, else between quotes; escaped where it must be and here and
/// there where it need not be.
fn value() -> impl Strategy<Value = (String, String)> {
    let value = prop_oneof![
        Just("https://auth.example.com/token?account=x&y=%20".to_owned()),
        Just("repository:team/web:pull,push registry:catalog:*".to_owned()),
        Just("a\", Basic realm=\"b".to_owned()),
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}",
        "[ -~\t]{0,24}",
        "[ -~äé€☃]{0,12}",
    ];
    (value, any::<u64>(), "[ \t]{0,2}=[ \t]{0,2}").prop_map(|(value, bits, equals)| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let written = if !value.is_empty() && value.bytes().all(is_word) && bits & 1 == 1 {
            value.clone()
        } else {
            let escaped = value.char_indices().map(|(at, character)| {
                let is_escaped = matches!(character, '"' | '\\') || (bits >> (at % 64)) & 3 == 3;
                format!("{}{character}", if is_escaped { "\\" } else { "" })
            });
            format!("\"{}\"", escaped.collect::<String>())
        };
        (value, format!("{equals}{written}"))
    })
}

fn challenge() -> impl Strategy<Value = Written> {
    let words = |words: &[&str]| select(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let scheme =
        words(&["basic", "bearer", "bearer", "negotiate", "ntlm", "digest", "x-other!"]).prop_flat_map(in_any_case);
    let name = words(&["realm", "service", "scope", "error", "charset", "realm*", "x"]).prop_flat_map(in_any_case);
    let parameter = (name, value(), separator());
    (scheme, " [ \t]{0,2}", proptest::collection::vec(parameter, 0..6)).prop_map(|(scheme, space, parameters)| {
        let mut text = scheme.clone();
        for (at, (name, (_, written), separator)) in parameters.iter().enumerate() {
            text += if at == 0 { &space } else { separator };
            text += name;
            text += written;
        }
        let parameters = parameters.into_iter().map(|(name, (value, _), _)| (name, value)).collect();
        Written { scheme, parameters, text }
    })
}

/// What has to be read from challenges.
fn meaning<'a>(written: impl IntoIterator<Item = &'a Written>) -> Challenges {
    let mut meant = Challenges::default();
    for challenge in written {
        let value = |wanted: &str| {
            let mut parameters = challenge.parameters.iter();
            parameters.find(|(name, _)| name.to_lowercase() == wanted).map(|(_, value)| value.clone())
        };
        match challenge.scheme.to_lowercase().as_str() {
            "basic" => meant.basic = true,
            "bearer" => {
                meant.bearer.push(Bearer { realm: value("realm"), service: value("service"), scope: value("scope") });
            }
            _ => {}
        }
    }
    meant
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn challenges_are_read_back_from_however_many_headers(
        headers in proptest::collection::vec(proptest::collection::vec((challenge(), separator()), 0..4), 0..4),
        margin in "[ \t,]{0,3}",
    ) {
        let texts = headers.iter().map(|header| {
            let items = header.iter().enumerate().map(|(at, (challenge, separator))| {
                format!("{}{}", if at == 0 { &margin } else { separator }, challenge.text)
            });
            items.collect::<String>() + &margin
        });
        let values: Vec<HeaderValue> = texts.map(|text| HeaderValue::from_bytes(text.as_bytes()).unwrap()).collect();
        let meant = meaning(headers.iter().flatten().map(|(challenge, _)| challenge));
        prop_assert_eq!(read(&values), meant, "{:?}", values);
    }

    #[test]
    fn a_challenge_beside_credentials_of_another_scheme_is_still_read(
        challenge in challenge(),
        scheme in "Negotiate|NTLM|X-Other",
        token68 in "[A-Za-z0-9._~+/-]{1,20}={0,2}",
        separator in separator(),
        is_first in any::<bool>(),
    ) {
        let other = format!("{scheme} {token68}");
        let (first, second) = if is_first { (&challenge.text, &other) } else { (&other, &challenge.text) };
        let found = read(&[HeaderValue::from_bytes(format!("{first}{separator}{second}").as_bytes()).unwrap()]);
        // Such credentials look like a scheme if nothing tells them from one.
        let meant = meaning([&challenge]);
        let is_scheme = ["basic", "bearer"].iter().any(|scheme| token68.eq_ignore_ascii_case(scheme));
        prop_assert!(is_scheme || found == meant, "{found:?} of {first}{separator}{second}");
    }

    #[test]
    fn anything_else_is_read_as_what_stands_in_it_or_as_nothing(
        lines in proptest::collection::vec(prop_oneof![
            "[ -~\t]{0,60}",
            "((Basic|Bearer|realm|service|scope|=|,|\"|\\\\| |\t|a|é|https://a/){1}){0,20}",
        ], 0..4),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        holds(lines.join("\n").as_bytes());
        holds(&bytes);
    }
}
