//! A sensor that is stuck where no signal reaches it still ends at the second one. Needs no root: it hangs before it
//! touches the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SIGTERM_MASK: u64 = 1 << 14;
const LONG: Duration = Duration::from_secs(10);

fn kill(child: &Child) {
    Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status().unwrap();
}

/// Whether the process catches SIGTERM by now.
fn is_listening(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & SIGTERM_MASK != 0
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "it did not come to that");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_second_signal_ends_a_sensor_that_is_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Nobody opens the other end: the sensor waits in open(2).
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail-sensor"))
        .args(["run", "--file"])
        .arg(&fifo)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| is_listening(&child).then_some(()));
    kill(&child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "the first signal only asks");
    let ended: ExitStatus = until(|| {
        kill(&child);
        child.try_wait().unwrap()
    });
    assert_eq!(ended.code(), Some(1));
}
