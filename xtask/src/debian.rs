//! Debian packages below the target folder: looked up, fetched, checked and unpacked. Nothing is installed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::shell::{self, Failure};

/// Asked after those that apt uses: the one that always is, and the one where retired releases go.
const PUBLIC_MIRRORS: [&str; 2] = ["https://deb.debian.org/debian", "https://archive.debian.org/debian"];
/// A package list is asked for again after this long: mirrors keep no superseded packages.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// What a suite has for an architecture, as one mirror tells it.
pub(crate) struct List {
    mirror: String,
    suite: String,
    text: String,
}

/// A package of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    file: &'a str,
    sha256: &'a str,
    size: u64,
    paragraph: &'a str,
}

impl List {
    /// # Errors
    /// No mirror within reach carries the suite.
    pub(crate) fn of(suite: &str, architecture: &str) -> Result<Self, Failure> {
        let folder = shell::target().join("debian/lists");
        fs::create_dir_all(&folder)?;
        let kept = folder.join(format!("{suite}-{architecture}"));
        if let Some(list) = Self::kept(&kept, suite) {
            return Ok(list);
        }
        for mirror in mirrors() {
            let url = format!("{mirror}/dists/{suite}/main/binary-{architecture}/Packages.xz");
            let fetch = format!("curl -fsSL --connect-timeout 10 '{url}' | xz -dc");
            let Ok(text) = shell::output(Command::new("sh").args(["-c", &fetch])) else { continue };
            if text.is_empty() {
                continue;
            }
            // The mirror is the first line: two mirrors need not agree on what they carry.
            fs::write(&kept, format!("{mirror}\n{text}"))?;
            return Ok(Self { mirror, suite: suite.to_owned(), text });
        }
        Err(Failure(format!("no Debian mirror within reach carries {suite} for {architecture}")))
    }

    fn kept(file: &Path, suite: &str) -> Option<Self> {
        let age = fs::metadata(file).ok()?.modified().ok()?.elapsed().ok()?;
        let text = fs::read_to_string(file).ok().filter(|_| age < FRESH)?;
        let (mirror, text) = text.split_once('\n')?;
        Some(Self { mirror: mirror.to_owned(), suite: suite.to_owned(), text: text.to_owned() })
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = Package<'_>> {
        self.text.split("\n\n").filter_map(Package::read)
    }

    /// The packages and all they depend on. Versions are not compared: a suite agrees with itself.
    pub(crate) fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Package<'_>>, Failure> {
        let mut known: HashMap<&str, Package<'_>> = HashMap::new();
        let mut stand_ins: HashMap<&str, &str> = HashMap::new();
        for package in self.packages() {
            known.entry(package.name).or_insert(package);
            for virtual_name in package.relations("Provides").flatten() {
                stand_ins.entry(virtual_name).or_insert(package.name);
            }
        }
        let real = |name: &str| known.get(name).or_else(|| known.get(stand_ins.get(name)?)).copied();
        let mut chosen: BTreeMap<&str, Package<'_>> = BTreeMap::new();
        let mut wanted: Vec<Vec<&str>> = names.iter().map(|name| vec![*name]).collect();
        while let Some(alternatives) = wanted.pop() {
            if alternatives.iter().any(|name| chosen.contains_key(name)) {
                continue;
            }
            let Some(package) = alternatives.iter().find_map(|name| real(name)) else {
                return Err(Failure(format!("Debian {} has no {}", self.suite, alternatives.join(" or "))));
            };
            if chosen.insert(package.name, package).is_none() {
                wanted.extend(package.relations("Depends").chain(package.relations("Pre-Depends")));
            }
        }
        Ok(chosen.into_values().collect())
    }

    /// Unpacks them all into one folder, beside its final place first, so that a run cut short leaves nothing half done.
    pub(crate) fn unpack(&self, packages: &[Package<'_>], into: &Path, reason: &str) -> Result<(), Failure> {
        let size: u64 = packages.iter().map(|package| package.size).sum();
        let what = match packages {
            [package] => format!("{} {}", package.name, package.version),
            several => format!("{} packages", several.len()),
        };
        shell::say(format!(
            "fetching {what} of Debian {} ({} MB) below the target folder: {reason}",
            self.suite,
            size.div_ceil(1_000_000)
        ));
        let partial = with_suffix(into, "partial");
        let debs = with_suffix(into, "debs");
        for folder in [&partial, &debs] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        let place = |package: &Package<'_>| debs.join(format!("{}.deb", package.name));
        let mut curl = Command::new("curl");
        curl.args(["-fsSL", "--connect-timeout", "10", "--parallel", "--parallel-max", "8"]);
        for package in packages {
            let url = format!("{}/{}", self.mirror, package.file.replace('+', "%2B"));
            curl.arg("-o").arg(place(package)).arg(url);
        }
        shell::output(&mut curl)?;
        for package in packages {
            let sum = shell::output(Command::new("sha256sum").arg(place(package)))?;
            if sum.split_whitespace().next() != Some(package.sha256) {
                return Err(Failure(format!(
                    "{} does not have the checksum that its list gives",
                    package.file
                )));
            }
        }
        // The links that make /bin a part of /usr come first.
        let (base, others): (Vec<_>, Vec<_>) =
            packages.iter().partition(|package| package.name == "base-files");
        for package in base.into_iter().chain(others) {
            shell::output(Command::new("dpkg").arg("-x").arg(place(package)).arg(&partial))?;
        }
        fs::remove_dir_all(&debs)?;
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        Ok(fs::rename(&partial, into)?)
    }
}

