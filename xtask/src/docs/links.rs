//! Links between the tree's Markdown pages: each leads to a file that is there, and to a heading that is in it.
//!
//! Headings get their names as code hosts and mdBook give them. Links to other sites are not followed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::shell::{self, Failure};

/// Pages by their paths below the root.
pub(super) type Pages = BTreeMap<PathBuf, Page>;

/// What a page links to, and what may be linked to in it.
#[derive(Default)]
pub(super) struct Page {
    pub(super) links: Vec<Link>,
    anchors: BTreeSet<String>,
}

pub(super) struct Link {
    /// As it is written: `install.md#kubernetes`.
    pub(super) target: String,
    line: usize,
}

impl Link {
    pub(super) fn is_local(&self) -> bool {
        !["https://", "http://", "mailto:"].iter().any(|scheme| self.target.starts_with(scheme))
    }

    /// The file, or nothing for the page itself.
    pub(super) fn file(&self) -> &str {
        self.target.split('#').next().unwrap_or_default()
    }

    fn anchor(&self) -> Option<&str> {
        self.target.split_once('#').map(|(_, anchor)| anchor)
    }
}

impl Page {
    pub(super) fn read(text: &str) -> Self {
        let mut page = Page::default();
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text[..range.start].matches('\n').count() + 1;
                    page.links.push(Link { target: dest_url.into_string(), line });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.name(&heading.take().unwrap_or_default()),
                Event::Text(part) | Event::Code(part) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// Of several headings with one text, all but the first are numbered.
    fn name(&mut self, heading: &str) {
        let slug = slug(heading);
        let numbered = (1..).map(|n| format!("{slug}-{n}"));
        let free = [slug.clone()].into_iter().chain(numbered).find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }
}

/// The name of a heading: lower case, spaces as hyphens, no punctuation.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|&c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// All pages of the tree.
pub(super) fn pages(root: &Path) -> Result<Pages, Failure> {
    let is_page = |file: &PathBuf| file.extension() == Some(OsStr::new("md"));
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file)
            .map_err(|err| Failure(format!("cannot read {}: {err}", file.display())))?;
        let path = file.strip_prefix(root).expect("it was found below the root").to_owned();
        Ok((path, Page::read(&text)))
    };
    files(root)?.into_iter().filter(is_page).map(read).collect()
}

/// All files below a folder, without what tools keep there.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .map_err(|err| Failure(format!("cannot read {}: {err}", folder.display())))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name();
            let is_tools =
                name == "target" || name.to_string_lossy().starts_with('.') || path == shell::target();
            match entry.file_type()?.is_dir() {
                true if is_tools => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where a link of a page leads, below the root.
pub(super) fn resolve(page: &Path, file: &str) -> PathBuf {
    let mut path = page.parent().expect("a page lies in a folder").to_owned();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

/// What is wrong, a line each.
pub(super) fn faults(root: &Path, pages: &Pages) -> Result<Vec<String>, Failure> {
    let mut faults = Vec::new();
    for (path, page) in pages {
        for link in page.links.iter().filter(|link| link.is_local()) {
            if let Some(fault) = fault(root, pages, path, link) {
                faults.push(format!("{}:{}: \"{}\": {fault}", path.display(), link.line, link.target));
            }
        }
    }
    faults.extend(unlisted(pages));
    Ok(faults)
}

fn fault(root: &Path, pages: &Pages, path: &Path, link: &Link) -> Option<String> {
    let file = link.file();
    if file.starts_with('/') {
        return Some("begins at a root that only one host has: say where from this page".to_owned());
    }
    let named = if file.is_empty() { path.to_owned() } else { resolve(path, file) };
    let place = root.join(&named);
    if !pages.contains_key(&named) && !place.exists() {
        return Some(format!("there is no {}", named.display()));
    }
    // A code host shows a folder; a site needs a page in it.
    if place.is_dir() && path.starts_with("docs") && !place.join("README.md").is_file() {
        return Some(format!("the folder {} has no README.md to show: name a file in it", named.display()));
    }
    let anchor = link.anchor()?;
    let target = pages.get(&named)?;
    (!target.anchors.contains(anchor)).then(|| format!("{} has no heading of that name", named.display()))
}

/// Pages that the table of contents does not lead to, or leads to twice.
fn unlisted(pages: &Pages) -> Vec<String> {
    let contents = Path::new("docs/SUMMARY.md");
    let Some(summary) = pages.get(contents) else { return vec!["there is no docs/SUMMARY.md".to_owned()] };
    let listed: Vec<PathBuf> = summary.links.iter().map(|link| resolve(contents, link.file())).collect();
    let ours = pages.keys().filter(|path| path.starts_with("docs") && *path != contents);
    ours.filter_map(|path| match listed.iter().filter(|listed| *listed == path).count() {
        1 => None,
        0 => Some(format!("docs/SUMMARY.md does not list {}", path.display())),
        n_times => Some(format!("docs/SUMMARY.md lists {} {n_times} times", path.display())),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages_of(files: &[(&str, &str)]) -> Pages {
        files.iter().map(|(path, text)| (PathBuf::from(path), Page::read(text))).collect()
    }

    fn check(text: &str, expect: &[&str]) {
        let pages = pages_of(&[
            ("docs/SUMMARY.md", "[a](contributing.md) [b](x.md)"),
            ("docs/contributing.md", "# Contributing\n## A `key`, or two\n## Habits\n## Habits\n"),
            ("docs/x.md", text),
        ]);
        let found = faults(shell::root(), &pages).expect("the tree can be read");
        let found: Vec<&str> =
            found.iter().map(String::as_str).filter(|line| line.contains("x.md:")).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        check("[a](contributing.md#a-key-or-two) [b](contributing.md#habits-1) [c](../README.md)", &[]);
        check("## Own\n[a](#own) <https://example.net/no> [b](https://example.net)", &[]);
        check("\n[a](nowhere.md)", &["docs/x.md:2: \"nowhere.md\": there is no docs/nowhere.md"]);
        check("[a](contributing.md#habits-2)", &["has no heading of that name"]);
        check("[a](/docs/contributing.md)", &["begins at a root"]);
        check("[a](../packaging/systemd)", &["has no README.md to show"]);
        check("| a |\n|---|\n| ![a](images/none.png) |\n", &["there is no docs/images/none.png"]);
        check("`[a](nowhere.md)`\n```\n[a](nowhere.md)\n```\n", &[]);
    }

    #[test]
    fn a_page_that_nothing_lists_is_a_fault() {
        let pages =
            pages_of(&[("docs/SUMMARY.md", "[a](a.md) [a](a.md)"), ("docs/a.md", ""), ("docs/b.md", "")]);
        let told = unlisted(&pages);
        assert_eq!(
            told,
            ["docs/SUMMARY.md lists docs/a.md 2 times", "docs/SUMMARY.md does not list docs/b.md"]
        );
    }
}
