//! From sensors to the correlator: the spool alone, and a fleet over mutual TLS into a correlator with its store and all rules.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::report::{Table, grouped};
use crate::bench::{Report, measurements};
use crate::shell::{self, Failure};

const SENSORS: u32 = 2000;
/// Of each, a second.
const RATE: u32 = 50;
const SECONDS: u32 = 20;

pub(super) fn measure(report: &mut Report) -> Result<(), Failure> {
    report.add(spool()?);
    report.add(fleet()?);
    Ok(())
}

fn number(one: &Value, key: &str) -> f64 {
    one[key].as_f64().unwrap_or(f64::NAN)
}

fn spool() -> Result<Table, Failure> {
    let headings = ["events per batch", "events/s", "bytes per event", "packed"];
    let mut table = Table::new("The sensor's spool: packed, and on the disk itself", &headings);
    for one in measurements("sensor", "spool", &[])? {
        table.row([
            one["per_batch"].to_string(),
            grouped(number(&one, "events_per_s")),
            one["bytes_per_event"].to_string(),
            one["packed_bytes_per_event"].to_string(),
        ]);
    }
    table.note("recorded exec events; one thread; each batch a transaction that is written through");
    Ok(table)
}

fn fleet() -> Result<Table, Failure> {
    shell::say("building the correlator and the fleet, for release");
    shell::succeed(&mut shell::cargo(&[
        "build",
        "--quiet",
        "--release",
        "--package",
        "correlator",
        "--package",
        "tests",
        "--bins",
    ]))?;
    let built = |name: &str| shell::target().join("release").join(name);
    let dir = shell::target().join("bench-fleet");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    let ca = dir.join("ca");
    let command = |name: &str| Command::new(built(name));
    shell::succeed(command("groundtrail").args(["ca", "init", "--dir"]).arg(&ca))?;
    let tls = dir.join("tls");
    let issue = ["ca", "issue", "--server", "127.0.0.1", "--dir"];
    shell::succeed(command("groundtrail").args(issue).arg(&ca).arg("--out").arg(&tls))?;
    let config = format!(
        "[store]\npath = \"store.db\"\n[[source]]\ntype = \"sensors\"\nlisten = \"127.0.0.1:0\"\ncertificate = \"{0}/127.0.0.1.pem\"\n\
         key = \"{0}/127.0.0.1.key\"\nca = \"{1}/ca.pem\"\n",
        tls.display(),
        ca.display()
    );
    fs::write(dir.join("groundtrail.toml"), config)?;
    let told = dir.join("told");
    let mut run = command("groundtrail")
        .arg("--config")
        .arg(dir.join("groundtrail.toml"))
        .args(["run", "--output", "ndjson"])
        .stdin(Stdio::null())
        .stdout(File::create(dir.join("alerts"))?)
        .stderr(File::create(&told)?)
        .spawn()?;
    let measured = port(&told).and_then(|port| {
        let mut fleet = command("groundtrail-feeder");
        fleet
            .args(["fleet", "--to", &format!("https://127.0.0.1:{port}"), "--ca"])
            .arg(&ca)
            .arg("--tls")
            .arg(&tls);
        fleet.args([
            "--sensors",
            &SENSORS.to_string(),
            "--rate",
            &RATE.to_string(),
            "--seconds",
            &SECONDS.to_string(),
        ]);
        shell::output(&mut fleet)
    });
    shell::end(&mut run)?;
    let one: Value = serde_json::from_str(measured?.trim())
        .map_err(|err| Failure(format!("the fleet says something else than a measurement: {err}")))?;
    let headings = [
        "sensors",
        "events made",
        "acknowledged",
        "lost",
        "seconds",
        "events/s",
        "longest from made to acknowledged, s",
    ];
    let title = format!(
        "A fleet over mutual TLS: {RATE} events a second each for {SECONDS} s, into a store, all rules loaded"
    );
    let mut table = Table::new(title, &headings);
    let (made, acknowledged) = (number(&one, "made"), number(&one, "acknowledged"));
    table.row([
        one["sensors"].to_string(),
        grouped(made),
        grouped(acknowledged),
        grouped(made - acknowledged),
        one["seconds"].to_string(),
        grouped(acknowledged / number(&one, "seconds")),
        format!("{:.1}", number(&one, "worst_ms") / 1000.0),
    ]);
    table.note("the fleet runs on the same processors; what the correlator cannot take at once waits with the sensors");
    let _ = fs::remove_dir_all(&dir);
    Ok(table)
}

fn port(told: &Path) -> Result<String, Failure> {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let text = fs::read_to_string(told)?;
        let line = text.lines().find(|line| line.contains("sensors are listened for"));
        if let Some(rest) = line.and_then(|line| line.split("127.0.0.1:").nth(1))
            && text.contains("watching")
        {
            return Ok(rest.chars().take_while(char::is_ascii_digit).collect());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Failure("the correlator does not listen: see its message in target/bench-fleet/told".to_owned()))
}
