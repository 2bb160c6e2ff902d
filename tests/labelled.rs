//! What others labelled, and what the shipped rules say to it, where it is at hand: `GROUNDTRAIL_DATA` names its folder. None of
//! it is in the tree.
//!
//! Only rules that claim a behaviour are held to it. Behaviours that nobody here claims are counted apart and named.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use harness::skip;
use harness::virtual_run::Shipped;
use serde_json::Value;

/// Sets of Stratus Red Team, by file, and the rules that claim its acts; none where no rule claims any.
const STRATUS: [(&str, &[&str]); 13] = [
    ("aws.credential-access.ec2-get-password-data", &[]),
    ("aws.credential-access.secretsmanager-retrieve-secrets", &[]),
    ("aws.defense-evasion.cloudtrail-event-selectors", &["defense-evasion/trail_changed"]),
    ("aws.defense-evasion.cloudtrail-stop", &["defense-evasion/trail_logging_stopped"]),
    ("aws.defense-evasion.vpc-remove-flow-logs", &["defense-evasion/flow_logs_deleted"]),
    ("aws.execution.ssm-send-command", &["execution/ssm_send_command"]),
    ("aws.exfiltration.ec2-security-group-open-port-22-ingress", &[]),
    ("aws.exfiltration.ec2-share-ami", &["exfiltration/disk_shared_with_account"]),
    ("aws.initial-access.console-login-without-mfa", &[]),
    ("aws.persistence.iam-backdoor-role", &[]),
    ("aws.persistence.iam-backdoor-user", &["persistence/iam_access_key_created"]),
    (
        "aws.persistence.iam-create-admin-user",
        &["persistence/iam_user_created", "persistence/iam_access_key_created"],
    ),
    ("aws.persistence.lambda-overwrite-code", &[]),
];

/// Panther's rules, and ours that claims the same of a single record.
const PANTHER: [(&str, &str); 4] = [
    ("AWS.CloudTrail.AMIModifiedForPublicAccess", "exfiltration/disk_shared_with_account"),
    ("AWS.CloudTrail.EventSelectorsDisabled", "defense-evasion/trail_changed"),
    ("AWS.CloudTrail.IAMCompromisedKeyQuarantine", "initial-access/compromised_key_quarantined"),
    ("AWS.EC2.MultiInstanceConnect", "persistence/ssh_public_key_pushed"),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    true_positives: usize,
    false_positives: usize,
    true_negatives: usize,
    false_negatives: usize,
}

impl Score {
    fn count(&mut self, is_expected: bool, has_fired: bool) {
        *match (is_expected, has_fired) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_negatives,
            (false, true) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
        } += 1;
    }

    fn told(&self, set: &str) {
        let Score { true_positives: tp, false_positives: fp, true_negatives: tn, false_negatives: fneg } =
            self;
        println!("| {set} | {tp} | {fp} | {tn} | {fneg} |");
    }
}

