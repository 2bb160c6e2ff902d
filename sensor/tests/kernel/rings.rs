//! Rings that fill up: what is counted, who is cut short, and what wakes the reader.

use super::*;

/// Everything in the rings by kind, and the counters, once the programs are let go of: nothing is under way then.
fn at_rest(kernel: &mut Kernel) -> (Vec<Header>, Losses) {
    kernel.detach();
    let mut headers = Vec::new();
    kernel.drain(usize::MAX, |bytes| headers.push(read::<Header>(bytes)));
    let losses = kernel.losses().unwrap();
    assert!(losses.is_balanced(), "{losses:?}");
    for ((name, tally), kind) in losses.by_kind().into_iter().zip([
        kind::EXEC,
        kind::FORK,
        kind::EXIT,
        kind::CONNECT,
        kind::RESULT,
        kind::ACCEPT,
        kind::FILE,
        kind::EXCHANGE,
    ]) {
        let n_read = headers.iter().filter(|header| header.kind == kind).count();
        assert_eq!(n_read as u64, tally.submitted, "{name}: {tally:?}");
    }
    (headers, losses)
}

#[test]
fn every_event_is_accounted_for() {
    let _turn = turn();
    // A ring that is not read and holds a tenth of what comes: what does not fit must be counted. It has room for what else
    // happens on this machine meanwhile; a smaller one that others have filled leaves headers alone.
    let mut kernel = load_with(&LoadOptions { ring_bytes: (1 << 20) / smaller(), ..plain() });
    let big = "z".repeat(30_000);
    let mut flood = Vec::new();
    let n_execs = 800 / smaller();
    for _ in 0..n_execs {
        let mut child = Command::new("/bin/true").arg(&big).spawn().unwrap();
        flood.push(child.id());
        assert!(child.wait().unwrap().success());
    }
    let (headers, losses) = at_rest(&mut kernel);
    assert!(losses.exec.seen >= n_execs.into());
    for (name, tally) in losses.by_kind() {
        assert_eq!(tally.unreadable, 0, "{name}");
    }
    // Shorter before headers, headers before nothing. Not compared: other processes' headers are counted too.
    let n_short = losses.exec.degraded - losses.exec.header_only;
    assert!(n_short > 0 && losses.exec.header_only > 0, "{losses:?}");
    assert!(losses.lost() > 0, "{losses:?}");
    let lost = losses.by_kind().into_iter().map(|(_, tally)| tally).filter(|tally| tally.lost() > 0);
    assert!(
        lost.clone().all(|tally| tally.first_lost_ns > 0 && tally.first_lost_ns <= tally.last_lost_ns),
        "{losses:?}"
    );
    let forked = headers.iter().filter(|header| header.kind == kind::FORK).map(|header| header.process.tgid);
    let forked: Vec<u32> = forked.filter(|tgid| flood.contains(tgid)).collect();
    let n_forked = forked.len();
    assert!(
        n_forked > n_execs as usize / 8,
        "{n_forked} of the flood's forks, where few execs fill the ring"
    );
}

