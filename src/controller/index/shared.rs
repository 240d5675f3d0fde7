//! Values of which many are alike, such as the marks of all targets of a connection: each is kept once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Below this many values nobody looks for those that are not used any more.
const FEW: usize = 64;

/// See the module.
pub(super) struct Shared<T> {
    all: HashSet<Arc<T>>,
    /// From this many on it is worth looking for those that are not used any more.
    many: usize,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { all: HashSet::new(), many: FEW }
    }
}

impl<T: Eq + Hash> Shared<T> {
    /// The one that is kept of those that are like this.
    pub(super) fn one(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(kept) = self.all.get(&value) {
            return Arc::clone(kept);
        }
        if self.all.len() >= self.many {
            self.all.retain(|value| Arc::strong_count(value) > 1);
            self.many = (self.all.len() * 2).max(FEW);
        }
        self.all.insert(Arc::clone(&value));
        value
    }

    /// Lets go of one that was kept, if nobody else uses it. Where no two are alike, such as the marks of connections in
    /// namespaces, a change of each would otherwise double what is kept.
    pub(super) fn release(&mut self, value: Arc<T>) {
        let (here, released) = (1, 1);
        if Arc::strong_count(&value) == here + released {
            self.all.remove(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likes_are_kept_once_and_what_nobody_uses_not_at_all() {
        let mut shared = Shared::default();
        let one = shared.one(Arc::new(7));
        assert!(Arc::ptr_eq(&one, &shared.one(Arc::new(7))));
        (0..10 * FEW).for_each(|number| drop(shared.one(Arc::new(number))));
        assert!(shared.all.len() <= FEW);
        assert!(Arc::ptr_eq(&one, &shared.one(Arc::new(7))), "what is used stays");
    }
}
