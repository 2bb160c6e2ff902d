//! The known child: this program with a fixed argument, which connects once and then waits to be let go.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::privileges;

/// First argument of the helper. What follows is the port, and words that test how arguments are kept apart.
pub const ARGUMENT: &str = "self-test-helper";

/// Loopback refuses at once.
const MAX_CONNECT: Duration = Duration::from_millis(50);

/// The helper at work. It ends with its standard input, so also when we do.
pub(super) struct Helper {
    child: Child,
    args: Vec<String>,
    port: u16,
}

impl Helper {
    /// Starts it. Its exec is behind us then.
    pub(super) fn start(mut program: Command) -> io::Result<Self> {
        // Bound and dropped again: a port that nobody listens on.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let word = format!("groundtrail-{}-{port}", std::process::id());
        let args = [ARGUMENT, &port.to_string(), &word, "", "\u{fc} b", ""].map(str::to_owned).to_vec();
        program.args(&args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: program.spawn()?, args, port })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The arguments, without the program's own name.
    pub(super) fn args(&self) -> &[String] {
        &self.args
    }

    /// An argument that nobody else has.
    pub(super) fn word(&self) -> &str {
        &self.args[2]
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn end(&mut self) {
        drop(self.child.stdin.take());
        _ = self.child.wait();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.end();
    }
}

/// The helper's part.
pub fn play(port: Option<u16>) {
    privileges::drop_all();
    let address = (Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into();
    _ = TcpStream::connect_timeout(&address, MAX_CONNECT);
    _ = io::stdin().read(&mut [0]);
}

/// This very program, even if its file has been replaced or removed.
pub fn myself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("groundtrail-sensor");
    command
}
