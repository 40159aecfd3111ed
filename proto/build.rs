//! Generates the types and services of orch.v1 and of KEDA's external scaler, and the descriptor set of both.

use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["orch/v1/types.proto", "orch/v1/worker.proto", "orch/v1/admin.proto", "externalscaler/externalscaler.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo only")?);
    std::fs::write(out.join("orch_v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
