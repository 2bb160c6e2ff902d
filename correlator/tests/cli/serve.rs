//! What is served in a browser's stead: to whom, with which headers, and how it goes on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::{demo, groundtrail};

struct Served {
    child: Child,
    /// `127.0.0.1:PORT`.
    at: String,
    token: String,
    /// As a browser keeps it: `name=value`.
    cookie: String,
}

impl Served {
    fn new(env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_groundtrail"))
            .args(["serve", "--store", "gt.db", "--listen", "127.0.0.1:0"])
            .current_dir(demo())
            .env_clear()
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (at, token) = line.trim().strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
        let mut served = Self { child, at: at.to_owned(), token: token.to_owned(), cookie: String::new() };
        let welcome = served.raw("GET", &format!("/?token={token}"), &format!("host: {at}\r\n"));
        let cookie = welcome.split("set-cookie: ").nth(1).unwrap().split(';').next().unwrap().to_owned();
        served.cookie = cookie;
        served
    }

    fn connect(&self, method: &str, path: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.at).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn raw(&self, method: &str, path: &str, headers: &str) -> String {
        let mut answer = String::new();
        self.connect(method, path, headers).read_to_string(&mut answer).unwrap();
        answer
    }

    /// As a browser that was let in.
    fn get(&self, path: &str) -> String {
        self.raw("GET", path, &self.let_in())
    }

    fn let_in(&self) -> String {
        format!("host: {}\r\ncookie: {}\r\n", self.at, self.cookie)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn only_whoever_has_the_token_is_let_in_and_only_by_our_own_name() {
    let served = Served::new(&[]);
    let host = format!("host: {}\r\n", served.at);
    assert!(served.raw("GET", "/", &host).starts_with("HTTP/1.1 403"));
    assert!(served.raw("GET", "/?token=guess", &host).starts_with("HTTP/1.1 403"));
    let welcome = served.raw("GET", &format!("/?token={}", served.token), &host);
    assert!(welcome.starts_with("HTTP/1.1 303"), "{welcome}");
    assert!(welcome.contains("HttpOnly; SameSite=Lax"), "{welcome}");
    assert!(served.get("/").starts_with("HTTP/1.1 200"));
    let rebound = format!("host: evil.example\r\ncookie: {}\r\n", served.cookie);
    assert!(served.raw("GET", "/", &rebound).starts_with("HTTP/1.1 403"));
    assert!(served.raw("POST", "/", &served.let_in()).starts_with("HTTP/1.1 405"));
    let port = served.at.rsplit(':').next().unwrap();
    assert!(served.cookie.starts_with(&format!("groundtrail-{port}-")), "{}", served.cookie);
    let other = Served::new(&[]);
    let of_other = format!("host: {}\r\ncookie: {}\r\n", served.at, other.cookie);
    assert!(served.raw("GET", "/", &of_other).starts_with("HTTP/1.1 403"), "cookies know no port");
    let own = Served::new(&[("GROUNDTRAIL_SERVE_TOKEN", "one-that-was-made-before")]);
    assert_eq!(own.token, "one-that-was-made-before");
}

#[test]
fn a_page_is_dressed_strictly_and_holds_the_list() {
    let served = Served::new(&[]);
    let list = served.get("/");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "CloudTrail logging stopped",
        "user/mallory",
    ] {
        assert!(list.contains(part), "{part} is missing: {list}");
    }
    assert!(!list.contains("unsafe-inline"));
    assert!(!list.contains(&served.token), "a page that is saved or sent holds no token");
}

#[test]
fn an_alert_leads_to_its_incident_and_that_is_the_page_of_report() {
    let served = Served::new(&[]);
    let alerts = groundtrail(demo(), &["tail", "--no-follow", "--store", "gt.db", "-o", "ndjson"], "");
    let alert: serde_json::Value = serde_json::from_str(alerts.stdout.lines().next().unwrap()).unwrap();
    let id = alert["groundtrail"]["alert"]["id"].as_str().unwrap();
    let there = served.get(&format!("/alert/{id}"));
    let location = there.lines().find_map(|line| line.strip_prefix("location: ../")).unwrap();
    let (path, fragment) = location.split_once('#').unwrap();
    assert_eq!(fragment, format!("alert-{id}"));
    let page = served.get(&format!("/{path}"));
    let report = groundtrail(demo(), &["report", "--alert", id, "--store", "gt.db", "-o", "-"], "");
    assert_eq!(page.split_once("\r\n\r\n").unwrap().1, report.stdout);
    // A link that somebody sent, with the token in it, leads to where it says.
    let host = format!("host: {}\r\n", served.at);
    for (path, location) in [(path, path.rsplit('/').next().unwrap()), ("", ""), ("/evil.example/x", "x")] {
        let welcome = served.raw("GET", &format!("/{path}?token={}", served.token), &host);
        assert!(welcome.starts_with("HTTP/1.1 303"), "{welcome}");
        assert!(welcome.contains(&format!("\r\nlocation: ./{location}\r\n")), "{welcome}");
    }
    for nowhere in
        ["/alert/zz", "/incident/zz", "/incident/../../etc/passwd", "/favicon.ico", "/alert/a%0d%0ab"]
    {
        assert!(served.get(nowhere).starts_with("HTTP/1.1 404"), "{nowhere}");
    }
}

#[test]
fn a_stream_begins_with_what_the_list_lacks() {
    let served = Served::new(&[]);
    let list = served.get("/");
    let at = list.split("data-at=\"").nth(1).unwrap().split('"').next().unwrap();
    let first = |path: &str, headers: &str| {
        let stream = served.connect("GET", path, &format!("{}{headers}", served.let_in()));
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        let mut lines = lines
            .skip_while(|line| !line.is_empty())
            .filter(|line| line.contains(": ") || line.starts_with(':'));
        lines.find(|line| line.starts_with("data: ") || line.starts_with(':')).unwrap()
    };
    let all = first("/live?at=other-1", "");
    assert!(all.contains("CloudTrail logging stopped"), "{all}");
    // As a browser asks whose connection was lost.
    let since = first("/live?at=other-1", &format!("last-event-id: {at}\r\n"));
    assert!(!since.contains("CloudTrail logging stopped"), "{since}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_served() {
    let refused = groundtrail(demo(), &["serve", "--store", "gt.db", "--listen", "0.0.0.0:0"], "");
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("--allow-remote"), "{}", refused.stderr);
    assert_eq!(groundtrail(demo(), &["serve", "--store", "no.db"], "").code, 3);
    assert_eq!(groundtrail(demo(), &["serve"], "").code, 2);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let refused = groundtrail(demo(), &["serve", "--store", "gt.db", "--listen", &at], "");
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains(&at) && refused.stderr.contains("--listen"), "{}", refused.stderr);
}

#[test]
fn those_who_hold_connections_and_say_nothing_keep_nobody_out() {
    let served = Served::new(&[]);
    let held: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&served.at).unwrap()).collect();
    assert!(served.get("/").starts_with("HTTP/1.1 200"));
    drop(held);
}