/// A cgroup of the test's own; gone with the last process in it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let place = mounts.lines().find_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            rest.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?
        });
        let path = Path::new(place.unwrap()).join(format!("groundtrail-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs a script in it, with `PAD` to pass as an argument.
    fn run(&self, script: &str) {
        let script = format!("echo $$ > {}/cgroup.procs && {script}", self.0.display());
        let status = Command::new("/bin/sh").args(["-c", &script]).env("PAD", "z".repeat(30_000)).status();
        assert!(status.unwrap().success());
    }

    /// Inode of its directory, which is what the kernel calls it by.
    fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_flood_in_one_cgroup_costs_another_nothing() {
    let _turn = turn();
    let (flooding, quiet) = (Cgroup::new("flooding"), Cgroup::new("quiet"));
    // Nobody reads while the flood goes on.
    let mut kernel = load_with(&LoadOptions { ring_bytes: (2 << 20) / smaller(), ..plain() });
    let n_execs = 1500 / smaller();
    flooding.run(&format!("i=0; while [ $i -lt {n_execs} ]; do /bin/true $PAD; i=$((i+1)); done"));
    // An eighth of the ring is kept for others; these fit into a smaller one too.
    let n_quiet = if smaller() == 1 { 10 } else { 4 };
    quiet.run(&format!("i=0; while [ $i -lt {n_quiet} ]; do /bin/true gt-quiet; i=$((i+1)); done"));
    kernel.detach();
    let mut told = Vec::new();
    let mut flood_is_header_only = 0;
    kernel.drain(usize::MAX, |bytes| {
        let header: Header = read(bytes);
        if header.kind == kind::EXEC && header.cgroup_id == quiet.id() && header.comm() == b"true" {
            assert_eq!(header.flags & flag::HEADER_ONLY, 0, "the quiet one is told whole");
            let exec: Exec = read(bytes);
            told.push(exec.split(&bytes[size_of::<Exec>()..]).0.to_vec());
        }
        flood_is_header_only +=
            u64::from(header.cgroup_id == flooding.id() && header.flags & flag::HEADER_ONLY != 0);
    });
    assert_eq!(told, vec![b"/bin/true\0gt-quiet\0".to_vec(); n_quiet]);
    assert!(flood_is_header_only > 0);
    let losses = kernel.losses().unwrap();
    assert!(losses.is_balanced(), "{losses:?}");
    let shares = kernel.shares().unwrap();
    assert!(shares.iter().all(|(cgroup, _)| *cgroup != quiet.id()), "{shares:?}");
    let (_, share) = shares.iter().find(|(cgroup, _)| *cgroup == flooding.id()).expect("the flood was shed");
    let shed: u64 = share.shed.iter().sum();
    assert!(shed > 0 && shed <= losses.by_kind().iter().map(|(_, tally)| tally.shed).sum(), "{share:?}");
    assert!(share.first_shed_ns > 0 && share.first_shed_ns <= share.last_shed_ns);
}

/// How long the reader sleeps that nothing wakes.
const ASLEEP: Duration = Duration::from_secs(20);

/// Sleeps on a ring of this size while `work` is under way; how long, and what the ring held then.
fn sleep_until_woken(ring_bytes: u32, work: impl FnOnce() + Send + 'static) -> (Duration, Records) {
    let mut kernel = load_with(&LoadOptions { ring_bytes, ..plain() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        kernel.wait(Duration::from_millis(1)).await.unwrap();
        kernel.drain(usize::MAX, |_| {});
        let start = Instant::now();
        let work = std::thread::spawn(work);
        kernel.wait(ASLEEP).await.unwrap();
        let slept = start.elapsed();
        let mut records = Records { bytes: Vec::new() };
        kernel.drain(usize::MAX, |bytes| records.bytes.push(bytes.to_vec()));
        work.join().unwrap();
        (slept, records)
    })
}

#[test]
fn filling_rings_wake_the_reader() {
    let _turn = turn();
    let (slept, _) = sleep_until_woken(64 << 10, || {
        let big = "z".repeat(30_000);
        assert!(Command::new("/bin/true").arg(&big).status().unwrap().success());
    });
    assert!(slept < ASLEEP * 3 / 4, "{slept:?}");
}

#[test]
fn a_word_with_the_metadata_service_wakes_the_reader() {
    let _turn = turn();
    let furnished = format!(
        "ip link set lo up && ip address add {METADATA_SERVICE}/32 dev lo && exec \"$0\" --exact plays_its_role --quiet"
    );
    let role = format!("metadata {}", closed_port());
    // So large that what else happens here does not fill it.
    let (slept, records) = sleep_until_woken(64 << 20, move || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "sh", "-c", &furnished]).arg(std::env::current_exe().unwrap());
        assert!(command.env(ROLE, role).stdout(std::process::Stdio::null()).status().unwrap().success());
    });
    assert!(slept < ASLEEP * 3 / 4, "{slept:?}");
    let has_told = records.bytes.iter().any(|bytes| {
        let header: Header = read(bytes);
        header.kind == kind::CONNECT
            && header.flags & flag::METADATA_SERVICE != 0
            && read::<Connect>(bytes).destination[..4] == METADATA_SERVICE.octets()
    });
    assert!(has_told, "the reader woke for something else");
}
