//! What the schema asks of providers that issue credentials, once more: names and IDs go into the paths of requests. Pure.

use super::invalid;
use crate::{
    api::{
        issuer::{
            DIGITALOCEAN_REGISTRY_NAME_IN_WORDS, DigitalOcean, IONOS_REGISTRY_ID_IN_WORDS,
            IONOS_REGISTRY_NAME_IN_WORDS, Ionos, MAX_CONTRACT_NUMBER, MAX_DIGITALOCEAN_LIFE_SECONDS,
            MAX_IONOS_LIFE_MINUTES,
        },
        provider::IssuedBy,
    },
    problem::{Problem, field},
};

/// Checks the provider's part of a spec that refreshes every so many minutes.
pub(super) fn check(provider: IssuedBy<'_>, minutes: i32) -> Result<(), Problem> {
    match provider {
        IssuedBy::Digitalocean(digital_ocean) => check_digital_ocean(digital_ocean, i64::from(minutes)),
        IssuedBy::Ionos(ionos) => check_ionos(ionos, i64::from(minutes)),
    }
}

fn check_digital_ocean(digital_ocean: &DigitalOcean, minutes: i64) -> Result<(), Problem> {
    let name = &digital_ocean.registry_name;
    if !(1..=63).contains(&name.len()) || !name.bytes().all(is_of_a_name) {
        let message = format!("{name:.100?} is not the name of a registry");
        return Err(invalid(field::DIGITALOCEAN_REGISTRY_NAME, message).hint(DIGITALOCEAN_REGISTRY_NAME_IN_WORDS));
    }
    let (least, most) = (2 * 60 * minutes, MAX_DIGITALOCEAN_LIFE_SECONDS);
    life(digital_ocean.expiry_seconds, least, most, "seconds", field::DIGITALOCEAN_EXPIRY_SECONDS)
}

fn check_ionos(ionos: &Ionos, minutes: i64) -> Result<(), Problem> {
    match (&ionos.registry_name, &ionos.registry_id) {
        (Some(name), None) => {
            let ends_well = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && !name.ends_with('-');
            if !(3..=63).contains(&name.len()) || !ends_well || !name.bytes().all(is_of_a_name) {
                let message = format!("{name:.100?} is not the name of a registry");
                return Err(invalid(field::IONOS_REGISTRY_NAME, message).hint(IONOS_REGISTRY_NAME_IN_WORDS));
            }
        }
        (None, Some(id)) => {
            let is_of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if !(1..=64).contains(&id.len()) || !id.bytes().all(is_of_an_id) {
                let message = format!("{id:.100?} is not the ID of a registry");
                return Err(invalid(field::IONOS_REGISTRY_ID, message).hint(IONOS_REGISTRY_ID_IN_WORDS));
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            let message = "exactly one of registryName and registryId must be given".to_owned();
            return Err(
                invalid(field::IONOS_REGISTRY_NAME, message).hint("keep the one that says which registry it is")
            );
        }
    }
    if ionos.contract_number.is_some_and(|number| !(1..=MAX_CONTRACT_NUMBER).contains(&number)) {
        let message = "contractNumber is not the number of a contract".to_owned();
        return Err(invalid(field::IONOS_CONTRACT_NUMBER, message).hint("write the number that IONOS shows"));
    }
    let scopes = ionos.scopes.as_deref();
    let is_useless = |scopes: &[_]| scopes.is_empty() || scopes.len() > 16;
    if scopes.is_some_and(is_useless) || scopes.into_iter().flatten().any(|scope| scope.actions.is_empty()) {
        let message = "scopes must list one to sixteen scopes, each with an action".to_owned();
        let hint = "remove the field to let tokens pull from all repositories";
        return Err(invalid(field::IONOS_SCOPES, message).hint(hint));
    }
    life(ionos.token_ttl_minutes, 2 * minutes, MAX_IONOS_LIFE_MINUTES, "minutes", field::IONOS_TOKEN_TTL)
}

/// A credential that cannot be renewed in time still has to work.
fn life(life: Option<i64>, least: i64, most: i64, unit: &str, field: &'static str) -> Result<(), Problem> {
    match life {
        Some(life) if !(least..=most).contains(&life) => {
            let name = field.rsplit('.').next().unwrap_or(field);
            let message = format!("{name} is {life}, it may be {least} to {most} {unit}");
            Err(invalid(field, message).hint("let it be at least twice the refresh interval, or shorten that"))
        }
        Some(_) | None => Ok(()),
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::provider::{Provider, Way};
    use serde_json::{Value, json};

    fn refused(provider: Value, minutes: i32) -> Option<&'static str> {
        let provider: Provider = serde_json::from_value(provider).unwrap();
        let Way::Issued(provider) = provider.way() else { panic!("given") };
        check(provider, minutes).err().and_then(|problem| problem.field)
    }

    #[test]
    fn names_the_field_of_every_value_that_no_request_may_hold() {
        let digital_ocean = |key: &str, value: Value| {
            let mut provider = json!({"digitalocean": {"registryName": "shop", "secretRef": {"name": "t"}}});
            provider["digitalocean"][key] = value;
            provider
        };
        let ionos = |changes: Value| {
            let mut provider = json!({"ionos": {"registryName": "shop", "secretRef": {"name": "t"}}});
            provider["ionos"].as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            provider
        };
        for (provider, expected) in [
            (digital_ocean("readWrite", json!(true)), None),
            (digital_ocean("registryName", json!("../../account")), Some(field::DIGITALOCEAN_REGISTRY_NAME)),
            (digital_ocean("registryName", json!("")), Some(field::DIGITALOCEAN_REGISTRY_NAME)),
            (digital_ocean("registryName", json!("a".repeat(64))), Some(field::DIGITALOCEAN_REGISTRY_NAME)),
            (digital_ocean("expirySeconds", json!(3600)), None),
            (digital_ocean("expirySeconds", json!(3599)), Some(field::DIGITALOCEAN_EXPIRY_SECONDS)),
            (digital_ocean("expirySeconds", json!(1_576_800_001)), Some(field::DIGITALOCEAN_EXPIRY_SECONDS)),
            (ionos(json!({})), None),
            (ionos(json!({"registryName": "shop/x"})), Some(field::IONOS_REGISTRY_NAME)),
            (ionos(json!({"registryName": "1shop"})), Some(field::IONOS_REGISTRY_NAME)),
            (ionos(json!({"registryName": null})), Some(field::IONOS_REGISTRY_NAME)),
            (ionos(json!({"registryId": "1"})), Some(field::IONOS_REGISTRY_NAME)),
            (ionos(json!({"registryName": null, "registryId": "1/../2"})), Some(field::IONOS_REGISTRY_ID)),
            (ionos(json!({"registryName": null, "registryId": "8a-1"})), None),
            (ionos(json!({"contractNumber": 0})), Some(field::IONOS_CONTRACT_NUMBER)),
            (ionos(json!({"scopes": []})), Some(field::IONOS_SCOPES)),
            (ionos(json!({"scopes": [{"type": "repository", "name": "*", "actions": []}]})), Some(field::IONOS_SCOPES)),
            (ionos(json!({"tokenTtlMinutes": 60})), None),
            (ionos(json!({"tokenTtlMinutes": 59})), Some(field::IONOS_TOKEN_TTL)),
        ] {
            assert_eq!(refused(provider.clone(), 30), expected, "{provider}");
        }
    }
}
