//! The five systems on this machine's own kernel: real sensor, real correlator, real clients, one test each.
//!
//! Feature `live-kernel`; needs root. Where the kernel does not allow it, each test says SKIPPED and why.

use harness::watch::{self, Watch};
use harness::{netns, skip, world};
use serde_json::Value;

/// Starts watching, or says why not.
fn watch() -> Option<Watch> {
    match watch::obstacle() {
        None => Some(Watch::start()),
        Some(reason) => {
            skip::say(&reason);
            None
        }
    }
}

fn holds(alert: &Value, needles: &[&str]) -> bool {
    let text = alert.to_string();
    needles.iter().all(|needle| text.contains(needle))
}

#[test]
fn system_1_new_endpoint_fires_once_and_a_known_one_never() {
    const RULE: &str = "command-and-control/aws_cli_endpoint_url";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system1"]);
    let alerts = watch.alerts(RULE, 1, |_| true);
    assert!(holds(&alerts[0], &[netns::ROGUE[0], "--endpoint-url", "s3 cp backup.txt"]), "{:#}", alerts[0]);
    assert_eq!(watch.count_after_settling(RULE), 1, "the second use of the endpoint stays quiet");

    watch.play(&["system1-forms"]);
    let alerts = watch.alerts(RULE, 3, |_| true);
    for endpoint in &netns::ROGUE[1..] {
        assert!(alerts.iter().any(|alert| holds(alert, &[endpoint])), "no alert names {endpoint}");
    }

    watch.play(&["system1-known"]);
    assert_eq!(watch.count_after_settling(RULE), 3, "the allow-list is honoured");
}

#[test]
fn system_2_six_calls_in_a_window_fire_and_five_do_not() {
    const RULE: &str = "discovery/aws_cli_discovery_burst";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system2-five"]);
    assert_eq!(watch.count_after_settling(RULE), 0);

    watch.play(&["system2"]);
    let alerts = watch.alerts(RULE, 1, |alert| holds(alert, &["describe-instances", "list-buckets"]));
    let calls = ["DescribeInstances", "ListUsers", "ListBuckets", "ListFunctions", "ListKeys", "ListTables"];
    assert!(holds(&alerts[0], &calls), "{:#}", alerts[0]);
    let caller = format!("assumed-role/{}/{}", world::ROLE, world::INSTANCE_ID);
    assert!(holds(&alerts[0], &[&caller, "aws ec2 describe-instances"]), "{:#}", alerts[0]);
}

#[test]
fn system_3_metadata_theft_fires_and_a_listed_agent_does_not() {
    const RULE: &str = "credential-access/unusual_metadata_request";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system3-agent"]);
    assert_eq!(watch.count_after_settling(RULE), 0);

    watch.play(&["system3"]);
    let alerts = watch.alerts(RULE, 1, |_| true);
    assert!(holds(&alerts[0], &["curl", netns::IMDS, "/latest/"]), "{:#}", alerts[0]);
    assert_eq!(alerts[0]["host"]["id"], world::INSTANCE_ID);
}

#[test]
fn system_4_send_command_shows_its_sender_and_what_then_ran() {
    const RULE: &str = "execution/ssm_send_command";
    let Some(mut watch) = watch() else { return };

    watch.play(&["system4"]);
    let alerts = watch.alerts(RULE, 1, |alert| holds(alert, &["uname -a"]));
    let alert = &alerts[0];
    assert!(holds(alert, &["user/mallory", "HIDDEN_DUE_TO_SECURITY_REASONS"]), "{alert:#}");
    assert!(holds(alert, &["ssm-document-worker", "_script.sh", "ls /var/log/amazon"]), "{alert:#}");
    assert_eq!(alerts.len(), 1, "one alert with both halves");
}

#[test]
fn system_5_each_row_of_the_catalogue_fires() {
    let Some(mut watch) = watch() else { return };
    watch.play(&["system5"]);
    for rule in [
        "initial-access/compromised_key_quarantined",
        "persistence/ec2_key_pair_created",
        "persistence/ssh_public_key_pushed",
        "persistence/serial_console_key_pushed",
        "persistence/identity_provider_created",
        "persistence/identity_provider_changed",
        "defense-evasion/identity_provider_deleted",
        "persistence/iam_user_created",
        "persistence/iam_login_profile_created",
        "persistence/iam_access_key_created",
        "persistence/iam_password_changed",
        "defense-evasion/flow_logs_deleted",
        "defense-evasion/trail_logging_stopped",
        "defense-evasion/trail_changed",
        "defense-evasion/trail_deleted",
        "defense-evasion/guardduty_detector_changed",
        "defense-evasion/guardduty_ip_set_created",
        "defense-evasion/guardduty_detector_deleted",
        "exfiltration/instance_exported",
        "impact/instance_launched_with_user_data",
        "discovery/ec2_inventory_sweep",
        "external/guardduty_finding",
        "command-and-control/flow_matches_indicator",
    ] {
        let alerts = watch.alerts(rule, 1, |_| true);
        assert_eq!(alerts.len(), 1, "{rule} fires once");
    }
}
