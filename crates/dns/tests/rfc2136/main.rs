//! The provider for dynamic updates, and the publisher over it, against knot.

#![cfg(test)]

mod knot;
mod updates;
