//! Every rule's own cases, through the whole correlator: what must fire fires, what must not stays quiet.

use harness::shuffle;
use harness::virtual_run::Shipped;

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
