//! What is to be linked can be. Pure.

use super::invalid;
use crate::{
    api::{
        RegistryConnectionSpec,
        connection::MAX_SERVICE_ACCOUNTS,
        names::{OBJECT_NAME_IN_WORDS, is_object_name},
    },
    domain::image_pattern::ImagePattern,
    problem::{Problem, field},
};

/// Checks the ServiceAccounts and the pattern of images.
///
/// # Errors
/// A [`Problem`] of reason `InvalidSpec` that names the field.
pub fn check(spec: &RegistryConnectionSpec) -> Result<(), Problem> {
    let accounts = spec.service_accounts.as_deref().unwrap_or_default();
    if accounts.len() > MAX_SERVICE_ACCOUNTS {
        let message = format!("serviceAccounts has {} entries, it may have {MAX_SERVICE_ACCOUNTS}", accounts.len());
        let hint = format!("keep at most {MAX_SERVICE_ACCOUNTS}, or link Pods by their images with autoLinkPattern");
        return Err(invalid(field::SERVICE_ACCOUNTS, message).hint(hint));
    }
    if let Some(name) = accounts.iter().find(|name| !is_object_name(name)) {
        let message = format!("{name:.300?} is not the name of a ServiceAccount");
        return Err(invalid(field::SERVICE_ACCOUNTS, message).hint(OBJECT_NAME_IN_WORDS));
    }
    match spec.auto_link_pattern.as_deref().map(ImagePattern::parse) {
        Some(Err(message)) => Err(invalid(field::AUTO_LINK_PATTERN, message.to_owned())
            .hint("write a host and a path, such as registry.example.com/team/*")),
        Some(Ok(_)) | None => Ok(()),
    }
}
