//! What of a spec the installed HAProxy knows. A fleet has one spec, and while it is upgraded nodes of two versions; what
//! only makes things smoother is left out where it is not known, and all else is HAProxy's to refuse.
//!
//! This stands before rendering, which says what the spec says and asks no machine.

use std::borrow::Cow;

use hafleet_model::Spec;

use crate::binary::Version;

/// The first version with `close-spread-time` (Configuration Manual 2.6, section 3.1).
const CLOSE_SPREAD_TIME: Version = Version {
    major: 2,
    minor: 6,
    patch: 0,
};

/// `spec` without what `version` does not know and can do without.
pub(super) fn fit(spec: &Spec, version: Version) -> Cow<'_, Spec> {
    if spec.global.close_spread_time.is_none() || version >= CLOSE_SPREAD_TIME {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    spec.global.close_spread_time = None;
    Cow::Owned(spec)
}

#[cfg(test)]
mod tests {
    use hafleet_model::spec::load;

    use super::*;

    #[test]
    fn an_older_version_does_without() {
        let spec = load("version: 1\nglobal: {close_spread_time: 10s}\n");
        let spec = spec.unwrap().spec;
        let given = |version: &str| {
            let version = version.parse().unwrap();
            fit(&spec, version).global.close_spread_time.is_some()
        };
        assert!(!given("2.4.22") && !given("2.5.14"));
        assert!(given("2.6.0") && given("3.0.1"));
    }
}
