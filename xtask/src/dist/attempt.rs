//! `cargo xtask dist --try`: what was built is installed, upgraded, run and removed, the way its users would.

mod image;
mod packages;
mod root;
mod unit;

use std::process::Command;
use std::time::Instant;

use super::Built;
use crate::shell::{self, Failure};
use crate::statics::Arch;
use crate::test::Outcome;

/// A way to install, and what was seen when it was tried.
type Attempt = (&'static str, fn(&Built) -> Result<Outcome, Failure>);

const ATTEMPTS: [Attempt; 6] = [
    ("tarball", tarball),
    (".deb: install, upgrade, remove, purge", packages::deb),
    (".rpm: install, upgrade, remove", packages::rpm),
    ("units under systemd: an alert comes out", unit::boot),
    ("container image", image::run),
    ("Kubernetes manifest", image::manifest),
];

pub(super) fn all(built: &Built) -> Result<(), Failure> {
    if built.arch != Arch::own()? {
        shell::say(format!("SKIPPED trying {}: this machine cannot run it", built.arch.machine()));
        return Ok(());
    }
    if !shell::is_root() {
        return Err(Failure("trying packages needs root: run it with sudo".to_owned()));
    }
    let mut lines = Vec::new();
    let mut n_failed = 0;
    for (name, attempt) in ATTEMPTS {
        shell::say(format!("trying {name}"));
        let began = Instant::now();
        let outcome = attempt(built).unwrap_or_else(Outcome::Failed);
        n_failed += u32::from(matches!(outcome, Outcome::Failed(_)));
        lines.push(format!("{name:42} {:>7.1} s  {outcome}", began.elapsed().as_secs_f64()));
    }
    println!("\n{}", lines.join("\n"));
    if n_failed == 0 {
        Ok(())
    } else {
        Err(Failure(format!("{n_failed} of {} tries failed", ATTEMPTS.len())))
    }
}

/// Unpacked, each binary says its version.
fn tarball(built: &Built) -> Result<Outcome, Failure> {
    let folder = root::fresh_folder("tarball")?;
    shell::succeed(
        Command::new("tar").args(["--strip-components=1", "-xf"]).arg(&built.tarball).arg("-C").arg(&folder),
    )?;
    for product in &super::PRODUCTS {
        let said = shell::output(Command::new(folder.join("usr/bin").join(product.binary)).arg("--version"))?;
        let wanted = format!("{} {}", product.binary, built.version);
        if !said.starts_with(&wanted) {
            return Err(Failure(format!(
                "the binary in the tarball says \"{said}\" rather than \"{wanted}\""
            )));
        }
    }
    Ok(Outcome::Passed)
}
