//! `cargo xtask ebpf`: the eBPF object, pure Rust on the same stable compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup;
use crate::shell::{self, Failure};

const TARGET: &str = "bpfel-unknown-none";

/// Sets up what is missing, builds the object and puts it where the sensor's build script looks for it.
pub(crate) fn prepare() -> Result<PathBuf, Failure> {
    shell::succeed(&mut cargo("build", &["--release", "--bin", "groundtrail-ebpf"])?)?;
    let built = shell::target().join("ebpf").join(TARGET).join("release/groundtrail-ebpf");
    let place = shell::target().join("ebpf/groundtrail-ebpf.o");
    let bytes = fs::read(&built)?;
    let old = fs::read(&place).ok();
    // An object that has not changed keeps its time, so that the sensor is not built again for it.
    if old.as_ref() != Some(&bytes) {
        fs::write(&place, bytes)?;
    }
    if old.is_none() {
        announce(&place)?;
    }
    Ok(place)
}

/// Makes cargo ask the sensor's build script again: a file that was not there is not one it watches.
fn announce(object: &Path) -> Result<(), Failure> {
    let now = fs::metadata(object)?.modified()?;
    let script = fs::File::options().append(true).open(shell::root().join("sensor/build.rs"))?;
    Ok(script.set_modified(now)?)
}

/// Lints the programs as they are compiled for the kernel.
pub(crate) fn clippy() -> Result<(), Failure> {
    shell::succeed(
        cargo("clippy", &["--release", "--bin", "groundtrail-ebpf"])?.args(["--", "-D", "warnings"]),
    )
}

fn cargo(verb: &str, args: &[&str]) -> Result<Command, Failure> {
    let sources = setup::core_sources()?;
    let linker = setup::bpf_linker()?;
    let mut command =
        shell::cargo(&[verb, "--package", "sensor-ebpf", "--target", TARGET, "-Z", "build-std=core"]);
    command.args(args);
    // `-Z build-std` and the target's tier are nightly's; the compiler itself is the stable one.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", shell::target().join("ebpf"));
    command.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker);
    // The host's flags mean nothing to this target.
    command.env("CARGO_ENCODED_RUSTFLAGS", "");
    if let Some(library) = sources {
        command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    Ok(command)
}
