//! What packages carry besides programs and settings: completions and manual pages, which the programs write themselves, and the catalogue.
//!
//! It lies beside the static binaries, where the packing tools look for what was built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Product;
use crate::shell::{self, Failure};
use crate::statics::{self, Arch};

/// What a shell calls the file for a program.
type FileName = fn(&str) -> String;

const SHELLS: [(&str, FileName); 3] = [
    ("bash", |program| program.to_owned()),
    ("zsh", |program| format!("_{program}")),
    ("fish", |program| format!("{program}.fish")),
];

/// Folders below [`folder`], and where their files lie in the tarball and in Debian's packages. Red Hat's family has zsh's elsewhere.
pub(super) const PLACES: [(&str, &str); 4] = [
    ("bash", "usr/share/bash-completion/completions"),
    ("zsh", "usr/share/zsh/vendor-completions"),
    ("fish", "usr/share/fish/vendor_completions.d"),
    ("man", "usr/share/man/man1"),
];

/// Where the rules lie, for those who want to read them: the program has them built in.
pub(super) const CATALOGUE: &str = "usr/share/groundtrail/catalogue";

pub(super) fn folder(arch: Arch, product: &Product) -> PathBuf {
    statics::folder(arch).join("share").join(product.binary)
}

/// Lets the program write its completions and manual pages.
pub(super) fn write(arch: Arch, product: &Product) -> Result<(), Failure> {
    let folder = folder(arch, product);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    for (name, file) in SHELLS {
        let place = folder.join(name);
        fs::create_dir_all(&place)?;
        let script = shell::output(program(arch, product)?.args(["completion", name]))?;
        fs::write(place.join(file(product.binary)), script + "\n")?;
    }
    let pages = folder.join("man");
    shell::output(program(arch, product)?.arg("man").arg(&pages))?;
    for page in files(&pages)? {
        // No name and no time, so that the same sources make the same bytes.
        shell::output(Command::new("gzip").args(["-n9"]).arg(&page))?;
    }
    Ok(())
}

/// The program as this machine can run it: what was built for another one says the same of itself.
fn program(arch: Arch, product: &Product) -> Result<Command, Failure> {
    if arch == Arch::own()? {
        return Ok(Command::new(statics::folder(arch).join(product.binary)));
    }
    let mut command =
        shell::cargo(&["run", "--quiet", "--package", product.krate, "--bin", product.binary, "--"]);
    command.stdin(std::process::Stdio::null());
    Ok(command)
}

/// Every file below [`folder`] with its place below `/`.
pub(super) fn placed(arch: Arch, product: &Product) -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut found = Vec::new();
    for (name, place) in PLACES {
        for file in files(&folder(arch, product).join(name))? {
            let to = format!(
                "{place}/{}",
                file.file_name().and_then(|name| name.to_str()).expect("our own names")
            );
            found.push((file, to));
        }
    }
    Ok(found)
}

/// The rules of the tree with their places below `/`.
pub(super) fn rules() -> Result<Vec<(PathBuf, String)>, Failure> {
    let from = shell::root().join("rules/catalogue");
    let mut found = Vec::new();
    for tactic in fs::read_dir(&from)? {
        let tactic = tactic?;
        if tactic.file_type()?.is_dir() {
            for file in files(&tactic.path())? {
                let below = file.strip_prefix(&from).expect("it was found below it").display().to_string();
                found.push((file, format!("{CATALOGUE}/{below}")));
            }
        }
    }
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        fs::read_dir(folder).map_err(|err| Failure(format!("cannot read {}: {err}", folder.display())))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}
