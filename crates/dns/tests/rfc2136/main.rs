//! The provider for dynamic updates, and the publisher over it, against knot.

#![cfg(test)]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "made for all tests; these need a part of it"
)]
#[path = "../../../../tests/src/knot.rs"]
mod knot;
mod updates;