fn set(name: &str) -> Option<PathBuf> {
    let Some(data) = env::var_os("GROUNDTRAIL_DATA") else {
        skip::say("GROUNDTRAIL_DATA names no folder of public data");
        return None;
    };
    let path = Path::new(&data).join(name);
    if path.is_dir() {
        return Some(path);
    }
    skip::say(&format!("{} is not there", path.display()));
    None
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// The rules of the catalogue that these records fire.
fn fired(shipped: &Shipped, records: &[Value]) -> BTreeSet<String> {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let records = shipped.read(&lines).expect("published records are readable");
    let alerts = shipped.replay(records).alerts;
    let rules = shipped.loaded.rules.iter();
    rules
        .filter(|rule| alerts.iter().any(|alert| *alert.rule_id == *rule.id))
        .map(|rule| {
            let path = rule.path.display().to_string();
            path.trim_start_matches("catalogue/").trim_end_matches(".toml").to_owned()
        })
        .collect()
}

#[test]
fn techniques_that_were_detonated_are_told_and_no_other() {
    let Some(folder) = set("cloudtrail/stratus") else { return };
    let shipped = Shipped::load();
    let claimed: BTreeSet<&str> = STRATUS.iter().flat_map(|(_, rules)| rules.iter().copied()).collect();
    let mut score = Score::default();
    let mut n_others = 0;
    for (name, of_this) in STRATUS {
        let records = json(&folder.join(format!("{name}.json")));
        let fired = fired(&shipped, records.as_array().expect("a list"));
        for rule in &claimed {
            score.count(of_this.contains(rule), fired.contains(*rule));
        }
        n_others += fired.iter().filter(|rule| !claimed.contains(rule.as_str())).count();
        println!("{name}: {}", fired.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    score.told("Stratus Red Team");
    let expected = Score { true_positives: 8, false_positives: 0, true_negatives: 83, false_negatives: 0 };
    assert_eq!((score, n_others), (expected, 0));
}

#[test]
fn tests_of_others_rules_hold_for_ours_that_claim_the_same() {
    let Some(folder) = set("labelled/panther") else { return };
    let shipped = Shipped::load();
    let mut score = Score::default();
    for (name, rule) in PANTHER {
        let tests = json(&folder.join(format!("{name}.json")));
        let without_mocks = |test: &&Value| {
            test["mocks"].as_array().is_none_or(Vec::is_empty) && test["log"]["eventTime"].is_string()
        };
        for test in tests["tests"].as_array().into_iter().flatten().filter(without_mocks) {
            let has_fired = fired(&shipped, std::slice::from_ref(&test["log"])).contains(rule);
            let is_expected = test["expected"] == true;
            if has_fired != is_expected {
                println!("{name} \"{}\": expected {is_expected}", test["name"]);
            }
            score.count(is_expected, has_fired);
        }
    }
    score.told("Panther's tests");
    // Selectors that are put back on are a change of the trail, too, and told.
    let expected = Score { true_positives: 5, false_positives: 1, true_negatives: 5, false_negatives: 0 };
    assert_eq!(score, expected);
}

/// Whatever fires on the record of a call says of it what its key says: one of the techniques, or its parent.
#[test]
fn what_fires_on_a_call_names_a_technique_of_its_answer_key() {
    let Some(folder) = set("cloudtrail/traildiscover") else { return };
    let shipped = Shipped::load();
    let (mut score, mut n_calls) = (Score::default(), 0);
    for service in fs::read_dir(folder.join("events")).expect("a folder").flatten() {
        for entry in fs::read_dir(service.path()).expect("a folder").flatten() {
            let path = entry.path();
            let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".cloudtrail")) else {
                continue;
            };
            let key = techniques(&json(Path::new(name)));
            let records = match json(&path) {
                Value::Array(records) => records,
                record => vec![record],
            };
            n_calls += records.len();
            for rule in fired(&shipped, &records) {
                let known =
                    shipped.loaded.rules.iter().find(|one| one.path.ends_with(format!("{rule}.toml")));
                let text = fs::read_to_string(
                    harness::bins::workspace().join(format!("rules/catalogue/{rule}.toml")),
                )
                .expect("a shipped rule");
                let is_right = known.is_some()
                    && key.iter().any(|technique| text.contains(&format!("id = \"{technique}\"")));
                if !is_right {
                    println!("{}: {rule} names none of {key:?}", path.display());
                }
                score.count(is_right, true);
            }
        }
    }
    println!("{n_calls} calls");
    score.told("TrailDiscover");
    assert_eq!((n_calls, score.false_positives), (132, 0));
}

/// `T1078` of `T1078 - Valid Accounts`, and the parents of subtechniques.
fn techniques(key: &Value) -> BTreeSet<String> {
    let lists = ["mitreAttackTechniques", "mitreAttackSubTechniques"];
    let names =
        lists.iter().flat_map(|list| key[*list].as_array().into_iter().flatten()).filter_map(Value::as_str);
    let ids = names.filter_map(|name| name.split(' ').next());
    ids.flat_map(|id| [id.to_owned(), id.split('.').next().unwrap_or(id).to_owned()]).collect()
}
