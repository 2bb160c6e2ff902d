//! The host as events show it. Rooted at a path, so that any machine can be imagined in a directory.

pub mod instance;
pub mod users;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::HostConfig;

/// Facts that hold for as long as the sensor runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    pub id: String,
    pub name: String,
    pub hostname: String,
    pub boot_id: String,
    pub architecture: String,
    pub kernel: String,
    pub os_name: Option<String>,
    pub os_platform: Option<String>,
    pub os_version: Option<String>,
    pub ips: Vec<IpAddr>,
    pub instance_id: Option<String>,
    pub account: Option<String>,
    pub region: Option<String>,
    pub role: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HostError {
    #[error("no boot id in \"/proc/sys/kernel/random/boot_id\": mount proc")]
    NoBootId,
    #[error(
        "the host has no id: there is no instance id and no \"/etc/machine-id\", so set host.id in the configuration"
    )]
    NoHostId,
    #[error(
        "the host has no id: this is an EC2 instance that hides its instance id, and images clone \
         \"/etc/machine-id\", so set host.id or host.instance_id in the configuration"
    )]
    HiddenInstanceId,
}

impl HostFacts {
    /// # Errors
    /// Whatever is missing without which entity ids would not be unique.
    pub fn gather(root: &Path, config: &HostConfig) -> Result<Self, HostError> {
        let boot_id = line(root, "proc/sys/kernel/random/boot_id").ok_or(HostError::NoBootId)?;
        let instance_id = config.instance_id.clone().or_else(|| instance::instance_id(root));
        let id = match config.id.clone().or_else(|| instance_id.clone()) {
            Some(id) => id,
            // Images clone the machine id, so on EC2 it names a family of hosts and not one.
            None if instance::is_ec2(root) => return Err(HostError::HiddenInstanceId),
            None => machine_id(root).ok_or(HostError::NoHostId)?,
        };
        let uname = rustix::system::uname();
        let node = uname.nodename().to_string_lossy().into_owned();
        let release = OsRelease::read(root);
        Ok(Self {
            id,
            name: config.name.clone().unwrap_or_else(|| node.clone()),
            hostname: node,
            boot_id,
            architecture: uname.machine().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            os_name: release.name,
            os_platform: release.id,
            os_version: release.version,
            ips: addresses(root),
            instance_id,
            account: config.account.clone(),
            region: config.region.clone(),
            role: config.role.clone(),
        })
    }
}

fn machine_id(root: &Path) -> Option<String> {
    line(root, "etc/machine-id").or_else(|| line(root, "var/lib/dbus/machine-id"))
}

/// First line of a small file, trimmed; nothing if it is empty.
fn line(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[derive(Debug, Default)]
struct OsRelease {
    name: Option<String>,
    id: Option<String>,
    version: Option<String>,
}

impl OsRelease {
    fn read(root: &Path) -> Self {
        let text = ["etc/os-release", "usr/lib/os-release"]
            .iter()
            .find_map(|path| fs::read_to_string(root.join(path)).ok());
        let text = text.unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']).to_owned())
        };
        Self { name: value("NAME"), id: value("ID"), version: value("VERSION_ID") }
    }
}

/// The host's own addresses, loopback and link-local left out, in a stable order.
fn addresses(root: &Path) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> =
        fs::read_to_string(root.join("proc/net/fib_trie")).map_or(Vec::new(), |text| local_v4(&text));
    ips.extend(fs::read_to_string(root.join("proc/net/if_inet6")).map_or(Vec::new(), |text| local_v6(&text)));
    ips.retain(|ip| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    });
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// Addresses whose `/32 host LOCAL` line follows them in the routing trie.
fn local_v4(trie: &str) -> Vec<IpAddr> {
    let mut last: Option<IpAddr> = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

fn local_v6(table: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let bits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
        Some(IpAddr::V6(bits.into()))
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("written");
        }
        dir
    }

    const BOOT: (&str, &str) = ("proc/sys/kernel/random/boot_id", "b-1\n");
    const MACHINE: (&str, &str) = ("etc/machine-id", "0123\n");
    const DMI: (&str, &str) = ("sys/devices/virtual/dmi/id/board_asset_tag", "i-0123456789abcdef0\n");

    fn id(files: &[(&str, &str)], config: &HostConfig) -> Result<String, HostError> {
        HostFacts::gather(machine(files).path(), config).map(|facts| facts.id)
    }

    #[test]
    fn host_id_is_configured_else_instance_else_machine() {
        let configured = HostConfig { id: Some("web".into()), ..HostConfig::default() };
        let told = HostConfig { instance_id: Some("i-aaaaaaaa".into()), ..HostConfig::default() };
        let none = HostConfig::default();
        assert_eq!(id(&[BOOT, MACHINE, DMI], &configured), Ok("web".into()));
        assert_eq!(id(&[BOOT, MACHINE, DMI], &none), Ok("i-0123456789abcdef0".into()));
        assert_eq!(id(&[BOOT, MACHINE, DMI], &told), Ok("i-aaaaaaaa".into()));
        assert_eq!(id(&[BOOT, MACHINE], &none), Ok("0123".into()));
        assert_eq!(id(&[BOOT], &none), Err(HostError::NoHostId));
        assert_eq!(id(&[MACHINE], &none), Err(HostError::NoBootId));
    }

    #[test]
    fn the_machine_id_never_names_an_ec2_instance() {
        let vendor = ("sys/devices/virtual/dmi/id/sys_vendor", "Amazon EC2\n");
        let told = HostConfig { instance_id: Some("i-aaaaaaaa".into()), ..HostConfig::default() };
        let configured = HostConfig { id: Some("web".into()), ..HostConfig::default() };
        assert_eq!(id(&[BOOT, MACHINE, vendor], &HostConfig::default()), Err(HostError::HiddenInstanceId));
        assert_eq!(id(&[BOOT, MACHINE, vendor], &told), Ok("i-aaaaaaaa".into()));
        assert_eq!(id(&[BOOT, MACHINE, vendor], &configured), Ok("web".into()));
    }

    #[test]
    fn os_release_and_addresses_are_read() {
        let dir = machine(&[
            BOOT,
            MACHINE,
            ("etc/os-release", "NAME=\"Amazon Linux\"\nID=\"amzn\"\nVERSION_ID='2023'\nID_LIKE=fedora\n"),
            (
                "proc/net/fib_trie",
                "Local:\n     |-- 10.0.0.0\n        /24 link UNICAST\n        |-- 10.0.0.7\n           /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n        |-- 10.0.0.7\n           /32 host LOCAL\n",
            ),
            (
                "proc/net/if_inet6",
                "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n20010db8000000000000000000000001 02 40 00 80     eth0\n",
            ),
        ]);
        let facts = HostFacts::gather(dir.path(), &HostConfig::default()).expect("facts");
        assert_eq!(facts.os_name.as_deref(), Some("Amazon Linux"));
        assert_eq!((facts.os_platform.as_deref(), facts.os_version.as_deref()), (Some("amzn"), Some("2023")));
        let ips: Vec<String> = facts.ips.iter().map(ToString::to_string).collect();
        assert_eq!(ips, ["10.0.0.7", "2001:db8::1"]);
    }
}
