//! What packages, units and manifests say of themselves, read before anything is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Built, PRODUCTS, Product, share};
use crate::shell::{self, Failure};
use crate::statics::Arch;

/// Where `systemd-analyze security` puts a unit: 0 is shut, 100 is open. The sensor cannot do without its capabilities,
/// the network of the host, and the sight of other processes.
const EXPOSURE: [(&str, u32); 2] = [("groundtrail-sensor.service", 32), ("groundtrail.service", 20)];

/// Checks the units and the container's files as they lie in the tree; what could not be checked is returned.
pub(super) fn sources() -> Result<Vec<String>, Failure> {
    seccomp(&shell::root().join("packaging/container/seccomp.json"))?;
    if shell::find("systemd-analyze").is_none() {
        return Ok(vec!["units: systemd-analyze is not on this machine".to_owned()]);
    }
    for (unit, exposure) in EXPOSURE {
        verify(unit, exposure)?;
    }
    Ok(Vec::new())
}

/// Lets systemd read the unit, with a program that is there in place of one that may not be installed.
fn verify(unit: &str, exposure: u32) -> Result<(), Failure> {
    let text = fs::read_to_string(shell::root().join("packaging/systemd").join(unit))?;
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((key @ ("ExecStart" | "ExecStartPre"), command))
            if command.trim_start_matches('-').starts_with("/usr/bin/groundtrail") =>
        {
            format!("{key}=/bin/true\n")
        }
        _ => format!("{line}\n"),
    });
    let folder = super::folder().join("verify");
    fs::create_dir_all(&folder)?;
    let copy = folder.join(unit);
    fs::write(&copy, lines.collect::<String>())?;
    let read = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output()?;
    let said = String::from_utf8_lossy(&read.stderr);
    // It also speaks of what else this machine has.
    if let Some(fault) = said.lines().find(|line| line.contains(unit)) {
        return Err(Failure(format!("systemd finds fault with the unit: {fault}")));
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={exposure}")]);
    shell::output(security.arg(&copy))
        .map_err(|err| Failure(format!("{unit} is more open than {exposure} of 100: {err}")))?;
    Ok(())
}

/// The profile is one, and lets the sensor do what no default profile lets it.
fn seccomp(file: &Path) -> Result<(), Failure> {
    let wrong = |what: &str| Failure(format!("{} {what}", file.display()));
    let profile: Value =
        serde_json::from_slice(&fs::read(file)?).map_err(|err| wrong(&format!("is not JSON: {err}")))?;
    if profile["defaultAction"] != "SCMP_ACT_ERRNO" {
        return Err(wrong("allows what it does not name"));
    }
    let allowed = profile["syscalls"][0]["names"].as_array().ok_or_else(|| wrong("names no calls"))?;
    for call in ["bpf", "perf_event_open", "prlimit64", "capset", "bind"] {
        if !allowed.iter().any(|name| name == call) {
            return Err(wrong(&format!("does not allow {call}")));
        }
    }
    Ok(())
}

/// Asserts what is in each package, where this machine has a program that reads it.
pub(super) fn packages(built: &Built) -> Result<(), Failure> {
    let sums = Command::new("sha256sum")
        .args(["--check", "--quiet", "SHA256SUMS"])
        .current_dir(place(built))
        .status()?;
    if !sums.success() {
        return Err(Failure("the checksums are not those of the files".to_owned()));
    }
    for (product, (deb, rpm)) in PRODUCTS.iter().zip(built.debs.iter().zip(&built.rpms)) {
        if shell::find("dpkg-deb").is_some() {
            self::deb(product, deb, built)?;
        } else {
            shell::say("SKIPPED reading the .deb: dpkg-deb is not on this machine");
        }
        if shell::find("rpm").is_some() {
            self::rpm(product, rpm, built)?;
        } else {
            shell::say("SKIPPED reading the .rpm: rpm is not on this machine");
        }
    }
    Ok(())
}

fn place(built: &Built) -> PathBuf {
    built.tarball.parent().expect("the tarball lies in a folder").to_owned()
}

