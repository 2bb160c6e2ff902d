use super::*;
use crate::enrich::tests as build;

fn preamble(tree: Option<u32>) -> Preamble {
    Preamble {
        abi_version: sensor_ebpf::abi::VERSION,
        clock_offset_ns: 1_700_000_000_000_000_000,
        host: HostFacts { id: "h".into(), boot_id: "b".into(), ..HostFacts::default() },
        environment: EnvAllow::default().patterns().to_vec(),
        max_processes: 100,
        tree,
        seed: vec![build::snapshot(1, 0, "init"), build::snapshot(10, 100, "bash")],
    }
}

/// Records to files in a directory and gives back both.
fn recorded(tree: Option<u32>, records: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (events, raw) = (dir.path().join("host.ndjson"), dir.path().join("ring.bin"));
    let env = EnvAllow::default();
    let what = Recording { events: &events, raw: Some(&raw), length: None, tree };
    let mut recorder =
        Recorder::new(preamble(tree), env.clone(), Live::new(Path::new("/"), env), &what).expect("created");
    records.iter().for_each(|bytes| recorder.take(bytes));
    recorder.flush().expect("written");
    (std::fs::read(events).expect("readable"), std::fs::read(raw).expect("readable"))
}

#[test]
fn replaying_raw_records_gives_the_same_bytes() {
    let (events, raw) = recorded(None, &build::records());
    assert_eq!(events.iter().filter(|&&byte| byte == b'\n').count(), build::records().len());
    assert_eq!(replay(&raw).expect("a recording"), events);
}

#[test]
fn a_recording_holds_no_secret() {
    let (events, raw) = recorded(None, &build::records());
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(build::records().iter().any(|record| holds(record, "hush")));
    assert!(!holds(&raw, "hush") && !holds(&events, "hush"));
    assert!(holds(&raw, "AWS_PROFILE=dev"));
}

#[test]
fn a_tree_is_kept_alone_and_replays_alike() {
    let mut records = build::records();
    records.insert(1, build::stranger());
    let (events, raw) = recorded(Some(10), &records);
    let text = String::from_utf8(events.clone()).expect("text");
    assert!(!text.contains("stranger") && text.lines().count() == records.len() - 1);
    assert_eq!(replay(&raw).expect("a recording"), events);
}

#[test]
fn what_is_wrong_with_a_recording_is_said() {
    let (_, raw) = recorded(None, &build::records());
    let check = |bytes: &[u8], expect: &str| {
        let err = replay(bytes).expect_err("refused").to_string();
        assert!(err.starts_with(expect), "{err}");
    };
    check(b"{}", "this is no recording");
    check(&raw[..8], "the recording lacks its preamble");
    check(&raw[..raw.len() - 1], "the recording ends in the middle of a frame");
    let other = raw.iter().copied().chain(*b"Z\0\0\0\0").collect::<Vec<u8>>();
    check(&other, "frame \"Z\"");
}

#[test]
fn a_seed_is_trimmed_to_the_lineage_and_its_descendants() {
    let mut all = vec![
        build::snapshot(1, 0, "init"),
        build::snapshot(5, 1, "sh"),
        build::snapshot(6, 2, "cat"),
        build::snapshot(7, 3, "x"),
    ];
    for (idx, parent) in [(1, 0), (2, 1), (3, 0)] {
        let (tgid, start_ticks) = (all[parent].tgid, all[parent].start_ticks);
        all[idx].parent = Some(crate::process::procfs::ParentSnapshot { tgid, start_ticks });
    }
    let kept: Vec<u32> =
        seed(all.clone(), Some(5)).expect("a process").iter().map(|process| process.tgid.0).collect();
    assert_eq!(kept, [1, 5, 6]);
    assert!(matches!(seed(all, Some(99)), Err(RecordError::NoSuchTree(99))));
}
