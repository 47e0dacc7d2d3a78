//! Sources of etcd against real etcd clusters.

#![cfg(test)]

mod changes;
mod cluster;
mod faults;
mod following;
mod gate;
mod security;
mod services;
mod world;
