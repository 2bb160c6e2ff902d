//! Syslog and the journal, against sockets that read as their servers do.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::untrusted::corpus::{assert_inert, hostile};

/// A message of RFC 5424, taken apart as its grammar says.
#[derive(Debug, Clone)]
struct Message {
    priority: u32,
    time: String,
    app_name: String,
    parameters: Vec<(String, String)>,
    body: Value,
}

fn parse(text: &str) -> Message {
    let rest = text.strip_prefix('<').unwrap();
    let (priority, rest) = rest.split_once('>').unwrap();
    let rest = rest.strip_prefix("1 ").unwrap();
    let mut words = rest.splitn(6, ' ');
    let mut word = || words.next().unwrap().to_owned();
    let (time, host, app_name, _process, id) = (word(), word(), word(), word(), word());
    assert!(host.bytes().all(|byte| byte.is_ascii_graphic()) && id == "alert", "{text}");
    let rest = words.next().unwrap();
    let rest = rest.strip_prefix("[groundtrail@32473").unwrap();
    let (mut parameters, mut chars) = (Vec::new(), rest.chars());
    loop {
        match chars.next().unwrap() {
            ']' => break,
            ' ' => {}
            other => panic!("{other:?} within structured data of {text}"),
        }
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(chars.next(), Some('"'));
        let mut value = String::new();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => value.push(chars.next().unwrap()),
                ']' => panic!("a bracket that is not escaped"),
                c => value.push(c),
            }
        }
        parameters.push((name, value));
    }
    let rest = chars.as_str();
    let body = rest.strip_prefix(" \u{feff}").unwrap();
    Message {
        priority: priority.parse().unwrap(),
        time,
        app_name,
        parameters,
        body: serde_json::from_str(body).unwrap(),
    }
}

impl Message {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Came = Arc<Mutex<Vec<String>>>;

/// Octet counting, from every connection; each is hung up on after so many messages.
fn stream_server(hangs_up_after: usize) -> (String, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let came = Came::default();
    let held = Arc::clone(&came);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            for _ in 0..hangs_up_after {
                let Some(message) = counted(&mut stream) else { break };
                held.lock().unwrap().push(message);
            }
        }
    });
    (address, came)
}

fn counted(stream: &mut impl std::io::Read) -> Option<String> {
    let mut length = String::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).ok()?;
    Some(String::from_utf8(message).unwrap())
}

fn syslog(address: &str, more: &str) -> String {
    format!("[[sink]]\nname = \"syslog\"\ntype = \"syslog\"\naddress = \"{address}\"\n{QUICK}{more}\n")
}

#[test]
fn a_stream_carries_each_alert_whole_with_its_names_as_structured_data() {
    let (address, came) = stream_server(usize::MAX);
    let mut scene = Scene::new(&syslog(&address, "facility = \"authpriv\"\nmax_message = \"1MiB\""));
    let texts = hostile();
    let alerts: Vec<AlertChange> = texts
        .iter()
        .zip(0..)
        .map(|(text, n)| {
            let mut change = change(&n.to_string(), 1, Severity::Critical, text);
            change.document["rule"]["name"] = format!("{text}]\" \\").into();
            change.document["host"] = json!({"id": text});
            change
        })
        .collect();
    scene.tell(&alerts);
    wait_for("all", || came.lock().unwrap().len() == texts.len());
    for ((message, text), n) in came.lock().unwrap().iter().zip(&texts).zip(0..) {
        assert_inert(&message.replacen('\u{feff}', "", 1));
        assert!(!message.contains('\n'));
        let message = parse(message);
        assert_eq!(message.priority, 10 * 8 + 2);
        assert_eq!(message.time, "2026-11-02T10:00:00.0Z");
        assert_eq!(message.app_name, "groundtrail");
        let number = format!("{n}");
        assert_eq!(
            (message.parameter("alert_id"), message.parameter("revision")),
            (Some(&*number), Some("1"))
        );
        let short = if text.len() > 1_000 { "…" } else { "]\" \\\\" };
        let rule = message.parameter("rule").unwrap();
        assert!(rule.ends_with(short), "{rule}");
        let is_whole = message.body["message"].as_str() == Some(text.as_str());
        assert!(is_whole || message.body["groundtrail"]["alert"]["is_shortened"] == true, "{text:?}");
    }
}

