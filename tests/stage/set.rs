//! The stage itself: the stand-ins in place, the SSM agent up, and real commands run as somebody.

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::awsapi::{Authority, AwsApi, HOST_NAMES};
use harness::cloudtrail::{self, Trail};
use harness::imds::{Imds, Tokens};
use harness::{client, http, netns, ssm, world};

pub(crate) struct Set {
    home: PathBuf,
    path: String,
    cloudtrail: PathBuf,
    trail: Arc<Trail>,
    agent: Child,
}

impl Set {
    /// Furnishes the namespace this process is in and starts everything that answers.
    pub(crate) fn build(
        scratch: &Path,
        cloudtrail: &Path,
        aws: Option<&Path>,
    ) -> Result<Self, Box<dyn Error>> {
        // Where AWS delivers to, though the folder's own path may lead into an overlay by now.
        let cloudtrail = netns::furnish(scratch, cloudtrail, HOST_NAMES)?;
        ssm::install(&std::env::current_exe()?, world::INSTANCE_ID)?;
        let trail = Arc::new(Trail::new(&cloudtrail));
        let authority = Authority::new()?;

        let imds = Imds::new(Tokens::Optional).with_user_data("#!/bin/sh\necho harmless\n");
        http::serve(bind(netns::IMDS, 80)?, None, Arc::new(imds))?;
        let api = Arc::new(AwsApi::new(Arc::clone(&trail), ssm::documents()));
        http::serve(bind("127.0.0.1", 443)?, Some(authority.acceptor.clone()), api)?;
        for address in netns::ROGUE.into_iter().chain([netns::KNOWN_STORE]) {
            http::serve(bind(address, 9000)?, None, Arc::new(AwsApi::unlogged()))?;
        }

        let home = scratch.join("home");
        client::configure(&home, &authority.root_pem, &world::users())?;
        let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let inherited = std::env::var("PATH").unwrap_or_default();
        let path = match aws.and_then(Path::parent) {
            Some(folder) => format!("{}:{system}", folder.display()),
            None => format!("{inherited}:{system}"),
        };
        deliver_steadily(Arc::clone(&trail));
        Ok(Set { home, path, cloudtrail, trail, agent: ssm::start(&[])? })
    }

    /// Runs a script under `sh` on the instance, with a shell's usual surroundings and the given variables added.
    pub(crate) fn sh(&self, script: &str, vars: &[(&str, &str)]) -> io::Result<Output> {
        self.sh_in(&self.home, script, vars)
    }

    pub(crate) fn sh_in(&self, folder: &Path, script: &str, vars: &[(&str, &str)]) -> io::Result<Output> {
        Command::new("sh")
            .args(["-c", script])
            .env_clear()
            .envs([("PATH", self.path.as_str()), ("LANG", "C.UTF-8"), ("TERM", "dumb")])
            .env("HOME", &self.home)
            .envs(vars.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
    }

    /// The AWS CLI as one of the cast, through `sh` as people start it; its failure is the scene's.
    pub(crate) fn aws(&self, user: &str, arguments: &str) -> io::Result<String> {
        self.succeed(&format!("aws {arguments}"), user)
    }

    /// A script with the AWS CLI in it, as one of the cast.
    pub(crate) fn succeed(&self, script: &str, user: &str) -> io::Result<String> {
        let output = self.sh(script, &[("AWS_PROFILE", user)])?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("\"{script}\" as {user} failed: {said}")))
    }

    /// What happens once per delivery: CloudTrail writes its files.
    pub(crate) fn deliver(&self) -> io::Result<()> {
        self.trail.flush().map(drop)
    }

    /// Puts an object of another feed beside CloudTrail's.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        cloudtrail::put(&self.cloudtrail, key, bytes).map(drop)
    }

    /// Waits until an SSM command has its result.
    pub(crate) fn await_command(&self, command: &str) -> io::Result<()> {
        ssm::await_command(&ssm::documents(), command)
    }

    /// Ends the agent: its children end with the pipe it holds.
    pub(crate) fn strike(&mut self) {
        drop(self.agent.stdin.take());
        drop(self.agent.wait());
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.strike();
    }
}

fn bind(address: &str, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((address, port))
        .map_err(|err| io::Error::new(err.kind(), format!("cannot listen on {address}:{port}: {err}")))
}

/// CloudTrail delivers after minutes; a stage that is watched does so twice a second.
fn deliver_steadily(trail: Arc<Trail>) {
    std::thread::spawn(move || {
        while trail.flush().is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
}
