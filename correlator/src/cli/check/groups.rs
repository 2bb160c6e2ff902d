//! Many findings as one line for each kind of them, with where the first ones are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rules::catalogue::report::Report;
use rules::diagnostic::Severity;

use super::Finding;
use crate::cli::table::Table;
use crate::untrusted::Untrusted;

/// Places that are told of one kind.
const MAX_PLACES: usize = 3;

#[derive(Debug, Default)]
struct Group {
    n: usize,
    meaning: String,
    places: Vec<String>,
}

/// Errors before warnings before notes; of these, what there is most of first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    rank: u8,
    code: String,
}

pub(super) fn render(reports: &[&Report], findings: &[Finding], width: usize) -> String {
    let mut groups: BTreeMap<Name, Group> = BTreeMap::new();
    let mut add = |rank: u8, code: &str, meaning: &str, place: String| {
        let group = groups.entry(Name { rank, code: code.to_owned() }).or_default();
        group.n += 1;
        group.meaning = meaning.to_owned();
        if group.places.len() < MAX_PLACES && !group.places.contains(&place) {
            group.places.push(place);
        }
    };
    let below = common_folder(reports);
    for report in reports {
        let path = report.path.strip_prefix(&below).unwrap_or(&report.path);
        for finding in &report.findings {
            let diagnostic = &finding.diagnostic;
            let place = format!("{}:{}: {}", path.display(), report.line(finding), diagnostic.message);
            add(rank(diagnostic.severity), diagnostic.code.as_str(), diagnostic.code.meaning(), place);
        }
    }
    for finding in findings {
        let place = format!("\"{}\": {}", finding.subject, finding.message);
        add(u8::from(!finding.is_error), finding.area, about(finding.area), place);
    }
    let mut sorted: Vec<_> = groups.into_iter().collect();
    sorted.sort_by_key(|(name, group)| (name.rank, usize::MAX - group.n));
    let mut table = Table::new(&["", "n", "code", "finding"]);
    for (name, group) in &sorted {
        let label = ["error", "warning", "note"][usize::from(name.rank)].to_owned();
        table.row(vec![label, group.n.to_string(), name.code.clone(), group.meaning.clone()]);
        for place in &group.places {
            table.row(vec![String::new(), String::new(), String::new(), format!("  {place}")]);
        }
        if group.n > group.places.len() {
            let more = format!("  and {} more", group.n - group.places.len());
            table.row(vec![String::new(), String::new(), String::new(), more]);
        }
    }
    let mut out = match below.as_os_str().is_empty() {
        true => String::new(),
        false => format!("below {}:\n", Untrusted(&below.display().to_string())),
    };
    out.push_str(&table.render(width));
    out.push_str("each at its place: --all, or --format json\n\n");
    out
}

/// The folder that most of the files lie in, however deep: a place is told from there.
fn common_folder(reports: &[&Report]) -> PathBuf {
    let mut folders = reports
        .iter()
        .map(|report| report.path.as_path())
        // What is shipped lies nowhere.
        .filter(|path| path.is_file())
        .filter_map(Path::parent);
    let first = folders.next().unwrap_or(Path::new("")).to_owned();
    folders.fold(first, |common, folder| {
        let alike = common.components().zip(folder.components()).take_while(|(one, other)| one == other);
        alike.map(|(one, _)| one).collect()
    })
}

fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Note => 2,
    }
}

fn about(area: &str) -> &'static str {
    match area {
        "drop list" => "the drop list takes events that a rule matches",
        "rule" => "the sources given cannot make a rule fire",
        "source" => "a source cannot be read",
        _ => "the store cannot be used",
    }
}
