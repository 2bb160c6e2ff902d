//! Static release binaries for this architecture and the other: what is shipped, and what the guests run.
//!
//! Statically linked glibc rather than musl: it needs no package beyond the compiler, its allocator is the faster one,
//! and what static glibc cannot do (look names up through NSS plug-ins) neither binary does: see `sensor::wire::names`.

use std::env::consts;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde_json::Value;

use crate::shell::{self, Failure};
use crate::{needs, setup};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "arm64", alias = "aarch64")]
    Arm64,
}

impl Arch {
    /// What this runs on.
    pub(crate) fn own() -> Result<Self, Failure> {
        match consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Arm64),
            other => {
                Err(Failure(format!("\"{other}\" is neither x86_64 nor arm64, for which the sensor is made")))
            }
        }
    }

    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust, the kernel and rpm call it.
    pub(crate) fn machine(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    pub(crate) fn triple(self) -> String {
        format!("{}-unknown-linux-gnu", self.machine())
    }
}

/// Where the static binaries of an architecture are.
pub(crate) fn folder(arch: Arch) -> PathBuf {
    shell::target().join(arch.triple()).join("release")
}

/// A cargo command that builds static release binaries for the architecture.
pub(crate) fn cargo(arch: Arch, verb: &str) -> Result<Command, Failure> {
    let triple = arch.triple();
    let mut command = shell::cargo(&[verb, "--release", "--target", &triple]);
    let variable = |name: &str| format!("CARGO_TARGET_{}_{name}", triple.replace('-', "_").to_uppercase());
    command.env(variable("RUSTFLAGS"), "-C target-feature=+crt-static").env_remove("RUSTFLAGS");
    if arch != Arch::own()? {
        let compiler = format!("{}-linux-gnu-gcc", arch.machine());
        needs::cross_compiler(&compiler, arch.machine(), arch.debian())?;
        command.env(variable("LINKER"), &compiler);
        if !has_std(&triple)? {
            // rustup may have no std of that target to give; it is then compiled like everything else.
            if let Some(library) = setup::core_sources()? {
                command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
            }
            command.args(["-Z", "build-std=std,panic_abort,proc_macro,test"]).env("RUSTC_BOOTSTRAP", "1");
        }
    }
    Ok(command)
}

fn has_std(triple: &str) -> Result<bool, Failure> {
    let print = ["--print", "target-libdir", "--target", triple];
    let folder = shell::output(Command::new("rustc").args(print).current_dir(shell::root()))?;
    Ok(Path::new(&folder).is_dir())
}

/// Builds, and names the executables of the targets that were asked for.
pub(crate) fn executables(build: &mut Command, targets: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let built = build.output()?;
    if !built.status.success() {
        return Err(Failure(format!("the static build failed: {}", built.status)));
    }
    let messages = String::from_utf8_lossy(&built.stdout);
    targets
        .iter()
        .map(|target| {
            executable(&messages, target)
                .ok_or_else(|| Failure(format!("cargo built no executable for \"{target}\"")))
        })
        .collect()
}

fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    let documents = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut of_target = documents.filter(|document| document["target"]["name"] == target);
    of_target.find_map(|document| Some(PathBuf::from(document["executable"].as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_is_found_among_what_cargo_says() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"kernel"},"executable":null}"#,
            "\nnot JSON\n",
            r#"{"reason":"compiler-artifact","target":{"name":"kernel"},"executable":"/t/kernel-1"}"#
        );
        assert_eq!(executable(messages, "kernel").as_deref(), Some(Path::new("/t/kernel-1")));
        assert_eq!(executable(messages, "other"), None);
    }
}
