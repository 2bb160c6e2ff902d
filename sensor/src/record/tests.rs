use std::mem::size_of;

use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::header::Header;
use sensor_ebpf::abi::text::{Text, Walk};

use super::*;
use crate::decode::tests::bytes_of;
use crate::decode::{Record, decode};
use crate::enrich::tests as build;

fn preamble(tree: Option<u32>) -> Preamble {
    Preamble {
        abi_version: sensor_ebpf::abi::VERSION,
        clock_offset_ns: 1_700_000_000_000_000_000,
        host: HostFacts { id: "h".into(), boot_id: "b".into(), ..HostFacts::default() },
        environment: EnvAllow::default().patterns().to_vec(),
        files: Patterns::default(),
        table: Caps { max_processes: 100, max_bytes: 1 << 20 },
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

/// The record as a ring gives it that held something else before: everything it does not use is full of that.
fn in_used_room(bytes: &[u8]) -> Vec<u8> {
    const STALE: u32 = u32::from_ne_bytes(*b"hush");
    fn stain(room: &mut [u8]) {
        for (idx, byte) in room.iter_mut().enumerate() {
            *byte = b"hush\xaa"[idx % 5];
        }
    }
    fn stain_text<const N: usize>(text: &mut Text<N>) {
        text._pad = STALE;
        stain(&mut text.bytes[text.len as usize..]);
    }
    fn stain_walk<const N: usize>(walk: &mut Walk<N>) {
        stain(&mut walk.bytes[walk.len as usize..]);
    }
    fn stain_header(header: &mut Header) {
        (header.process._pad, header.parent._pad) = (STALE, STALE);
        let used = header.comm().len();
        // A name is closed by one NUL; what follows is of whoever had the field before.
        if let Some(rest) = header.comm.get_mut(used + 1..) {
            stain(rest);
        }
    }
    match decode(bytes).expect("a record") {
        Record::Exec(mut exec, _) => {
            stain_header(&mut exec.header);
            stain_text(&mut exec.filename);
            stain_text(&mut exec.interp);
            stain_walk(&mut exec.exe);
            stain_walk(&mut exec.cwd);
            stain_walk(&mut exec.cgroup);
            let mut capture = bytes[size_of::<Exec>()..].to_vec();
            stain(&mut capture[exec.captured as usize..]);
            [bytes_of(&*exec), capture].concat()
        }
        Record::Brief(mut brief) => {
            stain_header(&mut brief.header);
            bytes_of(&brief)
        }
        Record::Fork(mut fork) => {
            stain_header(&mut fork.header);
            (fork.caller._pad, fork._pad) = (STALE, STALE);
            bytes_of(&fork)
        }
        Record::Exit(mut exit) => {
            stain_header(&mut exit.header);
            exit._pad = STALE;
            bytes_of(&exit)
        }
        Record::File(mut file) => {
            stain_header(&mut file.header);
            file._pad = STALE;
            stain_walk(&mut file.path);
            stain_walk(&mut file.old_path);
            bytes_of(&*file)
        }
        Record::Exchange(mut exchange) => {
            stain_header(&mut exchange.header);
            exchange._pad = STALE;
            let (line, key) = (exchange.line().len(), exchange.key().len());
            stain(&mut exchange.line[line..]);
            stain(&mut exchange.key[key..]);
            bytes_of(&*exchange)
        }
        Record::Connect(mut connect) | Record::Result(mut connect) | Record::Accept(mut connect) => {
            stain_header(&mut connect.header);
            connect.family = 2;
            stain(&mut connect.source[4..]);
            stain(&mut connect.destination[4..]);
            bytes_of(&connect)
        }
    }
}

#[test]
fn a_recording_holds_nothing_that_lay_in_the_ring_before() {
    let records: Vec<Vec<u8>> = build::records().iter().map(|record| in_used_room(record)).collect();
    let kinds: std::collections::HashSet<u8> = records.iter().map(|record| record[0]).collect();
    assert_eq!(kinds.len(), 5, "a record of every kind");
    assert!(records.iter().all(|record| record.windows(4).any(|window| window == b"hush")));
    let (events, raw) = recorded(None, &records);
    for stale in [&b"hush"[..], b"\xaa"] {
        assert!(!raw.windows(stale.len()).any(|window| window == stale));
    }
    assert_eq!(replay(&raw).expect("a recording"), events);
}

#[test]
fn a_recording_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let (events, raw) = (dir.path().join("host.ndjson"), dir.path().join("ring.bin"));
    let env = EnvAllow::default();
    let what = Recording { events: &events, raw: Some(&raw), length: None, tree: None };
    Recorder::new(preamble(None), env.clone(), Live::new(Path::new("/"), env), &what).expect("created");
    for path in [events, raw] {
        assert_eq!(std::fs::metadata(path).expect("exists").permissions().mode() & 0o077, 0);
    }
}

#[test]
fn a_recording_holds_no_secret() {
    let records = [build::records(), vec![build::telltale()]].concat();
    let (events, raw) = recorded(None, &records);
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert_eq!(records.iter().filter(|record| holds(record, "hush")).count(), 3);
    assert!(!holds(&raw, "hush") && !holds(&events, "hush"));
    assert!(holds(&events, "AWS_SECRET_ACCESS_KEY=*** aws s3 ls"));
    assert_eq!(replay(&raw).expect("a recording"), events);
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

proptest::proptest! {
    #[test]
    fn junk_is_scrubbed_without_a_panic(kind in 0_u8..10, mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..6000)) {
        if let Some(head) = bytes.get_mut(..4) {
            head.copy_from_slice(&[kind, 0, 0, 0]);
        }
        let clean = scrub::without_secrets(&bytes, &EnvAllow::default());
        proptest::prop_assert_eq!(clean.is_some(), decode(&bytes).is_ok());
        proptest::prop_assert!(clean.is_none_or(|clean| decode(&clean).is_ok()));
    }
}
