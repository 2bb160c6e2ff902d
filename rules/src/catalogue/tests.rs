use std::fs;

use super::*;
use crate::diagnostic::Severity;
use crate::diagnostic::render::Style;

/// What stands before a number that is a rule's id.
const UUID: &str = "00000000-0000-4000-8000-00000000000";

fn rule_text(id: &str, more: &str) -> String {
    let uuid = if id.parse::<u8>().is_ok() { UUID } else { "" };
    format!(
        "[rule]\nname = \"{id}\"\nrule_id = \"{uuid}{id}\"\nseverity = \"low\"\nrisk_score = 21\ntype = \"query\"\n\
         query = 'event.action:exec'\n{more}"
    )
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("groundtrail-catalogue-{}-{name}", std::process::id()));
        for (file, text) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder in the temporary one");
            fs::write(file, text).expect("a file in the temporary folder");
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ids(loaded: &Loaded) -> Vec<&str> {
    loaded.rules.iter().map(|rule| rule.id.strip_prefix(UUID).unwrap_or(&rule.id)).collect()
}

#[test]
fn a_bad_file_leaves_the_others() {
    let folder = Folder::new(
        "bad",
        &[
            ("b/good.toml", &rule_text("1", "")),
            ("a/bad.toml", "[rule"),
            (".hidden/x.toml", "[rule"),
            ("_deprecated/x.toml", "[rule"),
            ("notes.md", "text"),
            ("z.toml", &rule_text("2", "")),
        ],
    );
    fs::write(folder.0.join("c.toml"), b"\xff\xfe").expect("a file");
    let loaded = load([&folder.0], &mut Schema::builtin());
    assert_eq!(ids(&loaded), ["1", "2"]);
    let bad: Vec<_> =
        loaded.reports.iter().map(|report| report.path.strip_prefix(&folder.0).expect("below")).collect();
    assert_eq!(bad, [Path::new("a/bad.toml"), Path::new("c.toml")]);
    assert_eq!(loaded.n_files, 4);
    assert_eq!(loaded.n_passed_over, 0);
}

#[test]
fn a_path_that_is_not_there_is_reported() {
    let loaded = load(["/nonexistent/rules"], &mut Schema::builtin());
    let text = loaded.reports[0].render(Style::Plain);
    assert!(loaded.has_errors() && text.contains("cannot read \"/nonexistent/rules\""), "{text}");
    assert!(!text.contains('^') && !text.contains(":1:1"), "there is no line to show: {text}");
}

#[test]
fn the_second_of_two_equal_ids_names_both_files() {
    let folder = Folder::new("ids", &[("a.toml", &rule_text("1", "")), ("b.toml", &rule_text("1", ""))]);
    let loaded = load([&folder.0], &mut Schema::builtin());
    assert_eq!(ids(&loaded), ["1"]);
    let text = loaded.reports[0].render(Style::Plain);
    assert!(text.contains("a.toml") && text.contains("b.toml:3:12"), "{text}");
}

#[test]
fn a_rule_of_ours_steps_back_for_the_one_it_covers() {
    let ours = Folder::new("ours", &[("a.toml", &rule_text("ours", "upstream_id = \"theirs\"\n"))]);
    let theirs = Folder::new("theirs", &[("a.toml", &rule_text("theirs", ""))]);
    let mut schema = Schema::builtin();
    let alone = load([&ours.0], &mut schema);
    assert_eq!(ids(&alone), ["ours"]);
    let both = alone.join(load([&theirs.0], &mut schema));
    assert_eq!(ids(&both), ["theirs"]);
    assert_eq!(both.reports[0].severity(), Some(Severity::Warning));
}

#[test]
fn a_drop_list_may_stand_among_rules() {
    let line = "[[drop]]\nname = \"polls\"\nreason = \"noise\"\nquery = 'event.action:poll'\n";
    let bad = "[[drop]]\nname = \"bad\"\nreason = \"noise\"\nquery = 'proces.name:x'\n";
    let folder = Folder::new("drops", &[("d.toml", &format!("{line}{bad}"))]);
    let loaded = load([&folder.0], &mut Schema::builtin());
    assert_eq!(loaded.drops.len(), 1);
    assert!(loaded.reports[0].render(Style::Plain).contains("did you mean \"process.name\"?"));
}
#[test]
fn the_shipped_rules_load_without_a_word() {
    let loaded = builtin(&mut Schema::builtin());
    let said: Vec<String> = loaded.reports.iter().map(|report| report.render(Style::Plain)).collect();
    assert_eq!(said, Vec::<String>::new());
    assert!(loaded.rules.len() >= 20 && !loaded.drops.is_empty());
    let untested: Vec<_> =
        loaded.rules.iter().filter(|rule| !rule.cases.iter().any(|case| case.expect > 0)).collect();
    assert!(untested.is_empty(), "each shipped rule has a case that fires: {untested:?}");
}

