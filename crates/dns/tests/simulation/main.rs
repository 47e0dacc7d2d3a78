//! Publication without a network: one publisher step by step, and many at once with everything going wrong.

#![cfg(test)]

mod faults;
mod rounds;
mod scene;
mod zone;
