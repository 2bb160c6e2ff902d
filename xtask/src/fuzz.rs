//! `cargo xtask fuzz`: looks for inputs that break the readers of foreign bytes. What it finds is put into the corpus, which
//! every test run replays on the stable compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::needs;
use crate::shell::{self, Failure};

const CARGO_FUZZ: &str = "0.13.2";

#[derive(Args)]
pub(crate) struct Fuzz {
    /// One target of those in fuzz/targets; all of them when none is named
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u64,
}

pub(crate) fn run(options: &Fuzz) -> Result<(), Failure> {
    let folder = shell::root().join("fuzz");
    let targets = targets(&folder)?;
    let chosen = match &options.target {
        None => targets,
        Some(name) if targets.contains(name) => vec![name.clone()],
        Some(name) => {
            return Err(Failure(format!("no fuzz target \"{name}\"; there are {}", targets.join(", "))));
        }
    };
    if !has_nightly() {
        shell::say(
            "SKIPPED: fuzzing needs a nightly compiler for its sanitizers (rustup toolchain install nightly); \
             the corpus is replayed by cargo xtask test without one",
        );
        return Ok(());
    }
    let cargo_fuzz = needs::cargo_tool("cargo-fuzz", CARGO_FUZZ, "drives the fuzzer of the compiler")?;
    for target in chosen {
        shell::say(format!("fuzzing {target} for {} s", options.seconds));
        let mut command = Command::new(&cargo_fuzz);
        command.args(["run", "--fuzz-dir"]).arg(&folder).arg(&target);
        // What the fuzzer grows goes below the target folder; the committed corpus is read beside it.
        let grown = shell::target().join("fuzz-corpus").join(&target);
        fs::create_dir_all(&grown)?;
        command.arg(&grown).arg(folder.join("corpus").join(&target));
        command.args([
            "--",
            "-timeout=10",
            "-rss_limit_mb=2048",
            &format!("-max_total_time={}", options.seconds),
        ]);
        command.current_dir(shell::root()).env("RUSTUP_TOOLCHAIN", "nightly");
        command.env("CARGO_TARGET_DIR", shell::target().join("fuzz"));
        shell::succeed(&mut command).map_err(|failure| {
            Failure(format!(
                "{failure}; the input is in fuzz/artifacts/{target}: mend the fault and move the input to fuzz/corpus/{target}"
            ))
        })?;
    }
    Ok(())
}

/// The names of the targets: the files that say what is done with the bytes.
fn targets(folder: &Path) -> Result<Vec<String>, Failure> {
    let files: Vec<PathBuf> = fs::read_dir(folder.join("targets"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Failure>>()?;
    let mut names: Vec<String> =
        files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn has_nightly() -> bool {
    let version = shell::output(Command::new("rustc").arg("--version").env("RUSTUP_TOOLCHAIN", "nightly"));
    version.is_ok_and(|version| version.contains("nightly"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_a_corpus() {
        let folder = shell::root().join("fuzz");
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the fuzz workspace is there");
        for target in targets(&folder).expect("targets are listed") {
            assert!(
                manifest.contains(&format!("name = \"{target}\"")),
                "{target} is a binary of fuzz/Cargo.toml"
            );
            let corpus = fs::read_dir(folder.join("corpus").join(&target)).expect("its corpus is a folder");
            assert!(corpus.count() > 0, "{target} has inputs to start from");
        }
    }
}
