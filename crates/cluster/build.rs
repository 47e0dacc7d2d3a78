//! Compiles the agents' protocol with protox, so that no protoc has to be installed.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let file = root.join("hafleet/v1/peer.proto");
    println!("cargo::rerun-if-changed={}", file.display());
    let descriptors = protox::compile([&file], [&root])?;
    tonic_prost_build::configure()
        .bytes(".hafleet.v1.Frame")
        .skip_debug(["hafleet.v1.Document"])
        .compile_fds(descriptors)?;
    Ok(())
}
