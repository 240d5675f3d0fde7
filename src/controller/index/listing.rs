//! A list of a watch while it comes in: what it shows, and what it may have passed by.

use std::collections::HashSet;

use crate::controller::secret_meta::ObjectKey;

/// See the module. Between two lists it keeps nothing.
#[derive(Default)]
pub(super) struct Listing(Option<Parts>);

/// What is known of a list.
#[derive(Default)]
pub(super) struct Parts {
    /// The objects seen so far, to notice those that went while nobody watched.
    pub(super) seen: HashSet<ObjectKey>,
    /// The objects that began to concern somebody meanwhile: they may have passed by before that.
    pub(super) late: HashSet<ObjectKey>,
}

impl Listing {
    /// A list begins; what came of an earlier one does not count.
    pub(super) fn begin(&mut self) {
        self.0 = Some(Parts::default());
    }

    /// The list shows this one.
    pub(super) fn shows(&mut self, key: ObjectKey) {
        self.0.get_or_insert_default().seen.insert(key);
    }

    /// These begin to concern somebody.
    pub(super) fn follow(&mut self, keys: impl Iterator<Item = ObjectKey>) {
        if let Some(parts) = &mut self.0 {
            parts.late.extend(keys);
        }
    }

    /// This one concerns nobody any more.
    pub(super) fn unfollow(&mut self, key: &ObjectKey) {
        if let Some(parts) = &mut self.0 {
            parts.late.remove(key);
        }
    }

    /// The list is complete.
    pub(super) fn end(&mut self) -> Parts {
        self.0.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn only_what_began_to_matter_while_a_list_came_in_and_still_does_is_late() {
        let mut listing = Listing::default();
        listing.follow([key("before")].into_iter());
        listing.begin();
        listing.follow([key("meanwhile"), key("shortly")].into_iter());
        listing.unfollow(&key("shortly"));
        listing.shows(key("there"));
        let Parts { seen, late } = listing.end();
        assert_eq!((seen, late), ([key("there")].into(), [key("meanwhile")].into()));

        listing.follow([key("after")].into_iter());
        assert!(listing.0.is_none(), "nothing is kept between two lists");
        assert!(listing.end().late.is_empty());
    }

    #[test]
    fn a_list_that_was_cut_off_says_nothing_about_the_next() {
        let mut listing = Listing::default();
        listing.begin();
        listing.shows(key("there"));
        listing.begin();
        assert!(listing.end().seen.is_empty());
    }
}
