//! Bursts and storms. The short forms run with the other tests; the long ones by name, against the release binary:
//! `GROUNDTRAIL_SENSOR=target/release/groundtrail-sensor cargo test -p sensor --features live-kernel --test live_kernel -- --ignored`.

use super::*;

/// `/bin/true` so many times, four at a time.
fn burst(n_execs: usize) {
    let script = format!("i=0; while [ $i -lt {} ]; do /bin/true gt-burst; i=$((i+1)); done", n_execs / 4);
    let shells: Vec<Child> =
        (0..4).map(|_| Command::new("sh").arg("-c").arg(&script).spawn().expect("a shell starts")).collect();
    for mut shell in shells {
        assert!(shell.wait().expect("a child").success());
    }
}

/// A burst at the default ring: nothing lost. The reader looks at bytes alone: one that parses each event in a debug build
/// would be the slow part, and what it is slow at would be lost.
fn check_burst(n_execs: usize) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = config(8 << 20);
    let mut command = sensor();
    command.args(["run", "--stdout", "--config"]).arg(config.path()).stdout(Stdio::piped());
    command.arg("--status-socket").arg(status_socket());
    let mut program = Program(command.spawn().expect("the sensor starts"));
    let mut reader = BufReader::with_capacity(1 << 20, program.0.stdout.take().expect("piped"));
    let mut first = Vec::new();
    reader.read_until(b'\n', &mut first).expect("readable");
    let counting = thread::spawn(move || {
        let (mut line, mut last, mut n_whole, mut n_told) = (Vec::new(), Vec::new(), 0, 0);
        while reader.read_until(b'\n', &mut line).expect("readable") > 0 {
            // An event's own action and name stand near its front, before those of its ancestors.
            let front = String::from_utf8_lossy(&line[..line.len().min(2048)]);
            if front.contains("\"action\":\"exec\"") && front.contains("\"name\":\"true\"") {
                n_told += 1;
                n_whole += usize::from(front.contains("[\"/bin/true\",\"gt-burst\"]"));
            }
            std::mem::swap(&mut line, &mut last);
            line.clear();
        }
        (n_whole, n_told, last)
    });
    burst(n_execs);
    terminate(&program.0);
    assert!(program.0.wait().expect("a child").success());
    let (n_whole, n_told, last) = counting.join().expect("the reader ends");
    println!("{n_execs} execs, {n_told} told, {n_whole} of them whole");
    assert_eq!(adds_up(&serde_json::from_slice(&last).expect("a farewell")), 0);
    assert!(n_told >= n_execs);
}

#[test]
fn two_thousand_execs_lose_nothing_at_the_default_ring() {
    check_burst(2_000);
}

#[test]
#[ignore = "minutes"]
fn a_hundred_thousand_execs_lose_nothing_at_the_default_ring() {
    check_burst(100_000);
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Waves of execs until there were enough of them: what the sensor holds after each, in kB. Events go to a file that is
/// thrown away, as nobody could hold them.
fn check_storm(per_wave: usize, is_enough: impl Fn(usize) -> bool) -> Vec<u64> {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = config(8 << 20);
    let mut command = sensor();
    command.args(["run", "--file", "/dev/null", "--config"]).arg(config.path());
    let program = Program(command.spawn().expect("the sensor starts"));
    thread::sleep(Duration::from_secs(2));
    let started = resident_kb(program.0.id());
    let mut sizes = Vec::new();
    while !is_enough(sizes.len()) {
        burst(per_wave);
        thread::sleep(Duration::from_millis(300));
        sizes.push(resident_kb(program.0.id()));
    }
    println!("{started} kB at the start, then {sizes:?}");
    // The dead of the last minute are remembered, and lines wait for their writer.
    let most = started + (12 << 10);
    assert!(sizes.iter().all(|size| *size < most), "{started} kB at the start, then {sizes:?}");
    sizes
}

#[test]
fn memory_is_bounded_in_a_short_storm() {
    check_storm(500, |n_waves| n_waves == 8);
}

#[test]
#[ignore = "as many minutes as GROUNDTRAIL_SOAK_MINUTES says; `cargo xtask soak sensor` runs it"]
fn memory_is_flat_in_a_long_storm() {
    let minutes = std::env::var("GROUNDTRAIL_SOAK_MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let end = Instant::now() + Duration::from_secs(60 * minutes.unwrap_or(60));
    let sizes = check_storm(5_000, |_| Instant::now() >= end);
    // What grows with time shows in the second half, which did what the first did.
    let (first, second) = sizes.split_at(sizes.len() / 2);
    let highest = |half: &[u64]| half.iter().copied().max().unwrap_or(0);
    assert!(highest(second) <= highest(first) + (2 << 10), "{sizes:?}");
}
