//! One HAProxy in a network and process namespace of its own: nothing is shared between tests, and nothing is left behind.

#![cfg(test)]

mod adoption;
mod certificates;
mod changing;
mod checking;
mod drift;
mod drop_syn;
mod dying;
mod equality;
mod failing;
mod firewall;
mod handover;
mod health;
mod reloading;
mod routing;
mod sandbox;
mod services;
mod stripping;
mod web;
mod window;
