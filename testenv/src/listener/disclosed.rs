//! Whether a secret is somewhere in recorded bytes, in any of the dresses that HTTP clients put on it.
//!
//! A proof that nothing was sent is only as good as this: it looks into everything that could be base64, and does not
//! depend on any header being where it belongs.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Takes any piece out of the middle of base64.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether `bytes` hold `secret`: as it is, percent-encoded, or in base64, of the standard or the URL alphabet, alone or
/// with other text around it. The base64 may itself be percent-encoded. An empty secret is held by nothing.
pub(super) fn holds(bytes: &[u8], secret: &str) -> bool {
    let secret = secret.as_bytes();
    let (plain, form) = (percent_decoded(bytes), percent_decoded(&spaced(bytes)));
    [bytes, &plain, &form].iter().any(|text| contains(text, secret) || in_base64(text, secret))
}

fn contains(bytes: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && bytes.windows(secret.len()).any(|window| window == secret)
}

fn in_base64(bytes: &[u8], secret: &[u8]) -> bool {
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    bytes.split(|byte| !letters(byte)).any(|run| {
        let run: Vec<u8> = run.iter().map(|&byte| standard(byte)).collect();
        // A run may begin anywhere: letters that are none of the base64's may stand before it.
        (0..run.len().min(4)).any(|skipped| {
            let run = &run[skipped..];
            // One letter alone is no byte.
            let whole = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
            LENIENT.decode(whole).is_ok_and(|decoded| contains(&decoded, secret))
        })
    })
}

/// The letter of the standard alphabet for one of the URL alphabet.
fn standard(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        _ => byte,
    }
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// As a form means it.
fn spaced(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    const SECRET: &str = "s3cr t?/~+\u{fc}";

    #[test]
    fn a_secret_is_found_in_every_dress() {
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let mut dresses = vec![
            ("plain", SECRET.to_owned()),
            ("form", format!("password={encoded}&more=1")),
            ("percent", encoded.replace('+', "%20").to_lowercase()),
        ];
        for before in ["", "u:", "us:", "user:"] {
            let whole = format!("{before}{SECRET} and more");
            dresses.push(("standard", format!("Authorization: Basic {}", BASE64_STANDARD.encode(&whole))));
            dresses.push(("url", format!("x{}", BASE64_URL_SAFE_NO_PAD.encode(&whole))));
            let escaped: String = form_urlencoded::byte_serialize(BASE64_STANDARD.encode(&whole).as_bytes()).collect();
            dresses.push(("both", escaped));
        }
        for (name, text) in dresses {
            assert!(holds(text.as_bytes(), SECRET), "{name}: {text}");
            assert!(!holds(text.as_bytes(), "other"), "{name}: {text}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert!(!holds(b"", SECRET));
        assert!(!holds(b"GET /v2/ HTTP/1.1\r\n\r\n", ""));
        assert!(!holds(b"%", SECRET));
    }
}
