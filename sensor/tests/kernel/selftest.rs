//! The self-test: what it believes, what it switches off, and hooks that stay silent.

use super::*;

/// The sensor as its self-test starts it.
fn sensor() -> Command {
    Command::new(env!("CARGO_BIN_EXE_groundtrail-sensor"))
}

#[test]
fn the_self_test_finds_this_kernel_right_and_keeps_what_came_meanwhile() {
    let _turn = turn();
    let mut kernel = load();
    assert!(Command::new("/bin/true").arg("gt-meanwhile").status().unwrap().success());
    let (mut report, mut held) = selftest::run(&mut kernel, sensor());
    // It holds the start up for so long and no longer, which an emulated machine under load may overrun.
    for _ in 0..4 {
        let is_late = |(_, finding): &(Group, Finding)| matches!(finding, Finding::Untested(why) if why.contains("in time"));
        if report.findings.iter().any(is_late) {
            report = selftest::run(&mut kernel, sensor()).0;
        }
    }
    assert!(report.off().is_empty(), "{report:?}");
    for (group, finding) in &report.findings {
        // A machine without audit or with the v1 cgroups alone has nothing to compare these with.
        let may_lack = matches!(group, Group::Audit | Group::Cgroup);
        assert!(*finding == Finding::Agrees || may_lack, "{group:?}: {finding:?}");
    }
    assert!(held.drain().any(|record| record.windows(12).any(|bytes| bytes == b"gt-meanwhile")));
}

#[test]
fn a_hook_that_is_never_called_is_told_and_all_others_are_called() {
    let _turn = turn();
    let metadata = MetadataConfig { requests: true, access_key_ids: true };
    let mut kernel = load_with(&LoadOptions { metadata, ..LoadOptions::default() });
    let before = kernel.coverage().refused().count();
    selftest::run(&mut kernel, sensor());
    assert_eq!(kernel.coverage().refused().count(), before, "{:?}", kernel.coverage());

    // Nobody sends anything.
    let mut kernel = load();
    let silent = kernel.silent(&["sendmsg6", "no such program"]);
    kernel.disbelieve(&silent);
    let silent: Vec<_> =
        kernel.coverage().refused().filter(|(_, why)| why.contains("did not call it")).collect();
    assert_eq!(silent.iter().map(|(probe, _)| probe.program).collect::<Vec<_>>(), ["sendmsg6"]);
}

#[test]
fn wrong_offsets_switch_their_own_groups_off() {
    let _turn = turn();
    // Neighbours of the right type, which no verifier can tell apart.
    let tamper: fn(&mut Offsets) = |offsets| {
        offsets.mm_arg_start = offsets.mm_env_start;
        offsets.sock_dport = offsets.sock_num;
    };
    let mut kernel = load_with(&LoadOptions { tamper: Some(tamper), ..plain() });
    let (report, _) = selftest::run(&mut kernel, sensor());
    assert_eq!(report.off(), Groups::from_iter([Group::Arguments, Group::Socket]), "{report:?}");
    assert!(report.wrong().all(|(_, what)| what.contains("/proc has")));
}