impl<'a> Package<'a> {
    fn read(paragraph: &'a str) -> Option<Self> {
        let field = |name| field(paragraph, name);
        Some(Self {
            name: field("Package")?,
            version: field("Version")?,
            file: field("Filename")?,
            sha256: field("SHA256")?,
            size: field("Size").and_then(|size| size.parse().ok()).unwrap_or(0),
            paragraph,
        })
    }

    /// `a, b (>= 1) | c:any` as alternatives of names.
    fn relations(&self, name: &str) -> impl Iterator<Item = Vec<&'a str>> + use<'a> {
        let relations = field(self.paragraph, name).unwrap_or_default().split(',');
        relations.filter(|relation| !relation.trim().is_empty()).map(|relation| {
            relation.split('|').filter_map(|one| one.trim().split([' ', ':', '(']).next()).collect()
        })
    }
}

fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What puts `6.1.0-9` before `6.1.0-10`.
pub(crate) fn natural_order(text: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let word = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        parts.push((number.parse().unwrap_or(0), tail[..word].to_owned()));
        rest = &tail[word..];
    }
    parts
}

/// The Debian mirrors among apt's sources, then the public ones. Others (security, vendors) have no package pool of
/// Debian's.
fn mirrors() -> Vec<String> {
    let apt = ["indextargets", "--format", "$(SITE)", "Created-By: Packages"];
    let sites = shell::output(Command::new("apt-get").args(apt)).unwrap_or_default();
    let mut mirrors: Vec<String> = Vec::new();
    for site in sites.lines().map(|site| site.trim_end_matches('/')).chain(PUBLIC_MIRRORS) {
        let is_mirror = site.starts_with("http") && site.ends_with("/debian");
        if is_mirror && !mirrors.iter().any(|known| known == site) {
            mirrors.push(site.to_owned());
        }
    }
    mirrors
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Package: qemu\nVersion: 1\nFilename: q.deb\nSHA256: 01\nDepends: libc6 (>= 2.38), any-font | x, awk\n\n\
                        Package: libc6\nVersion: 2\nFilename: l.deb\nSHA256: 02\nDepends: libgcc:any\n\n\
                        Package: libgcc\nVersion: 2\nFilename: g.deb\nSHA256: 03\nDepends: libc6\n\n\
                        Package: mawk\nVersion: 2\nFilename: m.deb\nSHA256: 03\nProvides: awk (= 2)\n\n\
                        Package: x\nVersion: 3\nFilename: x.deb\nSHA256: 04";

    fn list() -> List {
        List { mirror: String::new(), suite: "trixie".to_owned(), text: LIST.to_owned() }
    }

    #[test]
    fn dependencies_are_followed_through_alternatives_stand_ins_and_circles() {
        let list = list();
        let names = |wanted| {
            list.with_dependencies(wanted)
                .map(|all| all.iter().map(|package| package.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["qemu"]).expect("all there"), ["libc6", "libgcc", "mawk", "qemu", "x"]);
        assert_eq!(names(&["nothing"]).expect_err("absent").0, "Debian trixie has no nothing");
    }

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        let order = natural_order;
        assert!(order("6.1.0-9-cloud") < order("6.1.0-10-cloud"));
        assert!(order("6.12.94+deb13") < order("6.12.107+deb13"));
    }
}
