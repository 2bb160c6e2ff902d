//! The units under a systemd of their own: installed from the packages, started by the boot, and asked for an alert.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::super::Built;
use super::root::{enter, fresh, nspawn};
use crate::live;
use crate::shell::{self, Failure};
use crate::test::Outcome;

/// What runs once the system is up. It leaves what it saw in `/try`, one fact a line.
const SCRIPT: &str = include_str!("try.sh");

/// Ends the system when the script is over, however it ended.
const UNIT: &str = "[Unit]\nAfter=groundtrail.service groundtrail-sensor.service\n\
    [Service]\nType=oneshot\nExecStart=/usr/local/bin/try.sh\nTimeoutStartSec=120\n\
    ExecStopPost=+/bin/systemctl --no-block poweroff\n";

pub(super) fn boot(built: &Built) -> Result<Outcome, Failure> {
    if let Some(reason) = live::obstacle() {
        return Ok(Outcome::Skipped(reason));
    }
    let root = fresh("unit", &built.debs)?;
    enter(&root, "dpkg -i /packages/*.deb")?;
    let script = root.join("usr/local/bin/try.sh");
    fs::write(&script, SCRIPT)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    fs::write(root.join("etc/systemd/system/try.service"), UNIT)?;
    // Sooner than in earnest, so that the try is short.
    let dropin = root.join("etc/systemd/system/groundtrail-sensor.service.d");
    fs::create_dir_all(&dropin)?;
    fs::write(dropin.join("try.conf"), "[Service]\nWatchdogSec=3\n")?;
    fs::create_dir_all(root.join("var/log/journal"))?;
    enter(&root, "systemctl --quiet add-wants multi-user.target try.service")?;
    let mut boot = nspawn(&root);
    boot.arg("--boot").stdout(std::process::Stdio::null()).stdin(std::process::Stdio::null());
    let status = shell::status(&mut boot)?;
    judge(&root).map_err(|err| {
        let journal = journal(&root).unwrap_or_default();
        Failure(format!("{err} (the system ended with {status})\n{journal}"))
    })
}

fn judge(root: &Path) -> Result<Outcome, Failure> {
    let facts = fs::read_to_string(root.join("try"))
        .map_err(|err| Failure(format!("the system did not come up, nothing was tried: {err}")))?;
    let fact = |name: &str| {
        let line = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.ok_or_else(|| Failure(format!("the try says nothing of \"{name}\":\n{facts}")))
    };
    let must = |name: &str, wanted: &str| match fact(name)? {
        found if found == wanted => Ok(()),
        found => Err(Failure(format!("{name} is \"{found}\" rather than \"{wanted}\":\n{facts}"))),
    };
    for unit in ["sensor", "correlator"] {
        must(&format!("{unit}.ActiveState"), "active")?;
        must(&format!("{unit}.NRestarts"), "0")?;
    }
    must("sensor.User", "groundtrail-sensor")?;
    must("alert", "yes")?;
    must("sensor.status", "0")?;
    // Stopped in its tracks, it is started anew by the watchdog, and goes on.
    must("watchdog.ActiveState", "active")?;
    must("watchdog.Restarted", "yes")?;
    // A wrong configuration is refused once, not over and over.
    must("misconfigured.ActiveState", "failed")?;
    must("sensor.NoNewPrivs", "1")?;
    must("sensor.Seccomp", "2")?;
    let (memory, capabilities) = (fact("sensor.VmRSS")?, fact("sensor.CapEff")?);
    shell::say(format!("under its unit the sensor holds {memory} and the capabilities {capabilities}"));
    Ok(Outcome::Passed)
}

fn journal(root: &Path) -> Result<String, Failure> {
    let mut command = Command::new("journalctl");
    command.arg("-D").arg(root.join("var/log/journal")).args(["--no-pager", "-o", "cat", "-n", "40"]);
    shell::output(command.args(["-u", "groundtrail-sensor", "-u", "groundtrail", "-u", "try"]))
}
