//! Programs that are executed, and ends of processes, against `/proc` and what the test did itself.

use super::*;

#[test]
fn an_exec_is_told_as_proc_tells_it() {
    let _turn = turn();
    let mut kernel = load();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/true");
    command.args(["", "a b", "\u{fc}", ""]).env_clear().env("KEY", "value").current_dir(folder.path());
    let (tgid, status, records) = watch(&mut kernel, command.spawn().unwrap());
    assert!(status.success());

    let (exec, capture) = records.exec(tgid);
    let (args, env) = exec.split(capture);
    assert_eq!(args, "/bin/true\0\0a b\0\u{fc}\0\0".as_bytes());
    assert_eq!(env, b"KEY=value\0");
    assert_eq!((exec.args_len as usize, exec.env_len as usize), (args.len(), env.len()));
    assert_eq!(exec.filename.as_bytes(), b"/bin/true");
    let exe = fs::canonicalize("/bin/true").unwrap();
    assert_eq!(path(&exec.exe), exe);
    let inode = fs::metadata(&exe).unwrap();
    assert_eq!((exec.exe_inode, u64::from(exec.exe_nlink)), (inode.ino(), inode.nlink()));
    assert_eq!(exec.exe_mode, inode.mode());
    assert_eq!(exec.exe_device(), (libc::major(inode.dev()), libc::minor(inode.dev())));
    assert_eq!(path(&exec.cwd), fs::canonicalize(folder.path()).unwrap());
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
    if let Some(own) = cgroups.lines().find_map(|line| line.strip_prefix("0::")) {
        assert_eq!(path(&exec.cgroup), Path::new(own));
    }

    let header = &exec.header;
    assert_eq!(header.flags, 0);
    assert_eq!((header.tid, header.comm()), (tgid, &b"true"[..]));
    check_is_this_process(header.parent);
    assert!(header.boot_ns > header.process.start_boot_ns);
    assert_eq!(header.pid_ns, own_namespace("pid"));
    assert_eq!(header.mnt_ns, own_namespace("mnt"));
    assert_eq!(header.net_ns, own_namespace("net"));
    assert_eq!((header.loginuid, header.sessionid), (own_id("loginuid"), own_id("sessionid")));
    // SAFETY: take and return numbers.
    let (uid, gid, sid, pgid) =
        unsafe { (libc::getuid(), libc::getgid(), libc::getsid(0) as u32, libc::getpgrp() as u32) };
    assert_eq!([header.uid, header.euid, header.suid], [uid; 3]);
    assert_eq!([header.gid, header.egid, header.sgid], [gid; 3]);
    assert_eq!((header.sid, header.pgid), (sid, pgid));
    let held = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = |name: &str| {
        let line = held.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // Root's programs get what may be got, which root has.
    assert_eq!(exec.cap_permitted, capabilities("CapBnd:"));
    assert_eq!(exec.cap_effective, capabilities("CapEff:"));

    let forks = records.of::<Fork>(kind::FORK, tgid);
    let [(fork, _)] = forks[..] else { panic!("{} forks", forks.len()) };
    assert_eq!((fork.header.process, fork.header.parent), (header.process, header.parent));
    check_is_this_process(fork.caller);
    let (exit, _) = records.of::<Exit>(kind::EXIT, tgid)[0];
    assert_eq!(exit.header.process, header.process);
    assert_eq!((exit.code(), exit.signal()), (Some(0), None));
}

#[test]
fn thirty_two_kibibytes_of_arguments_survive_whole() {
    let _turn = turn();
    let mut kernel = load();
    let long: Vec<String> = (0..32).map(|n| format!("{n:02}{}", "x".repeat(1010))).collect();
    let (tgid, _, records) = watch(&mut kernel, Command::new("/bin/true").args(&long).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    let expect = format!("/bin/true\0{}\0", long.join("\0"));
    assert_eq!(exec.split(capture).0, expect.as_bytes());
    assert_eq!(exec.header.flags & (flag::ARGS_FAULT | flag::ARGS_TRUNCATED), 0);
    assert_eq!(exec.gaps, 0);

    let huge = "y".repeat(100_000);
    let (tgid, _, records) = watch(&mut kernel, Command::new("/bin/true").arg(&huge).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    assert_ne!(exec.header.flags & flag::ARGS_TRUNCATED, 0);
    assert_eq!(exec.args_len as usize, "/bin/true".len() + 1 + huge.len() + 1);
    assert_eq!(exec.split(capture).0.len(), capture.len());
}

#[test]
fn ends_are_told_apart() {
    let _turn = turn();
    let mut kernel = load();
    let (tgid, status, records) =
        watch(&mut kernel, Command::new("/bin/sh").args(["-c", "kill -9 $$"]).spawn().unwrap());
    assert_eq!(status.signal(), Some(9));
    assert_eq!(records.of::<Exit>(kind::EXIT, tgid)[0].0.signal(), Some(9));

    let (tgid, _, records) =
        watch(&mut kernel, Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap());
    assert_eq!(records.of::<Exit>(kind::EXIT, tgid)[0].0.code(), Some(7));
}

#[test]
fn scripts_and_programs_in_memory_are_marked() {
    let _turn = turn();
    let mut kernel = load();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tool");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let (tgid, _, records) = watch(&mut kernel, Command::new(&script).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    assert_eq!(exec.header.flags & flag::SCRIPT, flag::SCRIPT);
    assert_eq!(exec.filename.as_bytes(), script.as_os_str().as_bytes());
    assert_eq!(exec.interp.as_bytes(), b"/bin/sh");
    assert_eq!(path(&exec.exe), fs::canonicalize("/bin/sh").unwrap());
    assert!(exec.split(capture).0.starts_with(b"/bin/sh\0"));

    // SAFETY: a valid name, and no flags that need more.
    let fd = unsafe { libc::memfd_create(c"hidden".as_ptr(), 0) };
    assert!(fd >= 0);
    // SAFETY: just made, and owned here.
    let mut file = unsafe { fs::File::from_raw_fd(fd) };
    file.write_all(&fs::read("/bin/true").unwrap()).unwrap();
    let (tgid, _, records) =
        watch(&mut kernel, Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).spawn().unwrap());
    let (exec, _) = records.exec(tgid);
    assert!(exec.is_memfd(), "{:?}", path(&exec.exe));
    assert_ne!(exec.header.flags & flag::EXE_DELETED, 0);
    assert_eq!(path(&exec.exe), Path::new("/memfd:hidden"));
}
