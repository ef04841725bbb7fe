//! The names under which `/mcp` shows what upstreams call by names of their
//! own: prefixed, and always fit for a client.
//!
//! `time__convert` is the tool `convert` of the upstream `time`. A name that
//! would be longer than 128 characters so, or holds others than the
//! specification allows, is shown in a short form: what can be kept of it, and
//! the fingerprint of all of it. A name that looks like a short form is shown in
//! one, too, so that none can be taken for another's.

use crate::{
    Separator, UpstreamId,
    fingerprint::{DIGITS, fingerprint, is_fingerprint},
};

/// The longest name that every client takes (server features, tools).
const LONGEST: usize = 128;

/// What stands between the readable part of a short form and the fingerprint.
const MARK: &str = ".h";

/// The name under which an upstream's own name is shown.
pub(crate) fn shown(upstream: &UpstreamId, separator: &Separator, own: &str) -> String {
    let room = LONGEST - upstream.as_str().len() - separator.as_str().len();
    if own.len() <= room && own.chars().all(is_fit) && !is_short(own) {
        return format!("{upstream}{}{own}", separator.as_str());
    }
    let kept = own.chars().take(room - MARK.len() - DIGITS);
    let kept: String = kept.map(|c| if is_fit(c) { c } else { '_' }).collect();
    format!("{upstream}{}{kept}{MARK}{}", separator.as_str(), fingerprint(own))
}

/// Whether a name, without its prefix, is a short form: only the list then
/// knows what it is short for.
pub(crate) fn is_short(name: &str) -> bool {
    name.rsplit_once(MARK).is_some_and(|(_, digits)| is_fingerprint(digits))
}

const fn is_fit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn upstream() -> UpstreamId {
        "an-upstream-of-thirty-2-letters_".trim_end_matches('_').parse().expect("an id")
    }

    #[test]
    fn a_fitting_name_is_prefixed_and_nothing_else() {
        let shown = |own: &str| shown(&upstream(), &Separator::default(), own);
        for own in ["convert", "a.b-c_D9", "__x", "", &"n".repeat(95)] {
            assert_eq!(shown(own), format!("{}__{own}", upstream()));
        }
    }

    #[test]
    fn a_short_form_is_the_same_tomorrow() {
        let shown = shown(&upstream(), &Separator::default(), "caf\u{e9}/menu");
        assert_eq!(shown, format!("{}__caf__menu.h13d4affc817f389b279e42b4e54b9bab", upstream()));
    }

    #[test]
    fn names_that_a_weaker_hash_confuses_are_told_apart() {
        // FNV-1a in 64 bits is the same for both, and so is all that is kept.
        let names = ["0elgbjbRMkk", "XBALSX0FHUp"];
        let shown = names.map(|end| {
            let own = format!("{}{end}", "n".repeat(120));
            shown(&upstream(), &Separator::default(), &own)
        });
        assert_ne!(shown[0], shown[1]);
    }

    #[test]
    fn what_looks_like_a_short_form_is_shown_in_one() {
        let shown = |own: &str| shown(&upstream(), &Separator::default(), own);
        let short = shown("caf\u{e9}");
        let own = short.split_once("__").expect("it is prefixed").1;
        assert!(is_short(own));
        assert_ne!(shown(own), short);
    }

    proptest! {
        #[test]
        fn every_shown_name_fits_and_none_is_shown_twice(
            names in prop::collection::hash_set(any::<String>(), 0..50),
            long in prop::collection::hash_set("[a-z]{100,200}", 0..10),
        ) {
            let all: HashSet<_> = names.union(&long).collect();
            let shown: HashSet<_> = all
                .iter()
                .map(|own| shown(&upstream(), &Separator::default(), own))
                .collect();
            prop_assert_eq!(shown.len(), all.len());
            for name in shown {
                prop_assert!(name.len() <= LONGEST && name.chars().all(is_fit), "{}", name);
            }
        }
    }
}
