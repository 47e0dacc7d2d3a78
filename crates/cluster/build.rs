//! Compiles the agents' protocol with protox, so that no protoc has to be installed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    // Relative to the package, as cargo runs build scripts: several checkouts may share one target directory.
    let root = PathBuf::from("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile([root.join("hafleet/v1/peer.proto")], [root])?;
    tonic_prost_build::configure()
        .bytes(".hafleet.v1.Frame")
        .skip_debug(["hafleet.v1.Document"])
        .compile_fds(descriptors)?;
    Ok(())
}
