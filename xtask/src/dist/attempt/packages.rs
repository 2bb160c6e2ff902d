//! Packages in a clean system: what comes with them, what an upgrade leaves alone, what a removal leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{Built, PRODUCTS, deb as make_deb, rpm as make_rpm};
use super::root::{enter, expect, fresh, fresh_folder};
use crate::needs;
use crate::shell::{self, Failure};
use crate::test::Outcome;

/// A newer version than any.
const NEWER: &str = "999.0.0";
const EDIT: &str = "# edited by an administrator\n";

/// What a shell says of an installed product: its version, its unit's place at the next start, its user.
const STATE: &str = "for p in groundtrail-sensor groundtrail; do /usr/bin/$p --version >/dev/null; \
    systemctl is-enabled $p.service || true; id -un $p; done";

/// What bash makes of the completions that came along.
const COMPLETED: &str = "bash -c '. /usr/share/bash-completion/completions/groundtrail-sensor && complete -p groundtrail-sensor' | grep -c -e -F";

pub(super) fn deb(built: &Built) -> Result<Outcome, Failure> {
    let newer = newer(built, |product, out| make_deb(built.arch, product, out, Some(NEWER)))?;
    let root = fresh("deb", &[&built.debs[..], &newer[..]].concat())?;
    let install = |version: &str| enter(&root, &format!("dpkg -i /packages/*_{version}*.deb"));
    let old = &built.version;

    install(old)?;
    expect(
        "after the installation",
        &enter(&root, STATE)?,
        "enabled\ngroundtrail-sensor\nenabled\ngroundtrail",
    )?;
    edit(&root)?;
    enter(&root, "systemctl --quiet disable groundtrail-sensor.service")?;
    install(NEWER)?;
    let state = enter(&root, STATE)?;
    expect("after the upgrade", &state, "disabled\ngroundtrail-sensor\nenabled\ngroundtrail")?;
    are_edited(&root)?;
    install(old)?;
    expect("after the way back", &enter(&root, STATE)?, &state)?;
    are_edited(&root)?;
    expect("in a shell", &enter(&root, COMPLETED)?, "1")?;

    enter(&root, "dpkg -r groundtrail-sensor groundtrail")?;
    let left = enter(&root, LEFT)?;
    expect("after the removal", &left, "/etc/groundtrail/groundtrail.toml\n/etc/groundtrail/sensor.toml")?;
    enter(&root, "dpkg -P groundtrail-sensor groundtrail")?;
    expect("after the purge", &enter(&root, LEFT)?, "")?;

    fs::create_dir_all(root.join("etc/systemd/system-preset"))?;
    fs::write(root.join("etc/systemd/system-preset/00-none.preset"), "disable *\n")?;
    install(old)?;
    let state = enter(&root, STATE)?;
    expect("where presets say no", &state, "disabled\ngroundtrail-sensor\ndisabled\ngroundtrail")?;
    Ok(Outcome::Passed)
}

/// Files of ours, and links to our units.
const LEFT: &str = "find / -xdev \\( -path /packages -o -path /proc -o -path /var/lib/dpkg \\) -prune \
    -o -name '*groundtrail*' ! -type d -print -o -path '/etc/groundtrail/*' -print | sort -u";

pub(super) fn rpm(built: &Built) -> Result<Outcome, Failure> {
    needs::program("rpm", "rpm", "installs the .rpm into a system of its own")?;
    let newer = newer(built, |product, out| make_rpm(built.arch, product, out, Some(NEWER)))?;
    let root = fresh("rpm", &[])?;
    // Debian's packages are not in rpm's book, so what ours require is not there by name.
    let rpm = |verb: &str, what: &[PathBuf]| {
        let mut command = Command::new("rpm");
        shell::output(command.arg("--root").arg(&root).args(["--nodeps", verb]).args(what))
    };
    rpm("--install", &built.rpms)?;
    expect(
        "after the installation",
        &enter(&root, STATE)?,
        "enabled\ngroundtrail-sensor\nenabled\ngroundtrail",
    )?;
    edit(&root)?;
    enter(&root, "systemctl --quiet disable groundtrail-sensor.service")?;
    rpm("--upgrade", &newer)?;
    let state = enter(&root, STATE)?;
    expect("after the upgrade", &state, "disabled\ngroundtrail-sensor\nenabled\ngroundtrail")?;
    are_edited(&root)?;
    // Back to the version before.
    rpm("--oldpackage", &[&[PathBuf::from("--upgrade")], &built.rpms[..]].concat())?;
    expect("after the way back", &enter(&root, STATE)?, &state)?;
    are_edited(&root)?;
    rpm("--erase", &PRODUCTS.map(|product| product.binary.into()))?;
    let saved = "/etc/groundtrail/groundtrail.toml.rpmsave\n/etc/groundtrail/sensor.toml.rpmsave";
    expect("after the removal", &enter(&root, LEFT)?, saved)?;
    Ok(Outcome::Passed)
}

/// The same packages under a version that is newer.
fn newer(
    built: &Built,
    make: impl Fn(&super::super::Product, &Path) -> Result<PathBuf, Failure>,
) -> Result<Vec<PathBuf>, Failure> {
    let folder = fresh_folder(&format!("newer-{}", built.arch.machine()))?;
    PRODUCTS.iter().map(|product| make(product, &folder)).collect()
}

fn configs(root: &Path) -> impl Iterator<Item = PathBuf> {
    PRODUCTS.iter().map(|product| root.join(product.files[0].1))
}

fn edit(root: &Path) -> Result<(), Failure> {
    for config in configs(root) {
        let text = fs::read_to_string(&config)?;
        fs::write(&config, text + EDIT)?;
    }
    Ok(())
}

fn are_edited(root: &Path) -> Result<(), Failure> {
    for config in configs(root) {
        if !fs::read_to_string(&config)?.ends_with(EDIT) {
            return Err(Failure(format!("the upgrade overwrote {}", config.display())));
        }
    }
    Ok(())
}
