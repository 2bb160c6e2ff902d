//! Who is whose child, against those who know: the processes themselves.

use super::*;

/// Tells a copy of this test binary what to be instead of testing.
const ROLE: &str = "GROUNDTRAIL_LIVE_ROLE";
const N_LIVES: usize = 10_000;
const N_DOUBLE: usize = 300;
const N_REUSED: usize = 100;
const N_WRAPPED: usize = 200;
/// The least that the kernel allows. Ids below 300 are not used again, so every new process is number 300.
const ONE_PID: u32 = 301;
/// As few as a shell with a child needs, and a thread of the kernel's now and then.
const FEW_PIDS: u32 = 304;

/// A copy of this test that plays a role; what it wrote, and its id.
fn play(role: &str) -> (u32, String) {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "identity::plays_its_role", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let pid = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    (pid, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Pairs of numbers that a role printed: `gt PARENT CHILD`.
fn truth(printed: &str) -> Vec<(u64, u64)> {
    let lines = printed.lines().filter_map(|line| line.split_once("gt ")?.1.split_once(' '));
    lines.map(|(parent, child)| (parent.parse().expect("a pid"), child.parse().expect("a pid"))).collect()
}

#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "lives" => lives(),
        "doubles" => doubles(),
        "reuse" => reuse(),
        "one_pid" => wrap(ONE_PID),
        "few_pids" => wrap(FEW_PIDS),
        other => panic!("{other}"),
    }
}

/// Forks; the child does what it is told, which may call nothing that allocates, and ends.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child makes system calls and ends.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

