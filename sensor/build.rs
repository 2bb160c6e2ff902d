//! Embeds the BPF object when `cargo xtask ebpf` hands one over; otherwise a flag names the file at run time.
//!
//! The object is looked for where `GROUNDTRAIL_EBPF_OBJECT` says, then at `ebpf/groundtrail-ebpf.o` below the
//! target directory, where `cargo xtask ebpf` puts it. That file is watched once it is there. Before that
//! nothing is, as a missing file would make cargo rebuild the crate each time; xtask touches this script when
//! it builds the first object.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

const VARIABLE: &str = "GROUNDTRAIL_EBPF_OBJECT";
const PLACE: &str = "ebpf/groundtrail-ebpf.o";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = match env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => well_known_place(&out),
    };
    let code = object.map_or_else(|| "None".to_owned(), |object| embed(&object, &out));
    fs::write(out.join("object.rs"), code).expect("OUT_DIR can be written to");
}

/// `OUT_DIR` is `<target>[/<triple>]/<profile>/build/<package>/out`.
fn well_known_place(out: &Path) -> Option<PathBuf> {
    out.ancestors().skip(4).take(2).map(|target| target.join(PLACE)).find(|object| object.is_file())
}

fn embed(object: &Path, out: &Path) -> String {
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = out.join("groundtrail-ebpf.o");
    if let Err(err) = fs::copy(object, &copy) {
        panic!("cannot read the BPF object \"{}\" that {VARIABLE} names: {err}", object.display());
    }
    format!("Some(aya::include_bytes_aligned!({:?}))", copy.display().to_string())
}
