//! Compiles the agents' protocol as the cluster does, for the target that decodes it.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile([root.join("hafleet/v1/peer.proto")], [root])?;
    tonic_prost_build::configure()
        .bytes(".hafleet.v1.Frame")
        .skip_debug(["hafleet.v1.Document"])
        .compile_fds(descriptors)?;
    Ok(())
}
