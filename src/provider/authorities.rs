//! The certificate authority of a registry, from the ConfigMap or Secret that `caRef` names.

use super::{Error, Io};
use crate::{
    api::{
        Reason,
        provider::{CaKind, CaReference},
        status::ObservedInput,
    },
    net::Certificates,
    problem::{Problem, field},
};

/// The key that is read when the reference names none.
const DEFAULT_KEY: &str = "ca.crt";

/// Reads the certificates that a reference names.
///
/// # Errors
/// [`Error`] says who has to move.
pub async fn read(io: &Io<'_>, reference: &CaReference) -> Result<(Certificates, ObservedInput), Error> {
    let CaReference { kind, name, key } = reference;
    let key = key.as_deref().unwrap_or(DEFAULT_KEY);
    let (pem, input) = match kind {
        CaKind::Secret => io.secret(name).await.map_err(|error| error.at(field::CA_REF))?.map(|(secret, input)| {
            let value = secret.data.unwrap_or_default().remove(key).map(|value| value.0);
            (value, input)
        }),
        CaKind::ConfigMap => io.config_map(name).await.map_err(|error| error.at(field::CA_REF))?.map(|(map, input)| {
            let binary = map.binary_data.unwrap_or_default().remove(key).map(|value| value.0);
            let text = map.data.unwrap_or_default().remove(key).map(String::into_bytes);
            (text.or(binary), input)
        }),
    }
    .ok_or_else(|| unusable(not_found(io.namespace(), reference), None))?;
    let kind = kind.as_str();
    let Some(pem) = pem else {
        let problem = Problem::new(Reason::CaNotFound, format!("{kind} {name:?} has no key {key:?}"))
            .hint(format!("add the key, or name another one in {}.key", field::CA_REF));
        return Err(unusable(problem, Some(input)));
    };
    match Certificates::parse(&pem) {
        Ok(certificates) => Ok((certificates, input)),
        Err(error) => {
            let message = format!("the value of key {key:?} in {kind} {name:?} cannot be used: {error}");
            let problem = Problem::new(Reason::SecretMalformed, message)
                .hint("put one or more certificates there as PEM text, without private keys");
            Err(unusable(problem, Some(input)))
        }
    }
}

/// The problem of an object that does not exist.
pub fn not_found(namespace: &str, reference: &CaReference) -> Problem {
    let CaReference { kind, name, .. } = reference;
    let kind = kind.as_str();
    let message = format!("{kind} {name:?} with the certificate authority does not exist in namespace {namespace:?}");
    let create = match reference.kind {
        CaKind::Secret => "secret generic",
        CaKind::ConfigMap => "configmap",
    };
    Problem::new(Reason::CaNotFound, message)
        .at(field::CA_REF)
        .hint(format!("create it: kubectl create {create} {name} --namespace {namespace} --from-file={DEFAULT_KEY}"))
}

fn unusable(problem: Problem, input: Option<ObservedInput>) -> Error {
    Error::Unusable { problem: Box::new(problem.at(field::CA_REF)), inputs: input.into_iter().collect() }
}