#[test]
fn a_server_that_hangs_up_is_connected_to_again() {
    let (address, came) = stream_server(1);
    let mut scene = Scene::new(&syslog(&address, ""));
    for n in 0..5 {
        scene.tell(&[change(&n.to_string(), 1, Severity::Low, "")]);
        wait_for("it", || came.lock().unwrap().len() > n);
        // Syslog says nothing back: that the other end has gone is known once word of it has come.
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_too_long_for_a_server_is_sent_in_short() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let mut scene = Scene::new(&syslog(&address, "max_message = \"2KiB\""));
    let mut long = change("a", 1, Severity::Medium, &"m".repeat(5_000));
    long.document["groundtrail"]["alert"]["evidence"] = json!([{"event": {"message": "x".repeat(90_000)}}]);
    scene.tell(&[long, change("b", 1, Severity::Low, "brief")]);
    let mut buffer = vec![0; 70_000];
    let mut read = || {
        let n = socket.recv(&mut buffer).unwrap();
        (n, parse(std::str::from_utf8(&buffer[..n]).unwrap()))
    };
    let (n, message) = read();
    assert!(n <= 2_048, "{n}");
    assert_eq!(message.body["groundtrail"]["alert"]["is_shortened"], true);
    assert_eq!(message.body["groundtrail"]["alert"]["id"], "a");
    assert!(message.body["message"].as_str().unwrap().starts_with("mmmm"));
    let (_, message) = read();
    assert_eq!(message.body["message"], "brief");
    assert_eq!(message.priority, 16 * 8 + 5);
}

#[test]
fn the_journal_gets_fields_that_no_text_can_forge() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("journal")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let sink = format!("[[sink]]\nname = \"journal\"\ntype = \"journald\"\nsocket = \"journal\"\n{QUICK}");
    let mut scene = Scene::within(folder, &sink);
    let forged = "first\nPRIORITY=0\nGROUNDTRAIL_ALERT_ID=forged";
    let mut huge = change("b", 1, Severity::Low, "huge");
    huge.document["groundtrail"]["alert"]["evidence"] = json!([{"event": {"message": "x".repeat(400_000)}}]);
    scene.tell(&[change("a", 2, Severity::High, forged), huge]);
    let mut buffer = vec![0; 300_000];
    let mut read = || {
        let n = socket.recv(&mut buffer).unwrap();
        let mut fields = std::collections::BTreeMap::new();
        let mut rest = &buffer[..n];
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let name = String::from_utf8(rest[..at].to_vec()).unwrap();
            let (length, after) = rest[at + 1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let value = String::from_utf8(after[..length].to_vec()).unwrap();
            assert_eq!(after[length], b'\n');
            assert!(fields.insert(name, value).is_none());
            rest = &after[length + 1..];
        }
        fields
    };
    let fields = read();
    assert_eq!(fields["MESSAGE"], forged);
    assert_eq!((&*fields["PRIORITY"], &*fields["GROUNDTRAIL_ALERT_ID"]), ("3", "a"));
    assert_eq!((&*fields["SYSLOG_IDENTIFIER"], &*fields["GROUNDTRAIL_REVISION"]), ("groundtrail", "2"));
    let alert: Value = serde_json::from_str(&fields["GROUNDTRAIL_ALERT"]).unwrap();
    assert_eq!(alert["message"], forged);
    let fields = read();
    let alert: Value = serde_json::from_str(&fields["GROUNDTRAIL_ALERT"]).unwrap();
    assert_eq!(
        (&alert["message"], &alert["groundtrail"]["alert"]["is_shortened"]),
        (&json!("huge"), &json!(true))
    );
    wait_for("word of both", || scene.look("journal").n_delivered == 2);
}

#[test]
fn a_unix_socket_takes_syslog_and_one_that_comes_later_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut scene = Scene::within(folder, &syslog("unix:log", ""));
    scene.tell(&[change("a", 1, Severity::Low, "told")]);
    wait_for("a failure", || scene.look("syslog").n_retried > 0);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut buffer = vec![0; 70_000];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(parse(std::str::from_utf8(&buffer[..n]).unwrap()).parameter("alert_id"), Some("a"));
}

#[test]
fn tls_is_held_to_the_authority_and_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), signed.cert.pem()).unwrap();
    let (address, came) = tls_server(&signed);
    let port = address.rsplit(':').next().unwrap();
    let (right, wrong) = (format!("tls://localhost:{port}"), format!("tls://127.0.0.1:{port}"));
    let sinks = syslog(&right, "ca = \"ca.pem\"")
        + &syslog(&wrong, "ca = \"ca.pem\"").replace("name = \"syslog\"", "name = \"wrong\"");
    let mut scene = Scene::within(folder, &sinks);
    scene.tell(&[change("a", 1, Severity::Low, "told")]);
    wait_for("it", || came.lock().unwrap().len() == 1);
    wait_for("a complaint", || scene.look("wrong").failing_since_ms.is_some());
    let reason = scene.look("wrong").reason;
    assert!(reason.contains("no TLS with 127.0.0.1"), "{reason}");
    assert_eq!(scene.look("wrong").n_delivered, 0);
}

fn tls_server(signed: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (String, Came) {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let came = Came::default();
    let (held, config) = (Arc::clone(&came), Arc::new(config));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (held, config) = (Arc::clone(&held), Arc::clone(&config));
            thread::spawn(move || {
                let mut session = tokio_rustls::rustls::ServerConnection::new(config).unwrap();
                let mut tls = tokio_rustls::rustls::Stream::new(&mut session, &mut stream);
                while let Some(message) = counted(&mut tls) {
                    held.lock().unwrap().push(message);
                }
            });
        }
    });
    (address, came)
}
