//! `cargo xtask setup`: what the eBPF build needs beyond a stable toolchain, found or fetched below the target folder.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::{List, Package};
use crate::needs;
use crate::shell::{self, Failure};

/// Names the `library` folder of a rust-src that was put somewhere by hand.
const BY_HAND: &str = "GROUNDTRAIL_RUST_SRC";
/// Suites of Debian that may carry rust-src of exactly our compiler's version, the likeliest first.
const SUITES: [&str; 6] = ["trixie-backports", "forky", "sid", "trixie", "bookworm-backports", "bookworm"];
const BPF_LINKER: &str = "0.10.1";

pub(crate) fn run() -> Result<(), Failure> {
    let sources = core_sources()?;
    shell::say(format!(
        "core's sources: {}",
        sources.as_deref().unwrap_or(Path::new("in the toolchain")).display()
    ));
    shell::say(format!("bpf-linker: {}", bpf_linker()?.display()));
    needs::scenario_programs()?;
    needs::browser();
    shell::say(format!("AWS CLI: {}", needs::aws_cli()?.display()));
    Ok(())
}

/// The `library` folder with the sources of `core`, or `None` where the toolchain has its own.
pub(crate) fn core_sources() -> Result<Option<PathBuf>, Failure> {
    let sysroot =
        shell::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(shell::root()))?;
    let own = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if has_core(&own) {
        return Ok(None);
    }
    if let Some(folder) = env::var_os(BY_HAND).map(PathBuf::from) {
        return if has_core(&folder) {
            Ok(Some(folder))
        } else {
            Err(Failure(format!(
                "{BY_HAND}=\"{}\" holds no core/src/lib.rs; name the library folder of rust-src",
                folder.display()
            )))
        };
    }
    let version = rustc_version()?;
    let unpacked = shell::target().join("tools").join(format!("rust-src-{version}"));
    let library = unpacked.join(format!("usr/src/rustc-{version}/library"));
    if has_core(&library) {
        return Ok(Some(library));
    }
    shell::say("adding rust-src: the eBPF target has no prebuilt core, so it is compiled from source");
    if shell::find("rustup").is_some()
        && shell::output(Command::new("rustup").args(["component", "add", "rust-src"])).is_ok()
        && has_core(&own)
    {
        return Ok(None);
    }
    shell::say(format!("rustup has none to give; looking for Debian's rust-src {version}"));
    debian_rust_src(&version, &unpacked).map_err(|err| {
        Failure(format!(
            "{err}; put the sources of Rust {version} anywhere and name their library folder in {BY_HAND}"
        ))
    })?;
    if has_core(&library) {
        Ok(Some(library))
    } else {
        Err(Failure(format!("Debian's rust-src {version} holds no {}", library.display())))
    }
}

fn has_core(library: &Path) -> bool {
    library.join("core/src/lib.rs").is_file()
}

fn rustc_version() -> Result<String, Failure> {
    let text = shell::output(Command::new("rustc").arg("--version").current_dir(shell::root()))?;
    let version = text.split_whitespace().nth(1).and_then(|version| version.split('-').next());
    version.map(str::to_owned).ok_or_else(|| Failure(format!("cannot read a version out of \"{text}\"")))
}

/// Finds, fetches and unpacks the package over the mirrors that apt uses; nothing is installed.
fn debian_rust_src(version: &str, into: &Path) -> Result<(), Failure> {
    for suite in SUITES {
        // rust-src is architecture-independent, and every architecture's list names it.
        let Ok(list) = List::of(suite, "amd64") else { continue };
        let is_it =
            |package: &Package<'_>| package.name == "rust-src" && upstream(package.version) == version;
        if let Some(package) = list.packages().find(is_it) {
            return list.unpack(&[package], into, "the eBPF target's core is compiled from it");
        }
    }
    Err(Failure(format!("no Debian suite within reach carries rust-src {version}")))
}

/// `1.95.0+dfsg1-2~bpo13+1` is Debian's of `1.95.0`.
fn upstream(version: &str) -> &str {
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

/// The linker of eBPF objects.
pub(crate) fn bpf_linker() -> Result<PathBuf, Failure> {
    needs::cargo_tool("bpf-linker", BPF_LINKER, "links the eBPF object")
}

#[cfg(test)]
mod tests {
    use super::upstream;

    #[test]
    fn the_package_of_exactly_our_version_is_found() {
        assert_eq!(upstream("1.95.0+dfsg1-2~bpo13+1"), "1.95.0");
        assert_eq!(upstream("1.95.0"), "1.95.0");
    }
}
