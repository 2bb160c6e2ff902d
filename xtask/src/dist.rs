//! `cargo xtask dist`: what a release consists of, below `dist` in the target folder.
//!
//! Static binaries, and from them a tarball, packages for Debian's and Red Hat's families, and the folder that the
//! container image is built in, with their checksums. `--try` installs and runs all of it on this machine.

mod attempt;
mod inspect;
mod share;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::shell::{self, Failure};
use crate::statics::{self, Arch};
use crate::test::Outcome;
use crate::{ebpf, needs};

#[derive(Args)]
pub(crate) struct Dist {
    /// The machine to build for; this machine's architecture otherwise. May be repeated.
    #[arg(long)]
    arch: Vec<Arch>,
    /// Install, upgrade, run and remove what was built: as a systemd unit, from each package, in a container. Needs root.
    #[arg(long = "try")]
    is_tried: bool,
}

/// A crate that becomes a package.
pub(crate) struct Product {
    krate: &'static str,
    pub(crate) binary: &'static str,
    /// Its files below `packaging`, and where they lie in the tarball.
    files: &'static [(&'static str, &'static str)],
}

pub(crate) const PRODUCTS: [Product; 2] = [
    Product {
        krate: "sensor",
        binary: "groundtrail-sensor",
        files: &[
            ("sensor/sensor.toml", "etc/groundtrail/sensor.toml"),
            ("sensor/sysusers.conf", "usr/lib/sysusers.d/groundtrail-sensor.conf"),
            ("systemd/groundtrail-sensor.service", "usr/lib/systemd/system/groundtrail-sensor.service"),
        ],
    },
    Product {
        krate: "correlator",
        binary: "groundtrail",
        files: &[
            ("correlator/groundtrail.toml", "etc/groundtrail/groundtrail.toml"),
            ("correlator/sysusers.conf", "usr/lib/sysusers.d/groundtrail.conf"),
            ("systemd/groundtrail.service", "usr/lib/systemd/system/groundtrail.service"),
        ],
    },
];

/// What was built for an architecture.
pub(crate) struct Built {
    pub(crate) arch: Arch,
    pub(crate) version: String,
    /// The folder that the image is built in.
    pub(crate) image: PathBuf,
    pub(crate) tarball: PathBuf,
    pub(crate) debs: Vec<PathBuf>,
    pub(crate) rpms: Vec<PathBuf>,
}

pub(crate) fn run(dist: &Dist) -> Result<(), Failure> {
    let own = [Arch::own()?];
    let archs = if dist.arch.is_empty() { &own[..] } else { &dist.arch };
    for &arch in archs {
        let built = build(arch)?;
        for file in built.files() {
            println!("{}", file.display());
        }
        inspect::packages(&built)?;
        if dist.is_tried {
            attempt::all(&built)?;
        }
    }
    Ok(())
}

/// What can be said of units and manifests without installing anything.
pub(crate) fn short() -> Result<Outcome, Failure> {
    inspect::sources().map(Outcome::but_for)
}

impl Built {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.tarball].into_iter().chain(&self.debs).chain(&self.rpms)
    }
}

pub(crate) fn folder() -> PathBuf {
    shell::target().join("dist")
}

fn build(arch: Arch) -> Result<Built, Failure> {
    ebpf::prepare()?;
    shell::say(format!("building static release binaries for {}", arch.machine()));
    let mut cargo = statics::cargo(arch, "build")?;
    cargo.args(["--package", "sensor", "--package", "correlator", "--bins", "--features", "correlator/aws"]);
    statics::executables(&mut cargo, &["groundtrail-sensor", "groundtrail"])?;
    let version = version()?;
    let out = folder().join(arch.machine());
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    PRODUCTS.iter().try_for_each(|product| share::write(arch, product))?;
    let image = image(arch, &out)?;
    let tarball = tarball(arch, &version, &out)?;
    let debs = PRODUCTS.iter().map(|product| deb(arch, product, &out, None)).collect::<Result<_, _>>()?;
    let rpms = PRODUCTS.iter().map(|product| rpm(arch, product, &out, None)).collect::<Result<_, _>>()?;
    let built = Built { arch, version, image, tarball, debs, rpms };
    checksums(&built, &out)?;
    Ok(built)
}

/// The version that all crates share.
fn version() -> Result<String, Failure> {
    let metadata = shell::output(&mut shell::cargo(&["pkgid", "--package", "sensor"]))?;
    let version = metadata.rsplit(['@', '#']).next().map(str::to_owned);
    version.ok_or_else(|| Failure(format!("cannot read a version out of \"{metadata}\"")))
}

