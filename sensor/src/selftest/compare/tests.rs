use sensor_ebpf::abi::exec::ExecRecord;
use sensor_ebpf::abi::header::kind;
use sensor_ebpf::abi::text::Text;

use super::*;
use crate::decode::tests::bytes_of;
use crate::selftest::{Groups, Report};

fn told() -> Told {
    Told {
        identity: Ok([(42, 7), (41, 3)]),
        pid: 42,
        ids: Ok([0, 0, 0, 5, 5, 5]),
        audit: Ok([1000, 3]),
        namespaces: Ok([11, 12, 13]),
        session: Ok([40, 41]),
        tty: Some((136, 1)),
        cgroup: Ok((Some(77), "/a/b".to_owned())),
        args: vec!["self-test-helper".to_owned(), String::new()],
        exe: Ok(("/usr/bin/x".to_owned(), 99)),
        cwd: Ok("/tmp".to_owned()),
        port: 9,
    }
}

fn walk<const N: usize>(names: &[u8], depth: u32) -> Walk<N> {
    let mut bytes = [0; N];
    bytes[..names.len()].copy_from_slice(names);
    Walk { len: names.len() as u32, depth, bytes }
}

fn exec() -> Exec {
    let key = |tgid, start_boot_ns| Key { tgid, start_boot_ns, _pad: 0 };
    let text = Text { len: 0, _pad: 0, bytes: [0; 512] };
    let header = Header {
        kind: kind::EXEC,
        size: 0,
        flags: 0,
        tid: 42,
        boot_ns: 80_000_000,
        process: key(42, 71_000_000),
        parent: key(41, 30_000_001),
        cgroup_id: 77,
        uid: 0,
        gid: 5,
        euid: 0,
        egid: 5,
        suid: 0,
        sgid: 5,
        loginuid: 1000,
        sessionid: 3,
        pid_ns: 11,
        mnt_ns: 12,
        net_ns: 13,
        ns_tgid: 42,
        sid: 40,
        pgid: 41,
        tty_major: 136,
        tty_minor: 1,
        comm: [0; 16],
    };
    Exec {
        header,
        exe_inode: 99,
        exe_dev: 0,
        exe_nlink: 1,
        exe_mode: 0,
        args_len: 21,
        env_len: 0,
        captured: 21,
        gaps: 0,
        cap_effective: 0,
        cap_permitted: 0,
        filename: text,
        interp: Text { len: 0, _pad: 0, bytes: [0; 256] },
        exe: walk(b"x\0bin\0usr\0", 3),
        cwd: walk(b"tmp\0", 1),
        cgroup: walk(b"b\0a\0", 2),
    }
}

fn report(change: impl FnOnce(&mut Exec), told: &Told) -> Report {
    let mut exec = exec();
    change(&mut exec);
    let mut capture = [0; 1024];
    capture[..21].copy_from_slice(b"/x\0self-test-helper\0\0");
    let seen = Seen { exec: Some(bytes_of(&ExecRecord { exec, capture }).into()), connect: None };
    Report { findings: compare(&seen, told), took: std::time::Duration::ZERO }
}

fn off(change: impl FnOnce(&mut Exec)) -> Groups {
    report(change, &told()).off()
}

#[test]
fn each_group_is_switched_off_by_its_own_fields_alone() {
    assert_eq!(off(|_| {}), Groups::default());
    let check = |group: Group, change: fn(&mut Exec)| {
        assert_eq!(off(change), Groups::from_iter([group]), "{group:?}");
    };
    check(Group::Identity, |exec| exec.header.process.start_boot_ns += 10_000_000);
    check(Group::Identity, |exec| exec.header.parent.tgid = 1);
    check(Group::Credentials, |exec| exec.header.suid = 5);
    check(Group::Audit, |exec| exec.header.sessionid = 4);
    check(Group::Namespaces, |exec| exec.header.mnt_ns = 13);
    check(Group::Session, |exec| exec.header.tty_minor = 2);
    check(Group::Session, |exec| exec.header.pgid = 42);
    check(Group::Cgroup, |exec| exec.header.cgroup_id = 78);
    check(Group::Cgroup, |exec| exec.cgroup = walk(b"c\0a\0", 2));
    check(Group::Arguments, |exec| exec.args_len = 20);
    check(Group::Executable, |exec| exec.exe_inode = 98);
    check(Group::Executable, |exec| exec.exe = walk(b"y\0bin\0usr\0", 3));
    check(Group::WorkingDirectory, |exec| exec.cwd = walk(b"", 0));
}

#[test]
fn what_cannot_be_compared_is_believed_and_said() {
    let elsewhere = Told { identity: Err("here"), ids: Err("here"), ..told() };
    let report = report(|exec| exec.header.uid = 7, &elsewhere);
    assert!(report.off().is_empty());
    let untested: Vec<Group> = report
        .findings
        .iter()
        .filter(|(_, finding)| matches!(finding, Finding::Untested(_)))
        .map(|(group, _)| *group)
        .collect();
    assert_eq!(untested, [Group::Identity, Group::Credentials, Group::Socket]);
    let nothing = compare(&Seen::default(), &told());
    assert!(nothing.iter().all(|(_, finding)| matches!(finding, Finding::Untested(_))));
}

#[test]
fn below_a_root_of_its_own_the_path_ends_as_proc_has_it() {
    assert!(off(|exec| exec.exe = walk(b"x\0bin\0usr\0chroot\0", 4)).is_empty());
    // A walk that ran out of room, and one that says nothing at all.
    let cut = |names: &'static [u8]| {
        off(move |exec| {
            exec.exe = walk(names, 1);
            exec.header.flags |= flag::EXE_TRUNCATED;
        })
    };
    assert!(cut(b"x\0").is_empty());
    assert!(!cut(b"y\0").is_empty());
}

#[test]
fn a_group_that_is_off_leaves_no_trace_in_a_record() {
    let bytes = bytes_of(&ExecRecord { exec: exec(), capture: [b'a'; 1024] });
    let mut record = decode::decode(&bytes).expect("an exec");
    Groups::from_iter(Group::ALL).blank(&mut record);
    let Record::Exec(exec, capture) = &record else { panic!("an exec") };
    assert!(capture.args(exec).strings.is_empty() && capture.env(exec).is_empty());
    assert_eq!((exec.exe.depth, exec.cwd.depth, exec.cgroup.depth, exec.exe_inode), (0, 0, 0, 0));
    let head = &exec.header;
    assert_eq!((head.parent, head.cgroup_id, head.tty_major, head.pid_ns), (Key::default(), 0, 0, 0));
    assert_eq!(head.loginuid, u32::MAX);
    assert_eq!(head.process.tgid, 42);
}
