//! The provider for Route53, and the publisher over it, against moto with batches that are atomic and exact.

#![cfg(test)]

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "made for all tests; these need a part of it"
)]
#[path = "../../../../tests/src/aws/mod.rs"]
mod aws;
mod checks;
mod provider;
mod published;
mod stage;
