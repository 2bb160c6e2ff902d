//! The tutorial, typed in as it stands, in a folder of its own: what the page shows is what comes out.
//!
//! Blocks of `sh` are typed into one shell each; a block of `text` behind one is what it printed, words and data in the order they came.
//! Every command of a block ends with 0; in a block of `sh,fails` the last one does not.
//! A line `…` stands for any lines. `UPDATE_EXPECT=1 cargo test -p tests --test docs` writes blocks without such lines anew.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::bins;

use crate::fences;

const PAGE: &str = "docs/tutorial.md";
/// What a reader does first and the test has done: building takes minutes.
const BUILDING: &str = "cargo build --release --package correlator";
const ANY: &str = "…";

#[test]
fn the_tutorial_shows_what_comes_out() {
    let file = bins::workspace().join(PAGE);
    let mut page = fs::read_to_string(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    symlink(bins::workspace().join("tests"), folder.path().join("tests")).unwrap();

    let blocks = fences::code(PAGE, &page);
    let mut faults = Vec::new();
    let mut said: Option<String> = None;
    let mut n_typed = 0;
    for block in &blocks {
        match block.kind.as_deref() {
            Some("sh") if block.text.contains(BUILDING) => said = None,
            Some(kind @ ("sh" | "sh,fails")) => {
                let (is_success, printed) = typed(&block.text, folder.path());
                if is_success == (kind == "sh,fails") {
                    let ended = if is_success { "succeeded" } else { "failed" };
                    faults.push(format!("{}: {ended}:\n{}--- printed\n{printed}", block.place, block.text));
                }
                said = Some(printed);
                n_typed += 1;
            }
            Some("text") => {
                let said =
                    said.take().unwrap_or_else(|| panic!("{}: nothing was typed before it", block.place));
                if shows(&block.text, &said) {
                    continue;
                }
                let is_whole = !block.text.lines().any(|line| line.trim() == ANY);
                if is_whole && env::var_os("UPDATE_EXPECT").is_some() {
                    page = page.replacen(
                        &format!("```text\n{}```", block.text),
                        &format!("```text\n{said}```"),
                        1,
                    );
                } else {
                    faults.push(format!("{}:\n{}--- came out as\n{said}", block.place, block.text));
                }
            }
            _ => {}
        }
    }
    assert!(n_typed > 8, "{n_typed} blocks are too few to be all");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    if page != fs::read_to_string(&file).unwrap() {
        fs::write(&file, page).unwrap();
    }
}

/// Whether every command of a block succeeds, and what they print, on either stream.
fn typed(block: &str, folder: &Path) -> (bool, String) {
    let program = bins::groundtrail().parent().unwrap();
    let path = env::join_paths(
        [program].map(Path::to_owned).into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1\nset -e\n{block}"))
        .current_dir(folder)
        .env_clear()
        .env("PATH", path.unwrap())
        .env("LC_ALL", "C.UTF-8")
        .env("COLUMNS", "100")
        .env("GROUNDTRAIL_CONFIG", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // What a command says of itself at its end is not shown by a terminal.
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = printed.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    (output.status.success(), printed)
}

/// Whether the lines shown are those said, `…` standing for any.
fn shows(shown: &str, said: &str) -> bool {
    let mut said: &[&str] = &said.lines().collect::<Vec<_>>();
    let parts: Vec<Vec<&str>> = shown
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .split(|line| line.trim() == ANY)
        .map(<[&str]>::to_vec)
        .collect();
    for (at, part) in parts.iter().enumerate() {
        let is_last = at + 1 == parts.len();
        let found = match (at, is_last) {
            (0, _) => said.starts_with(part).then_some(0),
            (_, true) => said.ends_with(part).then(|| said.len() - part.len()),
            _ => (0..=said.len()).find(|&from| said[from..].starts_with(part)),
        };
        let Some(from) = found else { return false };
        said = &said[from + part.len()..];
        if at == 0 && is_last && !said.is_empty() {
            return false;
        }
    }
    true
}

#[test]
fn lines_that_are_left_out_are_any_lines() {
    let said = "a\nb\nc\nd\n";
    for good in ["a\nb\nc\nd\n", "a\n…\nd\n", "…\nd\n", "a\n…\n", "a\n…\nc\n…\n", "…\n"] {
        assert!(shows(good, said), "{good}");
    }
    for bad in ["a\nb\n", "b\n…\nd\n", "a\n…\nc\n", "a\n…\nx\n…\n", "a\n…\nc\n…\nb\n…\n", "d\n…\nd\n"]
    {
        assert!(!shows(bad, said), "{bad}");
    }
}