fn deb(product: &Product, file: &Path, built: &Built) -> Result<(), Failure> {
    let ask = |args: &[&str]| shell::output(Command::new("dpkg-deb").args(args));
    let path = file.display().to_string();
    let contents = ask(&["--contents", &path])?;
    contains_all(product, file, &contents, |wanted| format!("./{wanted}"))?;
    brings_along(built.arch, product, file, &contents, ZSH_OF_DEBIAN)?;
    for (field, wanted) in [("Package", product.binary), ("Architecture", built.arch.debian())] {
        let found = ask(&["--field", &path, field])?;
        if found != wanted {
            return Err(Failure(format!("{path} says {field} \"{found}\" rather than \"{wanted}\"")));
        }
    }
    let conffiles = ask(&["--info", &path, "conffiles"])?;
    let config = format!("/{}", product.files[0].1);
    if conffiles.trim() != config {
        return Err(Failure(format!(
            "{path} would overwrite an edited {config}: its conffiles are \"{conffiles}\""
        )));
    }
    Ok(())
}

fn rpm(product: &Product, file: &Path, built: &Built) -> Result<(), Failure> {
    let ask = |args: &[&str]| shell::output(Command::new("rpm").arg("-qp").args(args).arg(file));
    let contents = ask(&["--list", "-v"])?;
    contains_all(product, file, &contents, |wanted| format!("/{wanted}"))?;
    brings_along(built.arch, product, file, &contents, ZSH_OF_RED_HAT)?;
    let found = ask(&["--queryformat", "%{NAME} %{ARCH}"])?;
    let wanted = format!("{} {}", product.binary, built.arch.machine());
    if found != wanted {
        return Err(Failure(format!("{} is of \"{found}\" rather than \"{wanted}\"", file.display())));
    }
    let config = format!("/{}", product.files[0].1);
    if ask(&["--configfiles"])? != config {
        return Err(Failure(format!("{} would overwrite an edited {config}", file.display())));
    }
    Ok(())
}

const ZSH_OF_DEBIAN: &str = "usr/share/zsh/vendor-completions";
const ZSH_OF_RED_HAT: &str = "usr/share/zsh/site-functions";

/// Completions, manual pages, the licence and, beside the program that has them built in, every rule.
fn brings_along(arch: Arch, product: &Product, file: &Path, listing: &str, zsh: &str) -> Result<(), Failure> {
    let mut wanted: Vec<String> = share::placed(arch, product)?
        .into_iter()
        .map(|(_, place)| place.replace(ZSH_OF_DEBIAN, zsh))
        .collect();
    if product.krate == "correlator" {
        wanted.extend(share::rules()?.into_iter().map(|(_, place)| place));
    }
    wanted.push(format!("{}/LICENSE", product.binary));
    let lacks = wanted.iter().find(|place| !listing.lines().any(|line| line.ends_with(place.as_str())));
    match lacks {
        Some(place) => Err(Failure(format!("{} lacks {place}", file.display()))),
        None if wanted.len() < 8 => Err(Failure(format!("{} brings next to nothing along", file.display()))),
        None => Ok(()),
    }
}

/// Both list as `ls -l` does: the mode first, the path last.
fn contains_all(
    product: &Product,
    file: &Path,
    listing: &str,
    path: impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let binary = format!("usr/bin/{}", product.binary);
    let files = product.files.iter().map(|(_, to)| (*to, "-rw-r--r--"));
    for (wanted, mode) in files.chain([(binary.as_str(), "-rwxr-xr-x")]) {
        let path = path(wanted);
        let is_it = |line: &&str| line.ends_with(&format!(" {path}"));
        let Some(line) = listing.lines().find(is_it) else {
            return Err(Failure(format!("{} lacks {path}", file.display())));
        };
        if !line.starts_with(mode) || ![" 0/0 ", " root "].iter().any(|owner| line.contains(owner)) {
            return Err(Failure(format!(
                "{}: {path} is \"{line}\" rather than {mode} of root",
                file.display()
            )));
        }
    }
    Ok(())
}
