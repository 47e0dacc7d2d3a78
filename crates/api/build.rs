//! Compiles the administration API with protox, so that no protoc is needed on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    // For the table of who may call what. The code of this one is made where it is spoken.
    let peer = protox::compile([root.join("hafleet/v1/peer.proto")], [&root])?;
    let join = protox::compile([root.join("hafleet/v1/join.proto")], [&root])?;
    let protocols = ["admin", "query"].map(|name| root.join(format!("hafleet/v1/{name}.proto")));
    let files = protox::compile(protocols, [root])?;
    let descriptors = files.encode_to_vec();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("api.descriptors"), &descriptors)?;
    std::fs::write(out.join("peer.descriptors"), peer.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .skip_debug([
            ".hafleet.v1.PutCertificateRequest",
            ".hafleet.v1.CreateJoinTokenResponse",
        ])
        .compile_fds(files)?;
    tonic_prost_build::configure()
        .skip_debug([".hafleet.join.v1.JoinRequest"])
        .compile_fds(join)?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .preserve_proto_field_names()
        .emit_fields()
        .ignore_unknown_fields()
        .build(&[".hafleet.v1"])?;
    Ok(())
}