fn reap(pid: libc::pid_t) {
    // SAFETY: asks for no status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Children that do nothing at all and are gone within microseconds.
fn lives() {
    let own = std::process::id();
    let pids: Vec<libc::pid_t> = (0..N_LIVES)
        .map(|_| {
            let pid = fork(|| {});
            reap(pid);
            pid
        })
        .collect();
    for pid in pids {
        println!("gt {own} {pid}");
    }
}

/// Each child leaves a grandchild behind and ends; the grandchild, adopted by us as a subreaper, says who made it.
fn doubles() {
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    for _ in 0..N_DOUBLE {
        let middle = fork(|| {
            let maker = std::process::id();
            fork(|| {
                // SAFETY: takes and returns numbers.
                while unsafe { libc::getppid() } as u32 == maker {
                    thread::sleep(Duration::from_micros(100));
                }
                let mut word = [0_u8; 32];
                let text = format_into(&mut word, maker);
                let args = [c"/bin/true".as_ptr(), text, std::ptr::null()];
                // SAFETY: a path and arguments that are closed by NULs and a null.
                unsafe { libc::execv(args[0], args.as_ptr()) };
            });
        });
        reap(middle);
        reap(-1);
    }
}

/// `gt-made-by-N`, closed by a NUL, without an allocation.
fn format_into(word: &mut [u8; 32], number: u32) -> *const libc::c_char {
    let mut rest: &mut [u8] = word;
    write!(rest, "gt-made-by-{number}\0").expect("it fits");
    word.as_ptr().cast()
}

/// Children that get one pid again and again, by the kernel's own means of restoring processes.
fn reuse() {
    let last = "/proc/sys/kernel/ns_last_pid";
    let first = fork(|| {});
    reap(first);
    let mut n_same = 0;
    for nth in 0..N_REUSED {
        if fs::write(last, (first - 1).to_string()).is_err() {
            return;
        }
        let mut child = Command::new("/bin/true").arg(format!("gt-reused-{nth}")).spawn().expect("it runs");
        n_same += usize::from(child.id() as libc::pid_t == first);
        println!("gt {} {}", std::process::id(), child.id());
        child.wait().expect("a child");
    }
    println!("n_same={n_same}");
}

/// The pids of a whole machine come round with every few processes. Shells whose word is in their arguments, each with a child
/// that has it too, where there is more than one id to be had.
fn wrap(pid_max: u32) {
    const LIMIT: &str = "/proc/sys/kernel/pid_max";
    let before = fs::read_to_string(LIMIT).expect("readable");
    let script = if pid_max > ONE_PID { "/bin/true gt-leaf $0; exit 0" } else { "exit 0" };
    // The cursor has to be behind the reserved ids, or they are given out first.
    while std::process::id() < 300 && fork_id() < 300 {}
    fs::write(LIMIT, pid_max.to_string()).expect("root may");
    let mut n_done = 0;
    let mut n_refused = 0;
    while n_done < N_WRAPPED && n_refused < 10_000 {
        let shell = Command::new("/bin/sh").args(["-c", script, &format!("gt-mid-{n_done}")]).status();
        // Whoever else has an id has it for a moment. Then the shell, or its child, could not be made.
        if shell.is_ok_and(|status| status.success()) {
            n_done += 1;
        } else {
            n_refused += 1;
            thread::sleep(Duration::from_millis(1));
        }
    }
    fs::write(LIMIT, before.trim()).expect("root may");
    assert_eq!(n_done, N_WRAPPED, "{n_refused} refused");
}

/// The id of a process that is gone again.
fn fork_id() -> u32 {
    let pid = fork(|| {});
    reap(pid);
    pid as u32
}

#[test]
fn where_every_pid_is_used_again_at_once_nobody_has_a_wrong_parent() {
    if std::env::var_os("GROUNDTRAIL_EMULATED").is_none() {
        println!("skipped: the number of pids is the whole machine's");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for role in ["one_pid", "few_pids"] {
        let sensor = Sensor::start();
        let (maker, _) = play(role);
        let events = sensor.end();
        adds_up(events.last().expect("a farewell"));
        let is_shell =
            |event: &&Value| is(event, "exec") && text(event, "/process/args/3").starts_with("gt-mid-");
        let shells: Vec<&Value> = events.iter().filter(is_shell).collect();
        // A shell that found no id for its child ran once more.
        assert!(shells.len() >= N_WRAPPED, "{role}: {}", shells.len());
        let mut of_word: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut entities = std::collections::HashSet::new();
        for shell in &shells {
            assert_eq!(shell["process"]["parent"]["pid"], maker, "{shell:#}");
            let entity = text(shell, "/process/entity_id");
            assert!(entities.insert(entity), "{role}: two shells are one process: {shell:#}");
            of_word.entry(text(shell, "/process/args/3")).or_default().push(entity);
        }
        let pids: std::collections::HashSet<u64> =
            shells.iter().filter_map(|shell| shell["process"]["pid"].as_u64()).collect();
        assert!(pids.len() < 10, "{role}: the pids did not come round: {pids:?}");
        let leaves = execs(&events, "gt-leaf");
        for leaf in &leaves {
            let makers = &of_word[text(leaf, "/process/args/2")];
            assert!(makers.contains(&text(leaf, "/process/parent/entity_id")), "{role}: {leaf:#}");
        }
        assert!(role == "one_pid" || leaves.len() >= N_WRAPPED, "{role}: {} leaves", leaves.len());
    }
}

#[test]
fn ten_thousand_lives_shorter_than_a_millisecond_have_their_parent() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sensor = Sensor::start();
    let (_, printed) = play("lives");
    let events = sensor.end();
    let truth = truth(&printed);
    assert_eq!(truth.len(), N_LIVES);
    let mut of_child: HashMap<u64, Vec<&Value>> = HashMap::new();
    for event in events.iter().filter(|event| is(event, "fork")) {
        of_child.entry(event["process"]["pid"].as_u64().expect("a pid")).or_default().push(event);
    }
    let mut entities = std::collections::HashSet::new();
    for (parent, child) in truth {
        // A pid can come round in a burst: one of its forks is the one.
        let forks = &of_child[&child];
        let fork = forks.iter().find(|fork| fork["process"]["parent"]["pid"] == parent);
        entities
            .insert(text(fork.unwrap_or_else(|| panic!("{child} of {parent}")), "/process/parent/entity_id"));
    }
    assert_eq!(entities.len(), 1, "they are of one parent");
    adds_up(events.last().expect("a farewell"));
}

#[test]
fn orphans_keep_the_parent_that_made_them() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sensor = Sensor::start();
    let (reaper, _) = play("doubles");
    let events = sensor.end();
    let orphans = execs(&events, "gt-made-by-");
    assert_eq!(orphans.len(), N_DOUBLE);
    for orphan in orphans {
        let maker: u64 = text(orphan, "/process/args/1")["gt-made-by-".len()..].parse().expect("a pid");
        assert_eq!(orphan["process"]["parent"]["pid"], maker, "{orphan:#}");
        let grandparent = orphan.pointer("/groundtrail/process/ancestors/1/pid");
        assert_eq!(grandparent.and_then(Value::as_u64), Some(reaper.into()));
    }
}

#[test]
fn a_pid_that_comes_round_is_another_process_each_time() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sensor = Sensor::start();
    let (role, printed) = play("reuse");
    let events = sensor.end();
    let children = execs(&events, "gt-reused-");
    if children.is_empty() {
        skip::say("this kernel does not let a pid be chosen (CONFIG_CHECKPOINT_RESTORE)");
        return;
    }
    assert_eq!(children.len(), N_REUSED);
    assert!(!printed.contains("n_same=0"), "no pid came round: {printed}");
    let entities: std::collections::HashSet<&str> =
        children.iter().map(|child| text(child, "/process/entity_id")).collect();
    assert_eq!(entities.len(), N_REUSED);
    for child in children {
        assert_eq!(child["process"]["parent"]["pid"], role, "{child:#}");
        let ends = events.iter().filter(|event| {
            is(event, "end") && event["process"]["entity_id"] == child["process"]["entity_id"]
        });
        assert_eq!(ends.count(), 1);
    }
}
