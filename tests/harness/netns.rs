//! A network and mount namespace of the test's own: only loopback in it, so nothing can leave.
//!
//! The process is started anew under `unshare`; on the far side loopback carries the addresses the scenario speaks to, the
//! hosts file names AWS's endpoints, and overlays make room for the SSM agent's files without touching the machine's.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::world;

pub const IMDS: &str = "169.254.169.254";
/// An S3-compatible store the company knows.
pub const KNOWN_STORE: &str = "10.0.1.20";
/// Endpoints nobody knows (RFC 5737).
pub const ROGUE: [&str; 3] = ["203.0.113.66", "203.0.113.67", "203.0.113.68"];

/// The command that starts this program again inside fresh namespaces, with `args`.
///
/// # Errors
/// When the running program's path cannot be read.
pub fn enter(args: &[String]) -> io::Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--"]);
    command.arg(std::env::current_exe()?).args(args);
    command.process_group(0);
    Ok(command)
}

/// Furnishes the namespace this process is in. `scratch` is an empty folder for the mounts.
///
/// # Errors
/// When a tool is missing, a mount is refused, or the namespace is not the empty one it should be.
pub fn furnish(scratch: &Path, host_names: &[&str]) -> io::Result<()> {
    refuse_unless_empty()?;
    run("ip", &["link", "set", "lo", "up"])?;
    for address in [IMDS, world::PRIVATE_IP, KNOWN_STORE].iter().chain(&ROGUE) {
        run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    // Loopback would answer from the address it was asked on; an instance asks from its own.
    for address in [IMDS, KNOWN_STORE].iter().chain(&ROGUE) {
        let route =
            ["route", "change", "local", address, "dev", "lo", "table", "local", "src", world::PRIVATE_IP];
        run("ip", &route)?;
    }
    let scratch_text = scratch.display().to_string();
    run("mount", &["-t", "tmpfs", "tmpfs", &scratch_text])?;
    for target in ["/usr/bin", "/var/lib", "/var/log", "/opt"] {
        overlay(scratch, target)?;
    }
    let hosts = scratch.join("hosts");
    let names = host_names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect::<String>();
    fs::write(&hosts, format!("127.0.0.1 localhost\n{names}"))?;
    run("mount", &["--bind", &hosts.display().to_string(), "/etc/hosts"])
}

/// A private writable layer over a folder of the machine.
fn overlay(scratch: &Path, target: &str) -> io::Result<()> {
    let layer = scratch.join(target.trim_start_matches('/').replace('/', "-"));
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display());
    run("mount", &["-t", "overlay", "overlay", "-o", &options, target])
}

/// Stops the program where the network is not the empty one: then scenario traffic could leave the machine.
fn refuse_unless_empty() -> io::Result<()> {
    let interfaces: Vec<String> = fs::read_to_string("/proc/net/dev")?
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next().map(|name| name.trim().to_owned()))
        .collect();
    let probe = UdpSocket::bind("0.0.0.0:0")?;
    let documentation: IpAddr = [192, 0, 2, 1].into();
    if interfaces.iter().any(|name| name != "lo") || probe.connect((documentation, 9)).is_ok() {
        return Err(io::Error::other(format!(
            "the namespace has more than an unused loopback: {interfaces:?}"
        )));
    }
    Ok(())
}

/// Runs a tool to its end.
///
/// # Errors
/// When it cannot be started (its name and package are in the text) or fails (its last words are).
pub fn run(tool: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(tool).args(args).output().map_err(|err| {
        io::Error::new(err.kind(), format!("cannot run \"{tool}\": {err}; install iproute2 and util-linux"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("\"{tool} {}\" failed: {}", args.join(" "), said.trim())))
}
