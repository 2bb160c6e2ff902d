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

#[test]
fn a_full_disk_costs_what_comes_meanwhile_and_the_sensor_says_so() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let config = config(8 << 20);
    let folder = tempfile::tempdir().expect("a folder");
    // In a mount namespace of its own, on a disk that some hundred events fill.
    let script = "mount -t tmpfs -o size=400k tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(folder.path());
    command.arg(sensor().get_program()).args(["run", "--file"]).arg(folder.path().join("events"));
    command.arg("--config").arg(config.path()).stdin(Stdio::null());
    let mut program = Program(command.spawn().expect("it starts"));
    // What it has mounted is seen by way of it.
    let inside = format!("/proc/{}/root{}", program.0.id(), folder.path().join("events").display());
    let lines = || fs::read_to_string(&inside).unwrap_or_default();
    let begins = Instant::now();
    while !lines().contains("groundtrail_health") {
        assert!(begins.elapsed() < Duration::from_secs(20), "the sensor says nothing");
        thread::sleep(Duration::from_millis(50));
    }
    let flood = "i=0; while [ $i -lt 300 ]; do /bin/true gt-full; i=$((i+1)); done";
    assert!(Command::new("sh").args(["-c", flood]).status().expect("it runs").success());
    thread::sleep(Duration::from_millis(500));
    // Somebody makes room.
    let full = lines();
    fs::File::options().write(true).open(&inside).and_then(|file| file.set_len(0)).expect("cut");
    assert!(Command::new("/bin/true").arg("gt-after-full").status().expect("it runs").success());
    thread::sleep(Duration::from_millis(1500));
    let after = lines();
    terminate(&program.0);
    // It ends with the error that it met.
    assert!(!program.0.wait().expect("a child").success());
    let parse = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("whole lines only")).collect()
    };
    let (full, after) = (parse(&full), parse(&after));
    let n_told = execs(&full, "gt-full").len();
    assert!(n_told > 0 && n_told < 300, "{n_told} told of 300");
    assert_eq!(execs(&after, "gt-after-full").len(), 1);
    let losses = after.iter().filter(|event| is(event, "groundtrail_loss"));
    let n_lost: u64 = losses
        .filter(|loss| loss["groundtrail"]["loss"]["cause"] == "output_full")
        .filter_map(|loss| loss["groundtrail"]["loss"]["count"].as_u64())
        .sum();
    assert!(n_lost >= (300 - n_told) as u64, "{n_lost} told as lost");
}

/// `bpf(2)` with one number, as its commands about links take it.
fn bpf(command: libc::c_long, number: u32) -> libc::c_long {
    let attributes = [number, 0, 0, 0];
    // SAFETY: the kernel reads as many bytes as it is told there are.
    unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of_val(&attributes)) }
}

#[test]
fn a_hook_that_somebody_detaches_is_told_and_the_rest_goes_on() {
    const GET_FD_BY_ID: libc::c_long = 30;
    const DETACH: libc::c_long = 34;
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sensor = Sensor::start();
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", sensor.program.0.id())).expect("its descriptors");
    let texts = infos.flatten().filter_map(|info| fs::read_to_string(info.path()).ok());
    let id_of = |text: &str| -> Option<u32> {
        let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // BPF_CGROUP_INET4_CONNECT
        (number("attach_type:")? == "10").then(|| number("link_id:")?.parse().ok())?
    };
    let id = texts.filter_map(|text| id_of(&text)).next().expect("a link for connections of UDP");
    let fd = bpf(GET_FD_BY_ID, id);
    assert!(fd >= 0 && bpf(DETACH, fd as u32) == 0, "{}", std::io::Error::last_os_error());
    thread::sleep(Duration::from_millis(2500));
    assert!(Command::new("/bin/true").arg("gt-after-detaching").status().expect("it runs").success());
    let events = sensor.end();
    let lacks = |event: &&Value| {
        let coverage = event["groundtrail"]["sensor"]["coverage"].as_array();
        coverage.into_iter().flatten().any(|line| {
            line["state"] == "not_covered"
                && line["feature"] == "IPv4 peers of connected UDP sockets"
                && line["reason"].as_str().is_some_and(|reason| reason.contains("detached"))
        })
    };
    let running = events.iter().filter(|event| event["groundtrail"]["sensor"]["state"] == "running");
    assert_eq!(running.filter(lacks).count(), 1, "told once, and at once");
    assert_eq!(execs(&events, "gt-after-detaching").len(), 1);
    // SAFETY: opened above, and nobody else's.
    unsafe { libc::close(fd as i32) };
}
