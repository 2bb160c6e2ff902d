//! The instances behind the API: where what is meant for them is left, and what their calls come from.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::digest;
use crate::world::{Instance, Principal};

/// An instance, and a folder that it and the API share.
#[derive(Clone, Debug)]
pub struct Machine {
    pub instance: Instance,
    pub folder: PathBuf,
}

impl Machine {
    /// What the SSM agent sees as its own folder.
    pub fn agent_folder(&self) -> PathBuf {
        self.folder.join("ssm")
    }

    /// Keys that were pushed, a file per user of the operating system.
    pub fn key_folder(&self) -> PathBuf {
        self.folder.join("keys")
    }

    pub fn documents(&self) -> PathBuf {
        self.agent_folder().join(&self.instance.id).join("document")
    }
}

#[derive(Clone, Debug, Default)]
pub struct Fleet {
    machines: Vec<Machine>,
    /// The stage's one agent, whatever instance is named.
    only: Option<PathBuf>,
}

impl Fleet {
    pub(super) fn one(documents: PathBuf) -> Self {
        Fleet { machines: Vec::new(), only: Some(documents) }
    }

    pub fn of(machines: Vec<Machine>) -> Self {
        Fleet { machines, only: None }
    }

    fn machine(&self, instance: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.instance.id == instance)
    }

    /// Where an instance's agent looks for work; `None` where there is no such instance.
    pub fn documents(&self, instance: &str) -> Option<PathBuf> {
        self.only.clone().or_else(|| Some(self.machine(instance)?.documents()))
    }

    /// The address that a call from here is logged with: of an instance its public one; whoever carries a role elsewhere
    /// shows his own. `None` where the caller's part in the play says it.
    pub(super) fn seen_as(&self, peer: IpAddr, caller: &Principal) -> Option<String> {
        let peer = peer.to_string();
        match self.machines.iter().find(|machine| machine.instance.private_ip == peer) {
            Some(machine) => Some(machine.instance.public_ip.clone()),
            None => (caller.session_token.is_some() && !self.machines.is_empty()).then_some(peer),
        }
    }

    pub(super) fn by_access_key(&self, key: &str) -> Option<Principal> {
        let both = self.machines.iter().flat_map(|machine| [1, 2].map(|v| machine.instance.credentials(v)));
        both.into_iter().find(|principal| principal.access_key == key)
    }

    /// Leaves a public key where the instance's metadata service shows it, as EC2 Instance Connect does.
    pub(super) fn push_key(
        &self,
        instance: &str,
        user: &str,
        key: &str,
        caller: &str,
        request_id: &str,
    ) -> io::Result<()> {
        let Some(machine) = self.machine(instance) else { return Ok(()) };
        let folder = machine.key_folder();
        fs::create_dir_all(&folder)?;
        let signature = digest::hex(key);
        let text = format!(
            "#Timestamp=2147483647\n#Instance={instance}\n#Caller={caller}\n#Request={request_id}\n{key}\n{signature}\n"
        );
        fs::write(folder.join(user), text)
    }
}
