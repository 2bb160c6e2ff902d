//! What goes wrong around the sensor: it says so in its stream and goes on.

use super::*;

#[test]
fn a_reader_that_stalls_costs_events_that_are_counted_and_no_more() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = config(64 << 10);
    let mut command = sensor();
    command.args(["run", "--stdout", "--config"]).arg(config.path()).stdout(Stdio::piped());
    let mut program = Program(command.spawn().expect("the sensor starts"));
    let mut lines = BufReader::new(program.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.next().expect("a line").contains("groundtrail_health"));
    // What waits for the reader is bounded at 8 MiB, and the ring at 64 KiB: this is more.
    let flood = "i=0; while [ $i -lt 1500 ]; do /bin/true $PAD; i=$((i+1)); done";
    let flooded = Command::new("sh").args(["-c", flood]).env("PAD", "z".repeat(30_000)).status();
    assert!(flooded.expect("it runs").success());
    thread::sleep(Duration::from_secs(2));
    let parse = |line: String| serde_json::from_str(&line).expect("whole lines only");
    let reader = thread::spawn(move || lines.map(parse).collect::<Vec<Value>>());
    thread::sleep(Duration::from_secs(2));
    assert!(Command::new("/bin/true").arg("gt-after-stall").status().expect("it runs").success());
    thread::sleep(Duration::from_millis(500));
    terminate(&program.0);
    assert!(program.0.wait().expect("a child").success());
    let events = reader.join().expect("the reader ends");
    assert_eq!(execs(&events, "gt-after-stall").len(), 1);
    let losses: Vec<&Value> = events.iter().filter(|event| is(event, "groundtrail_loss")).collect();
    let told: u64 = losses.iter().filter_map(|loss| loss["groundtrail"]["loss"]["count"].as_u64()).sum();
    let n_lost = adds_up(events.last().expect("a farewell"));
    assert!(n_lost > 0 && told == n_lost, "{told} told of {n_lost} lost");
    for loss in losses {
        let loss = &loss["groundtrail"]["loss"];
        assert!(["ring_full", "cgroup_share"].contains(&loss["cause"].as_str().expect("a cause")), "{loss}");
        assert!(loss["start"].as_str() <= loss["end"].as_str(), "{loss}");
    }
}

#[test]
fn without_proc_the_sensor_says_so_and_goes_on() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = config(8 << 20);
    // In a mount namespace of its own, where /proc goes away once the sensor runs.
    let script = "exec 3<&0 0</dev/null; (read _ <&3; umount -l /proc) & exec 3<&-; exec \"$@\"";
    let run = sensor();
    let mut program = Command::new("unshare");
    program.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(run.get_program());
    program.args(["run", "--stdout", "--config"]).arg(config.path());
    let mut program =
        Program(program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"));
    let mut lines = BufReader::new(program.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let first: Value = serde_json::from_str(&lines.next().expect("a line")).expect("JSON");
    let lacks_proc = |report: &Value| {
        let coverage = report["groundtrail"]["sensor"]["coverage"].as_array().expect("a list");
        coverage.iter().any(|line| line["feature"] == "repair from /proc" && line["state"] == "not_covered")
    };
    assert!(!lacks_proc(&first));
    program.0.stdin.take().expect("piped").write_all(b"go\n").expect("written");
    thread::sleep(Duration::from_millis(500));
    assert!(Command::new("/bin/true").arg("gt-no-proc").status().expect("it runs").success());
    thread::sleep(Duration::from_millis(200));
    terminate(&program.0);
    let events: Vec<Value> = lines.map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    assert!(program.0.wait().expect("a child").success());
    let exec = execs(&events, "gt-no-proc")[0];
    assert_eq!(exec["process"]["parent"]["pid"], std::process::id());
    assert!(lacks_proc(events.last().expect("a farewell")));
}
