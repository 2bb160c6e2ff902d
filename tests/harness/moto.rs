//! AWS as moto plays it, and AWS's own command line to set it up with: real clients against a real server, on loopback in a
//! namespace that nothing leaves.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{bins, netns, python, watch};

const MOTO: &str = "moto[server]==5.2.5";
const AWS_CLI: &str = "awscli==1.46.2";
/// Says to a test that it is on the far side of `unshare`.
const INSIDE: &str = "GROUNDTRAIL_TEST_INSIDE";
const PORT: u16 = 5999;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the test of this name again inside a namespace with loopback alone, and gives back whether this is that side.
///
/// # Panics
/// When it fails there.
pub fn inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        netns::run("ip", &["link", "set", "lo", "up"]).expect("loopback comes up");
        return true;
    }
    // Built out here, where cargo may ask for what it needs.
    bins::groundtrail_with_aws();
    let own = env::current_exe().expect("a running program has a path");
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(own);
    let status = command
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env(bins::ARE_BUILT, "1")
        .process_group(0)
        .status();
    assert!(status.expect("unshare is in util-linux").success(), "{test} failed in its namespace");
    false
}

/// What keeps these tests from this machine, or `None`. Fetches what they need the first time, below the target folder.
pub fn obstacle() -> Option<String> {
    watch::not_root().or_else(netns::refused).or_else(|| tools().err())
}

/// The folder with `moto_server` and `aws` in it. Fetches them the first time, below the target folder.
///
/// # Errors
/// When they cannot be fetched.
pub fn tools() -> Result<PathBuf, String> {
    python::programs("moto", &[MOTO, AWS_CLI], &["moto_server", "aws"])
}

/// A server, ended with its owner.
pub struct Moto {
    server: Child,
    bin: PathBuf,
}

impl Moto {
    /// Starts it and waits until it answers. Only inside a namespace.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        assert!(env::var_os(INSIDE).is_some(), "never outside a namespace of its own");
        let bin = tools().expect("they were there a moment ago");
        let mut command = Command::new(bin.join("moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", &PORT.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = command.spawn().expect("moto starts");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            assert!(Instant::now() < deadline, "moto does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        Self { server, bin }
    }

    #[must_use]
    pub fn endpoint() -> String {
        format!("http://127.0.0.1:{PORT}")
    }

    /// What AWS's command line says to this.
    ///
    /// # Panics
    /// When it fails, or says no JSON.
    pub fn aws(&self, args: &[&str]) -> Value {
        let mut command = Command::new(self.bin.join("aws"));
        command
            .args(["--endpoint-url", &Self::endpoint(), "--region", "eu-west-1", "--output", "json"])
            .args(args);
        let output = with_credentials(&mut command).output().expect("the AWS command line starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "aws {}: {said}", args.join(" "));
        match output.stdout.trim_ascii().is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        }
    }

    /// A queue's address.
    pub fn create_queue(&self, name: &str) -> String {
        let said = self.aws(&["sqs", "create-queue", "--queue-name", name]);
        said["QueueUrl"].as_str().expect("a queue has an address").to_owned()
    }

    pub fn send(&self, queue: &str, body: &str) {
        self.aws(&["sqs", "send-message", "--queue-url", queue, "--message-body", body]);
    }

    pub fn put(&self, bucket: &str, key: &str, file: &Path) {
        let file = file.to_str().expect("a path of ours");
        self.aws(&["s3api", "put-object", "--bucket", bucket, "--key", key, "--body", file]);
    }

    /// Messages that are shown, and that are hidden.
    pub fn waiting(&self, queue: &str) -> (u64, u64) {
        let said =
            self.aws(&["sqs", "get-queue-attributes", "--queue-url", queue, "--attribute-names", "All"]);
        let count = |name: &str| {
            let text = said["Attributes"][name].as_str().expect("a queue counts its messages");
            text.parse().expect("a count is a number")
        };
        (count("ApproximateNumberOfMessages"), count("ApproximateNumberOfMessagesNotVisible"))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Keys of nobody's, and none of the machine's own settings.
pub fn with_credentials(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "EXAMPLE")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

/// groundtrail, run with this configuration; alerts go to its standard output.
///
/// # Errors
/// When it cannot be started.
pub fn groundtrail(config: &Path, out: &Path, log: &Path) -> io::Result<Child> {
    let mut command = Command::new(bins::groundtrail_with_aws());
    command.arg("--config").arg(config).args(["run", "-o", "ndjson"]);
    with_credentials(&mut command)
        .stdin(Stdio::null())
        .stdout(fs::File::options().create(true).append(true).open(out)?)
        .stderr(fs::File::options().create(true).append(true).open(log)?)
        .spawn()
}

/// What stands between a client and moto, and can hold calls back or cut answers short.
#[derive(Default)]
pub struct Between {
    /// Calls with this in their head are never answered.
    pub held: Mutex<Option<&'static str>>,
    pub n_held: Mutex<u32>,
    /// What the token service was asked.
    pub asked: Mutex<Vec<String>>,
    /// Answers to calls that begin so are cut after as many bytes, so many times.
    pub cut: Mutex<Option<(&'static str, usize, u32)>>,
}

impl Between {
    /// Starts to listen, and gives back the address to ask.
    ///
    /// # Panics
    /// When loopback is not there.
    pub fn start(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let between = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let between = Arc::clone(&between);
                // A client that goes away is its own affair.
                thread::spawn(move || drop(between.serve(client)));
            }
        });
        format!("http://{address}")
    }

    /// One call a connection.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (head, body) = read_request(&mut client)?;
        let lock = |held: &Mutex<Option<&'static str>>| *held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = lock(&self.held)
            && head.contains(name)
        {
            *self.n_held.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            thread::sleep(PATIENCE);
            return Ok(());
        }
        if body.starts_with(b"Action=") {
            let body = String::from_utf8_lossy(&body).into_owned();
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        }
        let mut server = TcpStream::connect(("127.0.0.1", PORT))?;
        let head_only_once = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server.write_all(head_only_once.as_bytes())?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((begins, len, left)) = cut.as_mut()
            && *left > 0
            && head.starts_with(*begins)
        {
            *left -= 1;
            let at = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
            answer.truncate(at + *len);
        }
        drop(cut);
        client.write_all(&answer)
    }
}

fn read_request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at + 4]).into_owned();
            let len = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
            });
            let len: usize = len.unwrap_or(0);
            if bytes.len() >= at + 4 + len {
                return Ok((head, bytes[at + 4..at + 4 + len].to_vec()));
            }
        }
        let n_read = client.read(&mut chunk)?;
        if n_read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..n_read]);
    }
}

/// Waits for something to become true.
///
/// # Panics
/// When it does not.
pub fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(200));
    }
}
