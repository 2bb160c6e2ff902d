//! Links of the built site: what a browser would ask for is there, and so is the place on the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::links;
use crate::shell::Failure;

/// mdBook's page for addresses that are not there. It begins at the root of a web server that may not be ours.
const NOT_FOUND: &str = "404.html";

struct Page {
    ids: BTreeSet<String>,
    targets: Vec<String>,
}

/// What is wrong, a line each.
pub(super) fn faults(site: &Path) -> Result<Vec<String>, Failure> {
    let mut pages = BTreeMap::new();
    for file in links::files(site)? {
        let path = file.strip_prefix(site).expect("it was found below the site").to_owned();
        if path.extension().is_some_and(|suffix| suffix == "html") && path != Path::new(NOT_FOUND) {
            pages.insert(path, read(&fs::read_to_string(&file)?));
        }
    }
    if pages.len() < 2 {
        return Err(Failure(format!("{} holds no site", site.display())));
    }
    let mut faults = Vec::new();
    for (path, page) in &pages {
        for target in &page.targets {
            if let Some(fault) = fault(site, &pages, path, target) {
                faults.push(format!("{}: \"{target}\": {fault}", path.display()));
            }
        }
    }
    Ok(faults)
}

fn fault(site: &Path, pages: &BTreeMap<PathBuf, Page>, path: &Path, target: &str) -> Option<String> {
    if ["https://", "http://", "mailto:", "data:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let mut named = if file.is_empty() { path.to_owned() } else { links::resolve(path, file) };
    if site.join(&named).is_dir() {
        named.push("index.html");
    }
    if !site.join(&named).is_file() {
        return Some(format!("there is no {}", named.display()));
    }
    let (anchor, page) = (anchor.filter(|anchor| !anchor.is_empty())?, pages.get(&named)?);
    (!page.ids.contains(anchor)).then(|| format!("nothing in {} has that name", named.display()))
}

/// The attributes of tags; what stands inside scripts is no tag.
fn read(html: &str) -> Page {
    let mut page = Page { ids: BTreeSet::new(), targets: Vec::new() };
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        let tag = &rest[..rest.find('>').map_or(rest.len(), |end| end + 1)];
        page.ids.extend(attribute(tag, "id"));
        page.targets.extend(attribute(tag, "href").into_iter().chain(attribute(tag, "src")));
        rest = &rest[tag.len()..];
        if tag.starts_with("<script") {
            rest = &rest[rest.find("</script").unwrap_or(rest.len())..];
        }
    }
    page
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[from..];
    Some(value[..value.find('"')?].replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_ask_for_is_looked_up() {
        let site = std::env::temp_dir().join(format!("xtask-site-{}", std::process::id()));
        fs::create_dir_all(site.join("sub")).expect("a temporary folder can be made");
        let index = "<h1 id=\"top\"><a href=\"#top\">x</a></h1><a class=\"x\" href=\"sub/\">s</a><img src=\"none.png\">\
                     <script>\"<a href='no'>\" + \"<a href=\\\"no\\\">\"</script><a href=\"sub/index.html#gone\">g</a>";
        fs::write(site.join("index.html"), index).expect("a file can be written");
        fs::write(site.join("sub/index.html"), "<a href=\"../index.html#top\">up</a>").expect("another too");
        let found = faults(&site).expect("it is a site");
        fs::remove_dir_all(&site).expect("it was made here");
        assert_eq!(
            found,
            [
                "index.html: \"none.png\": there is no none.png",
                "index.html: \"sub/index.html#gone\": nothing in sub/index.html has that name"
            ]
        );
    }
}
