//! Every rule's own cases, through the whole correlator: what must fire fires, what must not stays quiet.

use std::collections::BTreeSet;

use harness::virtual_run::Shipped;
use harness::{bins, shuffle};

#[test]
fn every_rule_holds_its_cases() {
    let shipped = Shipped::load();
    let mut faults = Vec::new();
    for rule in &shipped.loaded.rules {
        for case in &rule.cases {
            let place = format!("{}:{} \"{}\"", rule.path.display(), case.line, case.name);
            let records = match shipped.read(&case.events) {
                Ok(records) => records,
                Err(err) => {
                    faults.push(format!("{place}: {err}"));
                    continue;
                }
            };
            // A set of events means one thing, whatever way it arrives.
            for seed in 0..3 {
                let records = if seed == 0 { records.clone() } else { shuffle::doubled(&records, seed) };
                let alerts = shipped.replay(records).alerts;
                let ours: Vec<String> = alerts
                    .iter()
                    .filter(|alert| *alert.rule_id == *rule.id)
                    .map(|alert| alert.document.to_string())
                    .collect();
                if ours.len() as u64 != case.expect {
                    faults.push(format!(
                        "{place}: {} alerts instead of {} (order {seed})",
                        ours.len(),
                        case.expect
                    ));
                }
                for needle in &case.contains {
                    if !ours.iter().any(|alert| alert.contains(needle)) {
                        faults.push(format!("{place}: no alert holds \"{needle}\" (order {seed})"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_rule_has_a_case_that_fires_and_one_that_does_not() {
    let shipped = Shipped::load();
    assert!(shipped.loaded.rules.len() >= 20, "the catalogue is there: {} rules", shipped.loaded.rules.len());
    for rule in &shipped.loaded.rules {
        let fires = rule.cases.iter().any(|case| case.expect > 0);
        let is_quiet = rule.cases.iter().any(|case| case.expect == 0);
        assert!(
            fires && is_quiet,
            "{} has no case that {}",
            rule.name,
            if fires { "stays quiet" } else { "fires" }
        );
    }
}

/// Who reads what is detected there must not miss a rule, nor look for one that is gone.
#[test]
fn the_page_of_the_catalogue_names_every_rule_and_no_other() {
    let path = bins::workspace().join("docs/catalogue.md");
    let page = std::fs::read_to_string(&path).expect("docs/catalogue.md");
    // Between backticks: `tactic/name`.
    let is_rule = |word: &&str| word.split('/').count() == 2 && !word.contains(['.', ' ']);
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_rule).collect();
    let shipped = Shipped::load();
    let rules: BTreeSet<String> =
        shipped.loaded.rules.iter().map(|rule| rule.path.display().to_string()).collect();
    let rules: BTreeSet<&str> =
        rules.iter().map(|path| path.trim_start_matches("catalogue/").trim_end_matches(".toml")).collect();
    let missing: Vec<_> = rules.difference(&named).collect();
    let gone: Vec<_> = named.difference(&rules).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not on the page: {missing:?}; on it and no rule: {gone:?}"
    );
}
