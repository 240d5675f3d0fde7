//! Patterns and images that are made of the characters that matter, so that many fit.

use proptest::prelude::*;

use crate::{
    config,
    holds::image_pattern::{holds, pair_holds},
};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lines_and_images_fit_as_the_expressions_of_the_policy_say(
        host in "(r\\.e|localhost|docker\\.io|index\\.docker\\.io|r\\.e:5000|r-e\\.f)",
        path in "([ab*]|\\*\\*|/|[.]|-){1,12}",
        other_host in "(r\\.e|localhost|docker\\.io/|index\\.docker\\.io|r\\.e:5000|rxe|R\\.e|)",
        other_path in "/?([ab]{1,3}|/|[.]|-|\n|:|@|é){0,10}",
        any in any::<String>(),
    ) {
        let line = format!("{host}/{path}");
        for image in [format!("{other_host}{other_path}"), line.replace('*', "a"), line.replace('*', "/"), any.clone()] {
            pair_holds(&line, &image);
            pair_holds(&image, &line);
        }
        holds(any.as_bytes());
    }
}
