//! `cargo xtask docs`: the pages below `docs` as a site, each of its links followed.
//!
//! The pages are Markdown that reads as it is on a code host. What mdBook would make broken links of is mended in a copy: a link that
//! leaves `docs` leads to a copy of the file it names.

mod html;
mod links;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs;
use crate::shell::{self, Failure};

/// Where copies of files outside of `docs` lie in the site.
const TREE: &str = "tree";

pub(crate) fn run() -> Result<(), Failure> {
    let root = shell::root();
    let pages = links::pages(root)?;
    refuse(&links::faults(root, &pages)?)?;

    let folder = shell::target().join("docs");
    let (staged, site) = (folder.join("src"), folder.join("site"));
    for old in [&staged, &site] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    stage(root, &pages, &staged)?;
    let mdbook = needs::mdbook()?;
    shell::succeed(Command::new(mdbook).arg("build").arg(&staged).arg("--dest-dir").arg(&site))?;
    refuse(&html::faults(&site)?)?;
    println!("{}", site.join("index.html").display());
    Ok(())
}

/// Says every fault before it fails.
fn refuse(faults: &[String]) -> Result<(), Failure> {
    for fault in faults {
        shell::say(fault);
    }
    match faults.len() {
        0 => Ok(()),
        n_faults => Err(Failure(format!("{n_faults} links lead nowhere"))),
    }
}

/// Copies `docs`, and what its pages link to outside of it.
fn stage(root: &Path, pages: &links::Pages, into: &Path) -> Result<(), Failure> {
    let docs = root.join("docs");
    for file in links::files(&docs)? {
        let within = file.strip_prefix(&docs).expect("the file was found below it");
        let copy = into.join(within);
        fs::create_dir_all(copy.parent().expect("a file lies in a folder"))?;
        match pages.get(&Path::new("docs").join(within)) {
            Some(page) => fs::write(&copy, inward(root, within, page, &fs::read_to_string(&file)?, into)?)?,
            None => fs::copy(&file, &copy).map(drop)?,
        }
    }
    Ok(())
}

/// A page's text with the links that leave `docs` led to copies below [`TREE`], which are made here.
fn inward(
    root: &Path,
    within: &Path,
    page: &links::Page,
    text: &str,
    into: &Path,
) -> Result<String, Failure> {
    let mut text = text.to_owned();
    for link in page.links.iter().filter(|link| link.is_local()) {
        let named = links::resolve(&Path::new("docs").join(within), link.file());
        if named.starts_with("docs") || link.file().is_empty() {
            continue;
        }
        let copy = PathBuf::from(TREE).join(as_plain_text(&named));
        let place = into.join(&copy);
        fs::create_dir_all(place.parent().expect("a file lies in a folder"))?;
        fs::copy(root.join(&named), &place).map_err(|err| {
            Failure(format!("docs/{} links to {}: {err}", within.display(), named.display()))
        })?;
        let up = "../".repeat(within.components().count() - 1);
        text = text.replace(
            &format!("]({})", link.target),
            &format!("]({up}{})", copy.to_str().expect("our own names")),
        );
    }
    Ok(text)
}

/// A page outside of the book is a text: mdBook neither renders nor copies it, and makes `.html` of each `.md` in a link.
fn as_plain_text(named: &Path) -> PathBuf {
    match named.extension().is_some_and(|suffix| suffix == "md") {
        true => named.with_extension("txt"),
        false => named.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short form of the check, which needs neither mdBook nor a network.
    #[test]
    fn every_link_of_the_docs_leads_somewhere() {
        let pages = links::pages(shell::root()).expect("the pages can be read");
        assert!(pages.len() > 20, "{} pages are too few to be all", pages.len());
        let faults = links::faults(shell::root(), &pages).expect("the tree can be read");
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn a_link_that_leaves_the_docs_leads_to_a_copy() {
        let into = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        let page = links::Page::read("see [how](../LICENSE), [log](../CHANGELOG.md) and [here](install.md)");
        let text = "see [how](../LICENSE), [log](../CHANGELOG.md) and [here](install.md)";
        let mended = inward(shell::root(), Path::new("x.md"), &page, text, &into).expect("it is copied");
        assert_eq!(mended, "see [how](tree/LICENSE), [log](tree/CHANGELOG.txt) and [here](install.md)");
        assert!(into.join("tree/LICENSE").is_file() && into.join("tree/CHANGELOG.txt").is_file());
        fs::remove_dir_all(into).expect("it was made here");
    }
}