#[test]
fn many_files_load_alike_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    // Every third names a leaf of an open object, which gives a new field its number.
    for number in 0..200 {
        let field = match number % 3 {
            0 => format!("aws.cloudtrail.flattened.request_parameters.leaf{}", 500 - number),
            _ => "process.name".to_owned(),
        };
        let text = format!(
            "[rule]\nname = \"n\"\nrule_id = \"00000000-0000-4000-8000-{number:012}\"\ntype = \"query\"\nlanguage = \"kuery\"\n\
             severity = \"low\"\nrisk_score = 21\nquery = '{field}: \"x{number}\"'\n"
        );
        fs::write(folder.path().join(format!("{number:03}.toml")), text).expect("a rule is written");
    }
    let mut one_by_one = Loaded::default();
    let mut expected_schema = Schema::builtin();
    for path in walk::files(folder.path()) {
        let path = path.expect("a readable file");
        let text = walk::read(&path, u64::MAX).expect("a readable file");
        one_by_one.add(&path, &text, false, &mut expected_schema);
    }
    let mut schema = Schema::builtin();
    let told = std::sync::atomic::AtomicUsize::new(0);
    let loaded = load_with([folder.path()], &sigma::Options::default(), &mut schema, &|_, n_all| {
        assert_eq!(n_all, 200);
        told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(loaded.rules, one_by_one.rules);
    assert_eq!(schema.len(), expected_schema.len());
    assert_eq!(told.into_inner(), 200);
}

#[test]
fn other_toml_of_a_folder_is_left_alone_and_one_that_is_named_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("pyproject.toml");
    fs::write(&path, "[project]\nname = \"x\"\n").expect("written");
    let of_folder = load([dir.path()], &mut Schema::builtin());
    assert!(!of_folder.has_errors() && of_folder.n_passed_over == 1);
    assert!(load([&path], &mut Schema::builtin()).has_errors());
    fs::write(&path, "[metadata]\n[rul]\nname = \"x\"\n").expect("written");
    assert!(load([dir.path()], &mut Schema::builtin()).has_errors(), "a slip of the pen is no other file");
}

#[test]
fn a_file_that_is_named_is_a_rule_or_an_error_and_a_folder_counts_what_it_passes_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = [
        ("broken.yml", "title: [", "GT701"),
        ("misspelt.yml", "title: x\ndetektion:\n  a: b\n", "GT512"),
        ("empty.yaml", "", "GT512"),
        ("other.toml", "[project]\nname = \"x\"\n", "GT503"),
    ];
    for (name, text, code) in files {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        let loaded = load([&path], &mut Schema::builtin());
        assert!(loaded.has_errors(), "{name}");
        let codes: Vec<&str> =
            loaded.reports[0].findings.iter().map(|found| found.diagnostic.code.as_str()).collect();
        assert!(codes.contains(&code), "{name}: {codes:?}");
    }
    let loaded = load([dir.path()], &mut Schema::builtin());
    assert!(!loaded.has_errors());
    assert_eq!((loaded.n_files, loaded.n_passed_over), (4, 4));
    let said = loaded.reports[0].render(Style::Plain);
    assert!(said.contains("none of the 4 TOML and YAML files in"), "{said}");
    fs::write(dir.path().join("rule.toml"), rule_text("1", "")).expect("written");
    assert_eq!(load([dir.path()], &mut Schema::builtin()).n_passed_over, 4);
    let empty = tempfile::tempdir().expect("a folder");
    let said = load([empty.path()], &mut Schema::builtin()).reports[0].render(Style::Plain);
    assert!(said.contains("no rule file lies in") && said.contains("GT512"), "{said}");
}

#[test]
fn an_id_is_there_and_better_a_uuid() {
    let read = |id: &str| {
        let text = rule_text("x", "").replace("rule_id = \"x\"", &format!("rule_id = \"{id}\""));
        let loaded = text_of(&text);
        let codes: Vec<&str> = loaded
            .reports
            .iter()
            .flat_map(|report| &report.findings)
            .map(|found| found.diagnostic.code.as_str())
            .collect();
        (loaded.rules.len(), codes.join(" "))
    };
    assert_eq!(read(""), (0, "GT505".to_owned()));
    assert_eq!(read("  "), (0, "GT505".to_owned()));
    assert_eq!(read("mine"), (1, "GT513".to_owned()));
    assert_eq!(read("5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a1x"), (1, "GT513".to_owned()));
    assert_eq!(read("5a0e6a52-64f5-4b0e-a1c3-6f2f6f1f3a10"), (1, String::new()));
}

fn text_of(rule: &str) -> Loaded {
    text(Path::new("rule.toml"), rule, &mut Schema::builtin())
}
