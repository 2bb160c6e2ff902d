//! Namespaces of the test's own: only loopback in the network's, so nothing can leave, and processes that end together.
//!
//! The process is started anew under `unshare`; on the far side loopback carries the addresses the scenario speaks to, the
//! hosts file names AWS's endpoints, and overlays make room for the SSM agent's files without touching the machine's.

use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world;

pub const IMDS: &str = "169.254.169.254";
/// An S3-compatible store the company knows.
pub const KNOWN_STORE: &str = "10.0.1.20";
/// Endpoints nobody knows (RFC 5737).
pub const ROGUE: [&str; 3] = ["203.0.113.66", "203.0.113.67", "203.0.113.68"];

/// Where the SSM agent's files go.
const OVERLAID: [&str; 3] = ["/usr/bin", "/var/lib", "/var/log"];

/// An empty folder for [`furnish`], removed when it is dropped. It lies in none that an overlay would hide.
///
/// # Errors
/// When it cannot be made.
pub fn scratch() -> io::Result<tempfile::TempDir> {
    let usual = std::env::temp_dir().canonicalize()?;
    let is_hidden = OVERLAID.iter().any(|target| usual.starts_with(target));
    let parent = if is_hidden { Path::new("/tmp") } else { &usual };
    tempfile::Builder::new().prefix("groundtrail-stage.").tempdir_in(parent)
}

/// The command that starts this program again inside fresh namespaces, with `args`.
///
/// It is the first process of its pid namespace: when it ends, the kernel ends whatever it started. It is to end with its
/// standard input, a pipe whose other end closes however its parent goes.
///
/// # Errors
/// When the running program's path cannot be read.
pub fn enter(args: &[String]) -> io::Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--"]);
    command.arg(std::env::current_exe()?).args(args);
    command.process_group(0).stdin(Stdio::piped());
    Ok(command)
}

/// What keeps this machine from giving us namespaces, or `None`.
pub fn refused() -> Option<String> {
    let refusal = run("unshare", &["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"]).err()?;
    Some(format!("no namespaces here: {refusal}; run with CAP_SYS_ADMIN"))
}

/// Furnishes the namespace this process is in. `scratch` is an empty folder for the mounts. What is written to `outlet`
/// must be seen outside: it is given back under the path that still leads there.
///
/// # Errors
/// When a tool is missing, a mount is refused, or the namespace is not the empty one it should be.
pub fn furnish(scratch: &Path, outlet: &Path, host_names: &[&str]) -> io::Result<PathBuf> {
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
    let kept = room(scratch, outlet)?;
    for target in OVERLAID {
        overlay(scratch, target)?;
    }
    name_hosts(scratch, "127.0.0.1", host_names)?;
    Ok(kept)
}

/// Makes `scratch` a file system of its own. What is written to `outlet` must be seen outside: it is given back under the
/// path that still leads there.
///
/// # Errors
/// When a mount is refused.
pub fn room(scratch: &Path, outlet: &Path) -> io::Result<PathBuf> {
    run("mount", &["-t", "tmpfs", "tmpfs", text(scratch)?])?;
    let kept = scratch.join("outlet");
    fs::create_dir(&kept)?;
    run("mount", &["--bind", text(outlet)?, text(&kept)?])?;
    Ok(kept)
}

/// Lets these names lead to one address, and no other name anywhere.
///
/// # Errors
/// When the mount is refused.
pub fn name_hosts(scratch: &Path, address: &str, names: &[&str]) -> io::Result<()> {
    let hosts = scratch.join("hosts");
    let names = names.iter().map(|name| format!("{address} {name}\n")).collect::<String>();
    fs::write(&hosts, format!("127.0.0.1 localhost\n{names}"))?;
    run("mount", &["--bind", text(&hosts)?, "/etc/hosts"])
}

/// Puts one folder in the place of another.
///
/// # Errors
/// When the mount is refused.
pub fn bind(folder: &Path, target: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    run("mount", &["--bind", text(folder)?, target])
}

/// A private writable layer over a folder of the machine. It would hide what is mounted below that folder, which may hold
/// this program, so each such mount is put back.
///
/// # Errors
/// When a mount is refused.
pub fn overlay(scratch: &Path, target: &str) -> io::Result<()> {
    let layer = scratch.join(target.trim_start_matches('/').replace('/', "-"));
    let (lower, upper, work) = (layer.join("lower"), layer.join("upper"), layer.join("work"));
    for folder in [&lower, &upper, &work] {
        fs::create_dir_all(folder)?;
    }
    let below = mounts_below(&fs::read_to_string("/proc/self/mountinfo")?, target);
    run("mount", &["--rbind", target, text(&lower)?])?;
    let options = format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display());
    run("mount", &["-t", "overlay", "overlay", "-o", &options, target])?;
    for path in below {
        run("mount", &["--rbind", text(&lower.join(&path))?, text(&Path::new(target).join(path))?])?;
    }
    Ok(())
}

/// The outermost mounts below a folder, relative to it.
fn mounts_below(mountinfo: &str, folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " "))
        .filter_map(|point| Some(Path::new(&point).strip_prefix(folder).ok()?.to_owned()))
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    found.sort();
    // A mount below another comes along with it.
    found.dedup_by(|path, outer| path.starts_with(outer));
    found
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str()
        .ok_or_else(|| io::Error::other(format!("the path {path:?} is not UTF-8; use another folder")))
}

/// Stops the program where the network is not the empty one: then scenario traffic could leave the machine.
///
/// # Errors
/// When there is more than a loopback that is not up.
pub fn refuse_unless_empty() -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_mounts_below_a_folder_are_put_back() {
        let mountinfo = "21 1 8:1 / / rw - ext4 /dev/sda rw\n22 21 8:2 / /var/lib rw - ext4 /dev/sdb rw\n\
                         23 22 8:3 / /var/lib/ci\\040runner rw - ext4 /dev/sdc rw\n\
                         24 23 0:9 / /var/lib/ci\\040runner/tmp rw - tmpfs tmpfs rw\n\
                         25 21 0:10 / /var/library rw - tmpfs tmpfs rw\n26 22 0:11 / /var/lib/a rw - tmpfs tmpfs rw\n";
        assert_eq!(mounts_below(mountinfo, "/var/lib"), [Path::new("a"), Path::new("ci runner")]);
    }
}
