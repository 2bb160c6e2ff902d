//! A headless Chromium that does what it is told over a pipe, and tells what a page asked for and complained of.

use std::env;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::bins;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// A browser on a busy machine takes its time to begin with.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where it is installed.
fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|path| path.is_file())
}

/// Why there is none to try pages with.
pub fn missing() -> Option<String> {
    match program() {
        Some(_) => None,
        None => Some("no Chromium is installed: cargo xtask setup, or Debian's package chromium".to_owned()),
    }
}

/// One page in a browser of its own.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Value,
    n_sent: u64,
    /// What the browser told unasked.
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// How the page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub is_dark: bool,
}

pub const PHONE: u32 = 390;
pub const DESKTOP: u32 = 1280;

/// Each way in which a page shall be well.
pub const LOOKS: [Look; 4] = [
    Look { width: DESKTOP, is_dark: false },
    Look { width: DESKTOP, is_dark: true },
    Look { width: PHONE, is_dark: false },
    Look { width: PHONE, is_dark: true },
];

impl Look {
    pub fn name(self) -> String {
        let width = if self.width == PHONE { "phone" } else { "desktop" };
        format!("{width}-{}", if self.is_dark { "dark" } else { "light" })
    }
}

impl Browser {
    /// # Panics
    /// There is none, or it does not start: see [`missing`].
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser's profile");
        // It reads commands from descriptor 3 and answers on 4; a shell puts them there.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh"])
            .arg(program().expect("whoever asks has made sure that there is one"))
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts the browser");
        let (to, out) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let (sender, from) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Self { child, to, from, session: Value::Null, n_sent: 0, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// # Panics
    /// The browser refuses, or says nothing for a minute.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.n_sent += 1;
        let mut message = json!({"id": self.n_sent, "method": method, "params": params});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        self.to.flush().expect("the browser reads");
        loop {
            let said = self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if said["id"] == self.n_sent {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].clone();
            }
            if said["method"].is_string() {
                self.events.push(said);
            }
        }
    }

    pub fn look(&mut self, look: Look) {
        let height = if look.width == PHONE { 844 } else { 900 };
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": look.width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Opens an address and waits until the page is there.
    pub fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", json!({"url": address}));
        assert!(opened["errorText"].is_null(), "{address}: {opened}");
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression is on the page.
    ///
    /// # Panics
    /// It throws.
    pub fn ask(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let said = self.call("Runtime.evaluate", params);
        assert!(said["exceptionDetails"].is_null(), "{expression}: {}", said["exceptionDetails"]);
        said["result"]["value"].clone()
    }

    /// Waits until an expression holds on the page.
    ///
    /// # Panics
    /// It does not within a minute.
    pub fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(&format!("Boolean({expression})")) != true {
            if Instant::now() > deadline {
                let body = self.ask("document.body.innerText");
                panic!("{expression} never held; the page says:\n{body}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses and releases a key: a character, or one by its name.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            "Tab" | "Escape" => "",
            key => key,
        };
        let event =
            |kind: &str| json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", event(if text.is_empty() { "rawKeyDown" } else { "keyDown" }));
        self.call("Input.dispatchKeyEvent", event("keyUp"));
    }

    /// The whole page as a picture, in the folder that `GROUNDTRAIL_SCREENSHOTS` names, or else below the target folder.
    pub fn screenshot(&mut self, name: &str) -> PathBuf {
        let folder = env::var_os("GROUNDTRAIL_SCREENSHOTS")
            .map_or_else(|| bins::target().join("screenshots"), PathBuf::from);
        let said =
            self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        let picture =
            STANDARD.decode(said["data"].as_str().unwrap_or_default()).expect("a picture is base64");
        std::fs::create_dir_all(&folder).expect("a folder for pictures");
        let path = folder.join(format!("{name}.png"));
        File::create(&path).and_then(|mut file| file.write_all(&picture)).expect("a picture can be written");
        path
    }

    /// Every address that a page asked for so far.
    pub fn asked_for(&self) -> Vec<String> {
        let requests = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        requests.filter_map(|event| event["params"]["request"]["url"].as_str().map(String::from)).collect()
    }

    /// What the browser complained of: broken scripts, what a policy forbade, what could not be had.
    pub fn complaints(&self) -> Vec<String> {
        let is_one = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_one).map(|event| event["params"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
