//! Annotations that look like ours.

use proptest::prelude::*;

use crate::{config, holds::links::holds};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_stands_in_the_annotation_is_read_to_something_that_can_be_written_again(
        secret in "[a-z\"{}]{0,3}",
        kind in "(Registry|ClusterRegistry|)Connection",
        names in "(/[a-zA-Z.%-]{0,3}){0,3}",
        created in "(2026-01-0[0-9]T00:00:00(Z|[+]01:00)|now|)",
        any in any::<String>(),
    ) {
        holds(format!(r#"{{"{secret}": {{"{kind}{names}": "{created}"}}}}"#).as_bytes());
        holds(any.as_bytes());
    }
}
