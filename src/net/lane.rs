//! By whom an API counts requests. One that counts them by token asks the requests of one token to wait, and no others.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::Authorization;

/// Stands for one credential within this process. It is keyed anew in every process and must not leave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane(u64);

/// Makes [`Lane`]s that can be compared with each other.
#[derive(Default)]
pub(super) struct Lanes(RandomState);

impl Lanes {
    /// The same for the same credential, wherever it was read from.
    pub(super) fn of(&self, whose: Authorization<'_>) -> Lane {
        let mut hasher = self.0.build_hasher();
        match whose {
            Authorization::None => 0_u8.hash(&mut hasher),
            Authorization::Basic(login) => (1_u8, login.username(), login.password()).hash(&mut hasher),
            Authorization::Bearer(token) => (2_u8, token.expose()).hash(&mut hasher),
        }
        Lane(hasher.finish())
    }
}
