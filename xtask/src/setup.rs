//! `cargo xtask setup`: what the eBPF build needs beyond a stable toolchain, found or fetched below the target folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Finds, fetches and unpacks the package over the mirror that apt uses; nothing is installed.
fn debian_rust_src(version: &str, into: &Path) -> Result<(), Failure> {
    let sites = shell::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
    ]))?;
    let mirror = sites
        .lines()
        .find(|site| !site.contains("security"))
        .ok_or_else(|| Failure("apt knows no mirror".to_owned()))?;
    let mirror = mirror.trim_end_matches('/');
    for suite in SUITES {
        // rust-src is architecture-independent, and every architecture's list names it.
        let list = format!("{mirror}/dists/{suite}/main/binary-amd64/Packages.xz");
        let Ok(packages) =
            shell::output(Command::new("sh").args(["-c", &format!("curl -fsSL '{list}' | xz -dc")]))
        else {
            continue;
        };
        let Some(file) = package_file(&packages, version) else { continue };
        fs::create_dir_all(into)?;
        let deb = into.join("rust-src.deb");
        let url = format!("{mirror}/{}", file.replace('+', "%2B"));
        shell::output(Command::new("curl").args(["-fsSL", "-o"]).arg(&deb).arg(url))?;
        shell::output(Command::new("dpkg").arg("-x").arg(&deb).arg(into))?;
        fs::remove_file(&deb)?;
        return Ok(());
    }
    Err(Failure(format!("no Debian suite carries rust-src {version}")))
}

/// The file of `rust-src` at this version in a suite's package list.
fn package_file<'a>(packages: &'a str, version: &str) -> Option<&'a str> {
    packages.split("\n\n").find_map(|paragraph| {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let is_it = field("Package")? == "rust-src"
            && field("Version")?.split(['+', '-', '~']).next() == Some(version);
        is_it.then(|| field("Filename")).flatten()
    })
}

/// The linker of eBPF objects, installed below the target folder where it is not on the path.
pub(crate) fn bpf_linker() -> Result<PathBuf, Failure> {
    if let Some(linker) = shell::find("bpf-linker") {
        return Ok(linker);
    }
    let folder = shell::target().join("tools");
    let linker = folder.join("bin/bpf-linker");
    if !linker.is_file() {
        shell::say(format!(
            "installing bpf-linker into {}: it links the eBPF object (a minute, once)",
            folder.display()
        ));
        let mut install = shell::cargo(&[
            "install",
            "--quiet",
            "--locked",
            "--version",
            BPF_LINKER,
            "bpf-linker",
            "--root",
        ]);
        shell::succeed(install.arg(&folder).env("CARGO_TARGET_DIR", folder.join("build")))?;
    }
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::package_file;

    const LIST: &str = "Package: rust-src\nVersion: 1.94.1+dfsg1-1\nFilename: pool/old.deb\n\nPackage: rustc\nVersion: \
                        1.95.0+dfsg1-2\nFilename: pool/rustc.deb\n\nPackage: rust-src\nSource: rustc\nVersion: \
                        1.95.0+dfsg1-2~bpo13+1\nFilename: pool/new.deb";

    #[test]
    fn the_package_of_exactly_our_version_is_found() {
        assert_eq!(package_file(LIST, "1.95.0"), Some("pool/new.deb"));
        assert_eq!(package_file(LIST, "1.95"), None);
    }
}
