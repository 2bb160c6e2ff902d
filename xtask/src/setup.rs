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

/// Finds, fetches and unpacks the package over the mirrors that apt uses; nothing is installed.
fn debian_rust_src(version: &str, into: &Path) -> Result<(), Failure> {
    let mirrors = debian_mirrors()?;
    for (mirror, suite) in mirrors.iter().flat_map(|mirror| SUITES.map(|suite| (mirror, suite))) {
        // rust-src is architecture-independent, and every architecture's list names it.
        let list = format!("{mirror}/dists/{suite}/main/binary-amd64/Packages.xz");
        let fetch = format!("curl -fsSL --connect-timeout 10 '{list}' | xz -dc");
        let Ok(packages) = shell::output(Command::new("sh").args(["-c", &fetch])) else { continue };
        let Some(package) = package(&packages, version) else { continue };
        shell::say(format!("unpacking {} of {suite} below the target folder", package.file));
        return unpack(mirror, &package, into);
    }
    Err(Failure(format!("no Debian suite within reach carries rust-src {version}")))
}

/// The Debian mirrors among apt's sources. Others (security, vendors) have no package pool of Debian's.
fn debian_mirrors() -> Result<Vec<String>, Failure> {
    let sites = shell::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE)",
        "Created-By: Packages",
    ]))?;
    let mut mirrors = Vec::new();
    for site in sites.lines().map(|site| site.trim_end_matches('/')) {
        let is_mirror = site.starts_with("http") && site.ends_with("/debian");
        if is_mirror && !mirrors.iter().any(|known| known == site) {
            mirrors.push(site.to_owned());
        }
    }
    if mirrors.is_empty() { Err(Failure("apt knows no Debian mirror".to_owned())) } else { Ok(mirrors) }
}

/// Unpacks beside the final place and moves it there whole, so that a run cut short leaves nothing half done.
fn unpack(mirror: &str, package: &Package<'_>, into: &Path) -> Result<(), Failure> {
    let partial = into.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    let deb = partial.join("rust-src.deb");
    let url = format!("{mirror}/{}", package.file.replace('+', "%2B"));
    shell::output(Command::new("curl").args(["-fsSL", "--connect-timeout", "10", "-o"]).arg(&deb).arg(url))?;
    let sum = shell::output(Command::new("sha256sum").arg(&deb))?;
    if sum.split_whitespace().next() != Some(package.sha256) {
        return Err(Failure(format!("{} does not have the checksum that its list gives", package.file)));
    }
    shell::output(Command::new("dpkg").arg("-x").arg(&deb).arg(&partial))?;
    fs::remove_file(&deb)?;
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    Ok(fs::rename(&partial, into)?)
}

/// Where a package lies on a mirror, and what its bytes must add up to.
#[derive(Debug, PartialEq, Eq)]
struct Package<'a> {
    file: &'a str,
    sha256: &'a str,
}

/// `rust-src` at this version in a suite's package list.
fn package<'a>(packages: &'a str, version: &str) -> Option<Package<'a>> {
    packages.split("\n\n").find_map(|paragraph| {
        let field =
            |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let is_it = field("Package")? == "rust-src"
            && field("Version")?.split(['+', '-', '~']).next() == Some(version);
        is_it.then(|| Some(Package { file: field("Filename")?, sha256: field("SHA256")? })).flatten()
    })
}

/// The linker of eBPF objects.
pub(crate) fn bpf_linker() -> Result<PathBuf, Failure> {
    needs::cargo_tool("bpf-linker", BPF_LINKER, "links the eBPF object")
}

#[cfg(test)]
mod tests {
    use super::{Package, package};

    const LIST: &str = "Package: rust-src\nVersion: 1.94.1+dfsg1-1\nFilename: pool/old.deb\nSHA256: 01\n\n\
                        Package: rustc\nVersion: 1.95.0+dfsg1-2\nFilename: pool/rustc.deb\nSHA256: 02\n\n\
                        Package: rust-src\nSource: rustc\nVersion: 1.95.0+dfsg1-2~bpo13+1\n\
                        Filename: pool/new.deb\nSHA256: 03";

    #[test]
    fn the_package_of_exactly_our_version_is_found() {
        assert_eq!(package(LIST, "1.95.0"), Some(Package { file: "pool/new.deb", sha256: "03" }));
        assert_eq!(package(LIST, "1.95"), None);
    }
}