/// The folder that the container image is built in: the binary and its recipe.
fn image(arch: Arch, out: &Path) -> Result<PathBuf, Failure> {
    let folder = out.join("image");
    fs::create_dir_all(&folder)?;
    let packaging = shell::root().join("packaging");
    fs::copy(statics::folder(arch).join("groundtrail-sensor"), folder.join("groundtrail-sensor"))?;
    for file in ["Containerfile", "seccomp.json"] {
        fs::copy(packaging.join("container").join(file), folder.join(file))?;
    }
    fs::copy(packaging.join("kubernetes/daemonset.yaml"), folder.join("daemonset.yaml"))?;
    Ok(folder)
}

/// Everything at the place it takes below `/`. The same sources make the same bytes.
fn tarball(arch: Arch, version: &str, out: &Path) -> Result<PathBuf, Failure> {
    let name = format!("groundtrail-{version}-{}-linux", arch.machine());
    let tree = out.join(&name);
    let packaging = shell::root().join("packaging");
    for product in &PRODUCTS {
        let binary = statics::folder(arch).join(product.binary);
        put(&binary, &tree.join("usr/bin").join(product.binary))?;
        for (from, to) in product.files {
            put(&packaging.join(from), &tree.join(to))?;
        }
        for (from, to) in share::placed(arch, product)? {
            put(&from, &tree.join(to))?;
        }
    }
    for (from, to) in share::rules()? {
        put(&from, &tree.join(to))?;
    }
    put(&packaging.join("container/seccomp.json"), &tree.join("usr/share/groundtrail-sensor/seccomp.json"))?;
    put(&shell::root().join("LICENSE"), &tree.join("usr/share/doc/groundtrail/LICENSE"))?;
    let tarball = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go-w,go+rX"]);
    tar.arg(format!("--mtime=@{}", source_date()?)).arg("-C").arg(out);
    // No time and no name in the compressed file either.
    tar.args(["--use-compress-program", "gzip -n9", "-cf"]).arg(&tarball).arg(&name);
    shell::succeed(&mut tar)?;
    fs::remove_dir_all(&tree)?;
    Ok(tarball)
}

fn put(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
    fs::copy(from, to).map(drop).map_err(|err| Failure(format!("cannot pack {}: {err}", from.display())))
}

/// When the sources were last changed, for those who build the same thing again.
fn source_date() -> Result<String, Failure> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(shell::root());
    // A tarball of the sources has no history.
    Ok(shell::output(&mut git).unwrap_or_else(|_| "0".to_owned()))
}

/// A version other than the crate's is for trying an upgrade.
fn deb(arch: Arch, product: &Product, out: &Path, version: Option<&str>) -> Result<PathBuf, Failure> {
    let tool = needs::cargo_tool("cargo-deb", "3.8.0", "makes the .deb")?;
    let mut command = cargo_tool(&tool, arch)?;
    // The binaries are built, and keep their line tables: a crash report without them is worth little.
    command.args(["--package", product.krate, "--no-build", "--no-strip", "--output"]).arg(out);
    command.args(version.map(|version| format!("--deb-version={version}")));
    Ok(PathBuf::from(shell::output(&mut command)?.lines().last().unwrap_or_default()))
}

fn rpm(arch: Arch, product: &Product, out: &Path, version: Option<&str>) -> Result<PathBuf, Failure> {
    let tool = needs::cargo_tool("cargo-generate-rpm", "0.21.1", "makes the .rpm")?;
    let mut command = cargo_tool(&tool, arch)?;
    let before = rpms(out)?;
    command.args(["--package", product.krate, "--output"]).arg(out);
    command.arg("--target-dir").arg(shell::target());
    command.args(version.map(|version| format!("--set-metadata=version=\"{version}\"")));
    shell::succeed(&mut command)?;
    let made = rpms(out)?.into_iter().find(|file| !before.contains(file));
    made.ok_or_else(|| Failure(format!("cargo-generate-rpm made no package of {}", product.krate)))
}

/// A cargo subcommand, called as cargo calls it.
fn cargo_tool(tool: &Path, arch: Arch) -> Result<Command, Failure> {
    let mut command = Command::new(tool);
    let name = tool.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("cargo-"));
    command.arg(name.expect("a cargo subcommand")).args(["--target", &arch.triple()]);
    command.current_dir(shell::root()).env("CARGO_TARGET_DIR", shell::target());
    command.env("SOURCE_DATE_EPOCH", source_date()?);
    Ok(command)
}

fn rpms(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    Ok(files.filter(|file| file.extension().is_some_and(|suffix| suffix == "rpm")).collect())
}

fn checksums(built: &Built, out: &Path) -> Result<(), Failure> {
    let names: Vec<_> = built.files().filter_map(|file| file.file_name()).collect();
    let sums = shell::output(Command::new("sha256sum").args(names).current_dir(out))?;
    Ok(fs::write(out.join("SHA256SUMS"), sums + "\n")?)
}
