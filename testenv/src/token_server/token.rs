//! Makes tokens and the key that they are checked by.
//!
//! JSON Web Tokens (RFC 7519) signed with ES256, as distribution reads them. What they allow is not decided here.
//! <https://distribution.github.io/distribution/spec/auth/jwt/>

use std::iter::repeat_with;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::scope::Scope;

/// By this name a token tells the registry which key it was signed with.
const KEY_ID: &str = "testenv";

/// How long the registry takes a token beyond its end, in case clocks differ: `Leeway` in distribution v3,
/// `registry/auth/token/token.go`.
const LEEWAY: Duration = Duration::from_secs(60);

/// A signing key.
#[derive(Debug)]
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

/// What a token says.
pub(super) struct Claims<'a> {
    pub(super) issuer: &'a str,
    /// The user; empty for somebody without a login.
    pub(super) subject: &'a str,
    pub(super) audience: &'a str,
    pub(super) access: &'a [Scope],
    pub(super) issued: SystemTime,
    pub(super) lifetime: Duration,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("make a signing key"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random);
        let pair = pair.map_err(|error| anyhow!("read a signing key: {error}"))?;
        Ok(Self { pair, random })
    }

    /// The public key as a key set (RFC 7517, RFC 7518 6.2).
    pub(super) fn keys(&self) -> Value {
        // An uncompressed point: one byte that says so, then both coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": x, "y": y }] })
    }

    /// Signs a token. Its end is written earlier than it is, so that the registry keeps to the lifetime.
    pub(super) fn sign(&self, claims: &Claims) -> Result<String> {
        let id: String = repeat_with(fastrand::alphanumeric).take(16).collect();
        let issued = seconds(claims.issued)?;
        let expires = seconds(claims.issued + claims.lifetime - LEEWAY)?;
        let claims = json!({
            "iss": claims.issuer, "sub": claims.subject, "aud": claims.audience, "jti": id,
            "iat": issued, "nbf": issued, "exp": expires, "access": claims.access,
        });
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": KEY_ID });
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|_| anyhow!("sign a token"))?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn seconds(time: SystemTime) -> Result<u64> {
    Ok(time.duration_since(UNIX_EPOCH).context("a time before 1970")?.as_secs())
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_token_says_who_may_do_what_and_is_signed_with_the_published_key() {
        let signer = Signer::new().unwrap();
        let access = [Scope::parse("repository:a/b:pull").unwrap()];
        let (issued, lifetime) = (UNIX_EPOCH + Duration::from_secs(1_000), Duration::from_secs(90));
        let claims = Claims { issuer: "i", subject: "s", audience: "a", access: &access, issued, lifetime };
        let token = signer.sign(&claims).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();

        let mut told: Value = serde_json::from_slice(&decode(parts[1])).unwrap();
        told["jti"].take();
        let access = json!([{ "type": "repository", "name": "a/b", "actions": ["pull"] }]);
        let expected = json!({
            "iss": "i", "sub": "s", "aud": "a", "jti": null, "iat": 1_000, "nbf": 1_000, "exp": 1_030, "access": access,
        });
        assert_eq!(told, expected);

        let key = &signer.keys()["keys"][0];
        let mut point = vec![4];
        point.extend(["x", "y"].iter().flat_map(|name| decode(key[name].as_str().unwrap())));
        let signed = format!("{}.{}", parts[0], parts[1]);
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(signed.as_bytes(), &decode(parts[2])).unwrap();
    }
}
