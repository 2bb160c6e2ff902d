use std::collections::HashMap;

use expect_test::{Expect, expect};
use sensor_ebpf::abi::exchange::{self as exchange_abi, Exchange, KEY_BYTES, LINE_BYTES, sign};
use sensor_ebpf::abi::exec::{Brief, ExecRecord};
use sensor_ebpf::abi::file::{File, op};
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::kind;
use sensor_ebpf::abi::text::{Text, Walk};
use serde_json::Value;

use super::*;
use crate::decode::tests::bytes_of;
use crate::process::procfs::Snapshot;

struct Names;

impl Lookups for Names {
    fn process(&mut self, _: Tgid) -> Option<Snapshot> {
        None
    }

    fn user(&mut self, uid: u32) -> Option<String> {
        HashMap::from([(0, "root"), (1000, "bob")]).get(&uid).map(|name| (*name).to_owned())
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        (gid == 0).then(|| "root".to_owned())
    }
}

fn enricher() -> Enricher {
    let facts = HostFacts {
        id: "i-0123456789abcdef0".into(),
        name: "web".into(),
        hostname: "ip-10-0-0-7".into(),
        boot_id: "b".into(),
        architecture: "x86_64".into(),
        kernel: "6.12".into(),
        instance_id: Some("i-0123456789abcdef0".into()),
        account: Some("111122223333".into()),
        role: Some("web-role".into()),
        ..HostFacts::default()
    };
    Enricher::new(
        Arc::new(facts),
        Clock::at_offset(1_700_000_000_000_000_000),
        EnvAllow::default(),
        Caps { max_processes: 1000, max_bytes: 1 << 20 },
    )
}

fn abi_key(tgid: u32, start_boot_ns: u64) -> header::Key {
    header::Key { start_boot_ns, tgid, _pad: 0 }
}

fn head(kind: u32, boot_ns: u64, process: header::Key, parent: header::Key) -> Header {
    Header {
        kind,
        size: 0,
        flags: 0,
        tid: process.tgid,
        boot_ns,
        process,
        parent,
        cgroup_id: 1,
        uid: 1000,
        gid: 1000,
        euid: 0,
        egid: 0,
        suid: 0,
        sgid: 0,
        loginuid: UNSET,
        sessionid: UNSET,
        pid_ns: 1,
        mnt_ns: 1,
        net_ns: 1,
        ns_tgid: process.tgid,
        sid: 1,
        pgid: 1,
        tty_major: 136,
        tty_minor: 2,
        comm: [0; 16],
    }
}

fn text<const N: usize>(value: &str) -> Text<N> {
    let mut bytes = [0; N];
    bytes[..value.len()].copy_from_slice(value.as_bytes());
    Text { len: value.len() as u32, _pad: 0, bytes }
}

fn walk<const N: usize>(path: &str) -> Walk<N> {
    let mut bytes = [0; N];
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).rev().collect();
    let joined: String = names.iter().map(|name| format!("{name}\0")).collect();
    bytes[..joined.len()].copy_from_slice(joined.as_bytes());
    Walk { len: joined.len() as u32, depth: names.len() as u32, bytes }
}

/// An exec: path as given, mapped binary, NUL-separated arguments and environment.
fn exec(head: Header, filename: &str, exe: &str, args: &str, env: &str) -> Vec<u8> {
    let mut capture = [0xee; 1024];
    capture[..args.len() + env.len()].copy_from_slice(format!("{args}{env}").as_bytes());
    let exec = Exec {
        header: Header { kind: kind::EXEC, ..head },
        exe_inode: 1,
        exe_dev: 1,
        exe_nlink: 1,
        exe_mode: 0o100_755,
        args_len: args.len() as u32,
        env_len: env.len() as u32,
        captured: (args.len() + env.len()) as u32,
        gaps: 0,
        cap_effective: 0,
        cap_permitted: 0,
        filename: text(filename),
        interp: text(exe),
        exe: walk(exe),
        cwd: walk("/home/bob"),
        cgroup: walk("/system.slice"),
    };
    bytes_of(&ExecRecord { exec, capture })
}

fn connect(head: Header, ip: [u8; 4], port: u16) -> Vec<u8> {
    let mut mapped = [0; 16];
    mapped[10..12].fill(0xff);
    mapped[12..].copy_from_slice(&ip);
    bytes_of(&Connect {
        header: Header { kind: kind::CONNECT, ..head },
        family: 10,
        protocol: 6,
        source_port: 0,
        destination_port: port,
        source: [0; 16],
        destination: mapped,
        cookie: 9,
        old_state: 7,
        new_state: 2,
        origin: 1,
        error: 0,
    })
}

/// A request, or with a key the answer to it.
fn exchange(ip: [u8; 4], request: &str, signs: u32, handed_out: Option<&str>) -> Vec<u8> {
    let (mut destination, mut line, mut key) = ([0; 16], [0; LINE_BYTES], [0; KEY_BYTES]);
    destination[..4].copy_from_slice(&ip);
    line[..request.len()].copy_from_slice(request.as_bytes());
    let id = handed_out.unwrap_or_default();
    key[..id.len()].copy_from_slice(id.as_bytes());
    bytes_of(&Exchange {
        header: Header { kind: kind::EXCHANGE, ..head(0, 2_250_000_000, AWS, SHELL) },
        destination,
        family: 2,
        destination_port: 80,
        op: if handed_out.is_some() { exchange_abi::op::CREDENTIALS } else { exchange_abi::op::REQUEST },
        signs,
        line_len: request.len() as u32,
        cookie: 9,
        line,
        key,
        key_len: id.len() as u32,
        _pad: 0,
    })
}

fn event(enricher: &mut Enricher, bytes: &[u8]) -> Option<Value> {
    let record = decode::decode(bytes).expect("a record");
    enricher.record(&record, &mut Names, |event| serde_json::to_value(event).expect("serializable"))
}

fn check(value: &Value, expect: &Expect) {
    expect.assert_eq(&format!("{value:#}\n"));
}

const SHELL: header::Key = header::Key { start_boot_ns: 1_000_000_000, tgid: 10, _pad: 0 };
const AWS: header::Key = header::Key { start_boot_ns: 2_000_000_000, tgid: 11, _pad: 0 };
const NONE: header::Key = header::Key { start_boot_ns: 0, tgid: 0, _pad: 0 };

/// A process of `/proc` with a name alone.
pub(crate) fn snapshot(tgid: u32, start_ticks: u64, name: &str) -> Snapshot {
    let image = Image { name: name.into(), args: [name].iter().collect(), ..Image::default() };
    Snapshot {
        tgid: Tgid(tgid),
        start_ticks,
        parent: None,
        image,
        credentials: None,
        tty: None,
        cgroup: None,
    }
}

/// A shell that runs the AWS CLI, which connects and ends.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let exit = Exit { header: head(kind::EXIT, 3_000_000_000, AWS, SHELL), status: 0, _pad: 0 };
    let [shell, fork, exec] = aws_records();
    let attempt = connect(head(0, 2_200_000_000, AWS, SHELL), [10, 0, 0, 1], 443);
    let task = exchange([169, 254, 169, 254], "GET /v2/credentials/hush-hush HTTP/1.1", 0, None);
    vec![shell, fork, exec, attempt, task, bytes_of(&exit)]
}

/// Something of no tree that is looked at.
pub(crate) fn stranger() -> Vec<u8> {
    exec(
        head(0, 2_050_000_000, abi_key(99, 2_050_000_000), NONE),
        "/bin/stranger",
        "/bin/stranger",
        "stranger\0",
        "",
    )
}

/// A shell whose arguments hold a secret.
pub(crate) fn telltale() -> Vec<u8> {
    let args = "bash\0-c\0AWS_SECRET_ACCESS_KEY=hush aws s3 ls\0PGPASSWORD=hush\0";
    // A child of the first process opens a session, whose leader is told again on everything below.
    exec(head(0, 1_100_000_000, SHELL, abi_key(1, 1)), "/bin/bash", "/usr/bin/bash", args, "")
}

fn aws_records() -> [Vec<u8>; 3] {
    let fork =
        Fork { header: head(kind::FORK, 2_000_000_000, AWS, SHELL), caller: SHELL, caller_tid: 10, _pad: 0 };
    let args = "/usr/bin/python3\0/usr/local/bin/aws\0s3\0ls\0\0";
    let env = "PATH=/bin\0AWS_SECRET_ACCESS_KEY=hush\0AWS_PROFILE=dev\0";
    let head = |at, key, parent| head(0, at, key, parent);
    [
        exec(head(1_100_000_000, SHELL, NONE), "/bin/bash", "/usr/bin/bash", "-bash\0", ""),
        bytes_of(&fork),
        exec(head(2_100_000_000, AWS, SHELL), "/usr/local/bin/aws", "/usr/bin/python3.11", args, env),
    ]
}

/// A shell that forks and runs the AWS CLI, a Python script.
fn aws(enricher: &mut Enricher) -> Value {
    let events = aws_records().map(|bytes| event(enricher, &bytes).expect("an event"));
    let [_, _, exec] = events;
    exec
}

#[test]
fn a_script_has_its_own_name_and_its_interpreters_executable() {
    let event = aws(&mut enricher());
    check(
        &event["process"],
        &expect![[r#"
            {
              "Ext": {
                "ancestry": [
                  "KvhYkE3EF4COXI6E834nIA"
                ]
              },
              "args": [
                "/usr/bin/python3",
                "/usr/local/bin/aws",
                "s3",
                "ls",
                ""
              ],
              "args_count": 5,
              "command_line": "/usr/bin/python3 /usr/local/bin/aws s3 ls ",
              "entity_id": "AFAPGaM0jp/uep+3eJ565g",
              "env_vars": [
                "AWS_PROFILE=dev"
              ],
              "executable": "/usr/bin/python3.11",
              "interactive": true,
              "name": "aws",
              "parent": {
                "args": [
                  "-bash"
                ],
                "args_count": 1,
                "command_line": "-bash",
                "entity_id": "KvhYkE3EF4COXI6E834nIA",
                "executable": "/usr/bin/bash",
                "name": "bash",
                "pid": 10,
                "start": "2023-11-14T22:13:21.000000000Z",
                "working_directory": "/home/bob"
              },
              "pid": 11,
              "real_group": {
                "id": "1000"
              },
              "real_user": {
                "id": "1000",
                "name": "bob"
              },
              "saved_group": {
                "id": "0",
                "name": "root"
              },
              "saved_user": {
                "id": "0",
                "name": "root"
              },
              "start": "2023-11-14T22:13:22.000000000Z",
              "thread": {
                "id": 11
              },
              "tty": {
                "char_device": {
                  "major": 136,
                  "minor": 2
                },
                "name": "pts/2"
              },
              "working_directory": "/home/bob"
            }
        "#]],
    );
    check(
        &event["groundtrail"],
        &expect![[r#"
        {
          "host": {
            "role": "web-role"
          },
          "process": {
            "ancestors": [
              {
                "command_line": "-bash",
                "entity_id": "KvhYkE3EF4COXI6E834nIA",
                "executable": "/usr/bin/bash",
                "name": "bash",
                "pid": 10
              }
            ],
            "cgroup_path": "/system.slice",
            "exec_path": "/usr/local/bin/aws"
          }
        }
    "#]],
    );
    assert!(!event.to_string().contains("hush"));
}

#[test]
fn a_connection_carries_its_process_and_shows_a_mapped_address_as_ipv4() {
    let mut enricher = enricher();
    let exec = aws(&mut enricher);
    let event = event(&mut enricher, &connect(head(0, 2_200_000_000, AWS, SHELL), [169, 254, 169, 254], 80))
        .expect("an event");
    for part in ["entity_id", "name", "executable", "args", "command_line", "parent", "Ext", "entry_leader"] {
        assert_eq!(event["process"][part], exec["process"][part], "{part}");
    }
    assert_eq!(event["groundtrail"]["process"]["ancestors"], exec["groundtrail"]["process"]["ancestors"]);
    let mut rest = event;
    rest.as_object_mut()
        .expect("an object")
        .retain(|key, _| !["process", "groundtrail"].contains(&key.as_str()));
    check(
        &rest,
        &expect![[r#"
        {
          "@timestamp": "2023-11-14T22:13:22.200000000Z",
          "agent": {
            "id": "i-0123456789abcdef0",
            "type": "groundtrail-sensor",
            "version": "0.1.0"
          },
          "cloud": {
            "account": {
              "id": "111122223333"
            },
            "instance": {
              "id": "i-0123456789abcdef0"
            },
            "provider": "aws"
          },
          "data_stream": {
            "dataset": "endpoint.events.network",
            "namespace": "default",
            "type": "logs"
          },
          "destination": {
            "address": "169.254.169.254",
            "ip": "169.254.169.254",
            "port": 80
          },
          "ecs": {
            "version": "8.17.0"
          },
          "event": {
            "action": "connection_attempted",
            "category": [
              "network"
            ],
            "dataset": "endpoint.events.network",
            "id": "t3PnXwZxbIHjhU8UO9C1mg",
            "kind": "event",
            "module": "endpoint",
            "outcome": "unknown",
            "sequence": 0,
            "type": [
              "start"
            ]
          },
          "group": {
            "id": "0",
            "name": "root"
          },
          "host": {
            "architecture": "x86_64",
            "boot": {
              "id": "b"
            },
            "hostname": "ip-10-0-0-7",
            "id": "i-0123456789abcdef0",
            "name": "web",
            "os": {
              "kernel": "6.12",
              "type": "linux"
            }
          },
          "network": {
            "direction": "egress",
            "iana_number": "6",
            "transport": "tcp",
            "type": "ipv4"
          },
          "user": {
            "id": "0",
            "name": "root"
          }
        }
    "#]],
    );
}

#[test]
fn exit_tells_the_code_once() {
    let mut enricher = enricher();
    aws(&mut enricher);
    let exit =
        |status| bytes_of(&Exit { header: head(kind::EXIT, 3_000_000_000, AWS, SHELL), status, _pad: 0 });
    let killed = event(&mut enricher, &exit(9)).expect("an event");
    assert_eq!(killed["process"]["exit_code"], 137);
    assert_eq!(killed["process"]["end"], "2023-11-14T22:13:23.000000000Z");
    assert_eq!(killed["event"]["type"][0], "end");
    assert!(event(&mut enricher, &exit(9)).is_none());
}

#[test]
fn a_result_is_an_event_of_its_own_and_leaves_the_process_as_it_is() {
    let mut enricher = enricher();
    aws(&mut enricher);
    let attempt = connect(head(0, 2_200_000_000, AWS, SHELL), [10, 0, 0, 1], 443);
    let tell = |enricher: &mut Enricher, new_state: u32, error: u32| {
        let mut result = decode::tests::read_back::<Connect>(&attempt);
        (result.header.kind, result.header.uid) = (kind::RESULT, 77);
        (result.old_state, result.new_state, result.error) = (2, new_state, error);
        let told = event(enricher, &bytes_of(&result)).expect("an event");
        assert_eq!(told["process"]["name"], "aws");
        assert_ne!(told["process"]["real_user"]["id"], "77");
        assert_eq!(told["event"]["action"], "connection_result");
        [told["event"]["outcome"].clone(), told["error"]["code"].clone()]
    };
    assert_eq!(tell(&mut enricher, 1, 0), [Value::from("success"), Value::Null]);
    assert_eq!(tell(&mut enricher, 7, 111), [Value::from("failure"), Value::from("ECONNREFUSED")]);
    assert_eq!(tell(&mut enricher, 7, 0), [Value::from("failure"), Value::Null]);
    assert_eq!(tell(&mut enricher, 7, 9999), [Value::from("failure"), Value::from("9999")]);
    let told = event(&mut enricher, &attempt).expect("an event");
    assert_eq!([&told["event"]["outcome"], &told["event"]["action"]], ["unknown", "connection_attempted"]);
}

#[test]
fn an_exec_tells_what_its_program_may_do() {
    let mut enricher = enricher();
    let [_, _, exec] = aws_records();
    let mut record = decode::tests::read_back::<Exec>(&exec[..size_of::<Exec>()]);
    (record.header.euid, record.cap_effective, record.cap_permitted) = (1000, 1 << 13, 1 << 13);
    let told =
        event(&mut enricher, &[&bytes_of(&record), &exec[size_of::<Exec>()..]].concat()).expect("an event");
    assert_eq!(
        told["process"]["thread"]["capabilities"],
        serde_json::json!({"effective": ["CAP_NET_RAW"], "permitted": ["CAP_NET_RAW"]})
    );
}

#[test]
fn a_word_with_the_metadata_service_is_told_in_https_own_terms() {
    let mut enricher = enricher();
    let exec = aws(&mut enricher);
    let imds = [169, 254, 169, 254];
    let line = "GET /latest/meta-data/iam/security-credentials/web HTTP/1.1";
    let asked = event(&mut enricher, &exchange(imds, line, sign::TOKEN, None)).expect("an event");
    assert_eq!(asked["process"]["entity_id"], exec["process"]["entity_id"]);
    let of = |event: &Value, parts: &[&str]| -> Value {
        parts
            .iter()
            .map(|part| ((*part).to_owned(), event[part].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    check(
        &of(&asked, &["destination", "http", "url", "network"]),
        &expect![[r#"
        {
          "destination": {
            "address": "169.254.169.254",
            "ip": "169.254.169.254",
            "port": 80
          },
          "http": {
            "request": {
              "method": "GET"
            },
            "version": "1.1"
          },
          "network": {
            "direction": "egress",
            "iana_number": "6",
            "protocol": "http",
            "transport": "tcp",
            "type": "ipv4"
          },
          "url": {
            "path": "/latest/meta-data/iam/security-credentials/web",
            "scheme": "http"
          }
        }
    "#]],
    );
    check(
        &asked["event"],
        &expect![[r#"
        {
          "action": "metadata_request",
          "category": [
            "network"
          ],
          "dataset": "endpoint.events.network",
          "id": "rtGtSaFr+yIChGv/yEA3Cw",
          "kind": "event",
          "module": "endpoint",
          "outcome": "unknown",
          "sequence": 0,
          "type": [
            "protocol"
          ]
        }
    "#]],
    );
    assert_eq!(
        asked["groundtrail"]["imds"],
        serde_json::json!({"service": "ec2", "version": "2.0", "token_header": true})
    );
    let answer = exchange(imds, line, sign::TOKEN, Some("ASIAEXAMPLE000000001"));
    let told = event(&mut enricher, &answer).expect("an event");
    assert_eq!(told["event"]["action"], "metadata_credentials");
    assert_eq!(told["url"]["path"], asked["url"]["path"]);
    assert_eq!(told["groundtrail"]["link"]["access_key_id"], serde_json::json!(["ASIAEXAMPLE000000001"]));
    assert_ne!(told["event"]["id"], asked["event"]["id"]);
}

#[test]
fn what_is_not_known_of_a_request_is_not_claimed() {
    let mut enricher = enricher();
    aws(&mut enricher);
    let mut check = |ip, line: &str, signs, path: &str, expect: Value| {
        let event = event(&mut enricher, &exchange(ip, line, signs, None)).expect("an event");
        assert_eq!((&event["url"]["path"], &event["groundtrail"]["imds"]), (&path.into(), &expect), "{line}");
    };
    let (ec2, ecs, eks) = ([169, 254, 169, 254], [169, 254, 170, 2], [169, 254, 170, 23]);
    let v1 = serde_json::json!({"service": "ec2", "version": "1.0", "token_header": false});
    check(ec2, "GET /latest/ HTTP/1.1", 0, "/latest/", v1.clone());
    check(ec2, "GET http://169.254.169.254/latest/ HTTP/1.1", 0, "/latest/", v1.clone());
    check(ec2, "GET http://169.254.169.254", 0, "/", v1);
    let cut = serde_json::json!({"service": "ec2"});
    check(ec2, "GET /a HTTP/1.1", sign::HEADERS_CUT, "/a", cut);
    let opened = serde_json::json!({
        "service": "ec2", "version": "2.0", "token_header": false, "token_ttl_header": true,
        "query_omitted": true, "path_truncated": true, "pipelined": true,
    });
    let all = sign::TOKEN_TTL | sign::QUERY | sign::LINE_CUT | sign::MORE;
    check(ec2, "PUT /latest/api/token HTTP/1.1", all, "/latest/api/token", opened);
    let task = serde_json::json!({"service": "ecs", "token_header": false});
    check(ecs, "GET /v2/credentials/0b1c HTTP/1.1", 0, "/v2/credentials/***", task.clone());
    check(ecs, "GET /v2/metadata HTTP/1.1", 0, "/v2/metadata", task);
    let pod = serde_json::json!({"service": "eks", "token_header": false});
    check(eks, "GET /v1/credentials HTTP/1.1", 0, "/v1/credentials", pod);
}

fn file(op: u32, path: &str, old_path: &str, flags: u32) -> Vec<u8> {
    let header = Header { kind: kind::FILE, flags, ..head(0, 2_200_000_000, AWS, SHELL) };
    let old_path =
        if old_path.is_empty() { Walk { len: 0, depth: 0, bytes: [0; 1024] } } else { walk(old_path) };
    bytes_of(&File { header, inode: 7, dev: 1, mode: 0o100_644, op, _pad: 0, path: walk(path), old_path })
}

#[test]
fn what_happens_to_a_watched_file_is_told_as_elastic_defend_does() {
    let mut enricher = enricher();
    aws(&mut enricher);
    let mut told = |op, path: &str, old_path: &str, flags| {
        let event = event(&mut enricher, &file(op, path, old_path, flags))?;
        assert_eq!(event["data_stream"]["dataset"], "endpoint.events.file");
        assert_eq!(
            (&event["event"]["category"][0], &event["process"]["name"]),
            (&"file".into(), &"aws".into())
        );
        let [action, kind] =
            [&event["event"]["action"], &event["event"]["type"][0]].map(|text| text.to_string());
        Some((
            format!("{action} {kind}").replace('"', ""),
            event["file"].clone(),
            event["groundtrail"]["file"].clone(),
        ))
    };
    let job = "/etc/cron.d/job.sh";
    let doc = serde_json::json!({
        "path": job, "name": "job.sh", "extension": "sh", "type": "file", "inode": "7"
    });
    assert_eq!(told(op::CREATE, job, "", 0), Some(("creation creation".into(), doc.clone(), Value::Null)));
    assert_eq!(told(op::DELETE, job, "", 0), Some(("deletion deletion".into(), doc.clone(), Value::Null)));
    assert_eq!(told(op::WRITE, job, "", 0), Some(("modification change".into(), doc, Value::Null)));
    let (what, doc, _) = told(op::RENAME, "/tmp/x", job, 0).expect("what went is watched too");
    assert_eq!(what, "rename change");
    assert_eq!(
        (&doc["path"], &doc["Ext"]["original"]),
        (&"/tmp/x".into(), &serde_json::json!({ "path": job, "name": "job.sh", "extension": "sh" }))
    );
    let (_, doc, _) = told(op::LINK, job, "/tmp/x", 0).expect("watched");
    assert_eq!((&doc["target_path"], &doc["Ext"]), (&"/tmp/x".into(), &Value::Null));
    let (what, ..) = told(op::READ, "/home/bob/.aws/credentials", "", 0).expect("watched");
    assert_eq!(what, "open access");
    let (_, doc, own) =
        told(op::DELETE, "/bob/.ssh/authorized_keys", "", flag::PATH_TRUNCATED).expect("by its end");
    assert_eq!((&doc["path"], &own["path_truncated"]), (&"…/bob/.ssh/authorized_keys".into(), &true.into()));
    for (op, path) in [(op::READ, job), (op::CREATE, "/tmp/job"), (op::LINK, "/tmp/x"), (99, job)] {
        assert_eq!(told(op, path, job, 0), None, "{op} {path}");
    }
}

#[test]
fn a_taken_connection_comes_from_its_peer() {
    let mut enricher = enricher();
    aws(&mut enricher);
    let mut accept =
        decode::tests::read_back::<Connect>(&connect(head(0, 5, AWS, SHELL), [10, 0, 0, 9], 40_000));
    accept.header.kind = kind::ACCEPT;
    (accept.family, accept.source_port) = (2, 22);
    accept.source[..4].copy_from_slice(&[10, 0, 0, 1]);
    accept.destination[..4].copy_from_slice(&[10, 0, 0, 9]);
    let told = event(&mut enricher, &bytes_of(&accept)).expect("an event");
    assert_eq!((&told["source"]["ip"], &told["source"]["port"]), (&"10.0.0.9".into(), &40_000.into()));
    assert_eq!((&told["destination"]["ip"], &told["destination"]["port"]), (&"10.0.0.1".into(), &22.into()));
    assert_eq!(told["network"]["direction"], "ingress");
    assert_eq!([&told["event"]["action"], &told["event"]["outcome"]], ["connection_accepted", "success"]);
}

#[test]
fn two_connections_of_one_moment_have_two_ids() {
    let mut enricher = enricher();
    let ids: Vec<Value> = [80, 81]
        .iter()
        .map(|port| {
            event(&mut enricher, &connect(head(0, 5, AWS, SHELL), [10, 0, 0, 1], *port))
                    .expect("an event")["event"]["id"]
                    .clone()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_program_run_by_descriptor_is_named_by_its_file() {
    let check = |exec_path: &str, exe: &str, flags: u32, expect: &str| {
        let mut head = head(0, 5, abi_key(77, 4), NONE);
        head.comm[..4].copy_from_slice(b"comm");
        head.flags = flags;
        let event = event(&mut enricher(), &exec(head, exec_path, exe, "x\0", "")).expect("an event");
        assert_eq!(event["process"]["name"], expect, "{exec_path}");
        assert_eq!(event["groundtrail"]["process"]["exec_path"], exec_path);
        event
    };
    let memfd = check("/dev/fd/3", "memfd:evil", flag::EXE_DETACHED, "memfd:evil");
    assert_eq!(memfd["process"]["executable"], "memfd:evil");
    check("/proc/self/fd/3", "/usr/bin/aws", 0, "aws");
    check("/dev/fd/3/a-name-of-more-than-fifteen", "/tmp/x", 0, "a-name-of-more-than-fifteen");
    check("/dev/fd/3", "/usr/bin/python3.11", flag::SCRIPT, "comm");
    check("/dev/fd/3", "", flag::EXE_TRUNCATED, "comm");
    check("/tmp/cut-na", "/tmp/cut-name", flag::FILENAME_TRUNCATED, "cut-name");
}

#[test]
fn cut_arguments_are_not_counted() {
    let run = |flags| {
        let head = Header { flags, ..head(0, 5, abi_key(77, 4), NONE) };
        event(&mut enricher(), &exec(head, "/bin/x", "/bin/x", "x\0y\0", "")).expect("an event")
    };
    assert_eq!(run(0)["process"]["args_count"], 2);
    let cut = run(flag::ARGS_TRUNCATED);
    assert_eq!(cut["process"]["args_count"], Value::Null);
    assert_eq!(cut["groundtrail"]["process"]["args_truncated"], true);
}

#[test]
fn a_secret_among_the_arguments_is_masked_wherever_they_are_told() {
    let mut enricher = enricher();
    let told = event(&mut enricher, &telltale()).expect("an event");
    assert_eq!(
        told["process"]["args"],
        serde_json::json!(["bash", "-c", "AWS_SECRET_ACCESS_KEY=*** aws s3 ls", "PGPASSWORD=***"])
    );
    assert_eq!(told["groundtrail"]["process"]["redacted"], true);
    assert_eq!(told["process"]["entry_leader"]["args"], told["process"]["args"]);
    let child = exec(head(0, 2_100_000_000, AWS, SHELL), "/bin/true", "/bin/true", "true\0", "");
    let child = event(&mut enricher, &child).expect("an event");
    assert_eq!(child["process"]["parent"]["args"], told["process"]["args"]);
    assert_eq!(child["groundtrail"]["process"]["redacted"], Value::Null);
    let ancestor = &child["groundtrail"]["process"]["ancestors"][0];
    assert_eq!(ancestor["command_line"], told["process"]["command_line"]);
    assert!(!format!("{told}{child}").contains("hush"));
}

#[test]
fn the_kernels_own_connections_are_marked() {
    let head = Header { flags: flag::KERNEL_THREAD, ..head(0, 5, abi_key(77, 4), NONE) };
    let event = event(&mut enricher(), &connect(head, [10, 0, 0, 1], 443)).expect("an event");
    assert_eq!(event["groundtrail"]["process"]["is_kernel_thread"], true);
}

/// `/proc` with one process in it.
struct Proc(Option<Snapshot>);

impl Lookups for Proc {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        self.0.clone().filter(|process| process.tgid == tgid)
    }

    fn user(&mut self, _: u32) -> Option<String> {
        None
    }

    fn group(&mut self, _: u32) -> Option<String> {
        None
    }
}

/// The event of an exec that was cut, of a process that started at tick 400, with what `/proc` says of it by then.
fn cut(flags: u32, filename: &str, exe: &str, env: &str, proc: Option<Image>) -> Value {
    let head = Header { flags, ..head(0, 5_000_000_000, abi_key(77, 4_000_000_000), NONE) };
    let bytes = exec(head, filename, exe, "tool\0x\0", env);
    let mut proc = Proc(proc.map(|image| Snapshot { image, ..snapshot(77, 400, "tool") }));
    let record = decode::decode(&bytes).expect("a record");
    let json = |event: Event<'_>| serde_json::to_value(event).expect("serializable");
    enricher().record(&record, &mut proc, json).expect("an event")
}

#[test]
fn a_cut_executable_is_completed_by_proc_or_by_its_given_name() {
    let check = |flags: u32, given: &str, proc: Option<&str>, expect: &str, is_cut: bool| {
        let proc = proc.map(|path| Image { executable: Some(path.into()), ..Image::default() });
        let event = cut(flag::EXE_TRUNCATED | flags, given, "/a/a/tool", "", proc);
        assert_eq!(event["process"]["executable"], expect, "{given}");
        let cut = &event["groundtrail"]["process"]["executable_truncated"];
        assert_eq!(cut, &if is_cut { Value::Bool(true) } else { Value::Null }, "{given}");
    };
    check(0, "../a/tool", Some("/tmp/rev/a/a/tool"), "/tmp/rev/a/a/tool", false);
    check(0, "/tmp/./b/../rev/a/a/tool", None, "/tmp/rev/a/a/tool", false);
    check(0, "../a/a/tool", None, "/home/a/a/tool", false);
    // Another name of the same file, another program by now, a cut name, and a directory that is cut itself.
    check(0, "/tmp/link", None, "…/a/a/tool", true);
    check(0, "../a/tool", Some("/usr/bin/true"), "…/a/a/tool", true);
    check(flag::FILENAME_TRUNCATED, "/x/a/a/tool", None, "…/a/a/tool", true);
    check(flag::CWD_TRUNCATED, "a/a/tool", None, "…/a/a/tool", true);
    // A script's own path says nothing of its interpreter.
    check(flag::SCRIPT, "/x/script", None, "/a/a/tool", false);
}

#[test]
fn a_cut_directory_is_completed_by_proc_and_completes_the_executable() {
    let proc = |cwd: &str| Some(Image { working_directory: Some(cwd.into()), ..Image::default() });
    let flags = flag::EXE_TRUNCATED | flag::CWD_TRUNCATED;
    let event = cut(flags, "../a/a/tool", "/a/a/tool", "", proc("/tmp/home/bob"));
    assert_eq!(event["process"]["working_directory"], "/tmp/home/bob");
    assert_eq!(event["process"]["executable"], "/tmp/home/a/a/tool");
    let event = cut(flags, "../a/a/tool", "/a/a/tool", "", proc("/elsewhere"));
    assert_eq!(event["process"]["working_directory"], "…/home/bob");
}

#[test]
fn a_child_that_is_gone_ran_where_its_parent_is() {
    let check = |parent_ticks: u64, expect: &str| {
        let flags = flag::EXE_TRUNCATED | flag::CWD_TRUNCATED;
        let head = Header { flags, ..head(0, 5, abi_key(77, 4_000_000_000), abi_key(70, 3_000_000_000)) };
        let image = Image { working_directory: Some("/tmp/home/bob".into()), ..Image::default() };
        let mut proc = Proc(Some(Snapshot { image, ..snapshot(70, parent_ticks, "sh") }));
        let bytes = exec(head, "../a/a/tool", "/a/a/tool", "tool\0", "");
        let record = decode::decode(&bytes).expect("a record");
        let json = |event: Event<'_>| serde_json::to_value(event).expect("serializable");
        let event = enricher().record(&record, &mut proc, json).expect("an event");
        assert_eq!(event["process"]["executable"], expect);
    };
    check(300, "/tmp/home/a/a/tool");
    check(301, "…/a/a/tool");
}

#[test]
fn a_cut_environment_is_completed_while_the_same_program_runs() {
    let proc = |args: &[&str]| {
        Some(Image {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env_vars: vec!["AWS_ENDPOINT_URL=http://evil".into(), "AWS_PROFILE=dev".into()],
            ..Image::default()
        })
    };
    let run = |flags: u32, proc: Option<Image>| {
        let event = cut(flag::ENV_TRUNCATED | flags, "/bin/x", "/bin/x", "AWS_PROFILE=dev\0AWS_ENDPOI", proc);
        (event["process"]["env_vars"].clone(), event["groundtrail"]["process"]["env_truncated"] == true)
    };
    let whole = serde_json::json!(["AWS_PROFILE=dev", "AWS_ENDPOINT_URL=http://evil"]);
    let captured = serde_json::json!(["AWS_PROFILE=dev"]);
    assert_eq!(run(0, proc(&["tool", "x"])), (whole, false));
    assert_eq!(run(0, proc(&["other", "x"])), (captured.clone(), true));
    assert_eq!(run(0, None), (captured.clone(), true));
    assert_eq!(run(flag::DEGRADED, proc(&["tool", "x"])), (captured, true));
}

#[test]
fn variables_beyond_the_cap_are_told_of() {
    let many: String = (0..40).map(|n| format!("AWS_ENDPOINT_URL_{n}=\0")).collect();
    let event = cut(0, "/bin/x", "/bin/x", &many, None);
    assert_eq!(event["groundtrail"]["process"]["env_truncated"], Value::Null);
    let more: String = (0..65).map(|n| format!("AWS_ROLE_{n:02}=\0")).collect();
    let event = cut(0, "/bin/x", "/bin/x", &more, None);
    assert_eq!(event["groundtrail"]["process"]["env_truncated"], true);
}

#[test]
fn long_arguments_are_told_whole_once() {
    let mut enricher = enricher();
    // 5,000 arguments of one byte, in a capture of the largest size.
    let args = "x\0".repeat(5000);
    let record = exec(head(0, 1_100_000_000, SHELL, NONE), "/bin/bash", "/usr/bin/bash", "", "");
    let Ok(Record::Exec(mut fixed, _)) = decode::decode(&record) else { panic!("an exec") };
    (fixed.args_len, fixed.captured) = (args.len() as u32, args.len() as u32);
    let record = [bytes_of(&*fixed), args.into_bytes()].concat();
    let whole = event(&mut enricher, &record).expect("an event");
    assert_eq!(whole["process"]["args"].as_array().map(Vec::len), Some(5000));
    assert_eq!(whole["groundtrail"]["process"]["args_truncated"], Value::Null);

    let fork =
        Fork { header: head(kind::FORK, 2_000_000_000, AWS, SHELL), caller: SHELL, caller_tid: 10, _pad: 0 };
    let exit = Exit { header: head(kind::EXIT, 3_000_000_000, SHELL, NONE), status: 0, _pad: 0 };
    let check_cut = |process: &Value| {
        assert_eq!(process["args"].as_array().map(Vec::len), Some(MAX_REPEATED_ARGS / 2));
        assert_eq!(process["args_count"], 5000);
        assert_eq!(process["command_line"].as_str().map(str::len), Some(MAX_REPEATED_ARGS - 1));
    };
    for record in
        [bytes_of(&fork), connect(head(0, 2_200_000_000, SHELL, NONE), [10, 0, 0, 1], 443), bytes_of(&exit)]
    {
        let event = event(&mut enricher, &record).expect("an event");
        check_cut(&event["process"]);
        assert_eq!(event["groundtrail"]["process"]["args_truncated"], true);
    }
    let child = exec(head(0, 2_300_000_000, AWS, SHELL), "/bin/ls", "/bin/ls", "ls\0", "");
    let child = event(&mut enricher, &child).expect("an event");
    assert_eq!(child["process"]["args_count"], 1);
    assert_eq!(child["groundtrail"]["process"]["args_truncated"], Value::Null);
    // The shell is dead by now, and less of it is kept.
    assert_eq!(child["process"]["parent"]["args_count"], 5000);
    assert_eq!(child["process"]["parent"]["args"].as_array().map(Vec::len), Some(512));
}

#[test]
fn an_exec_that_came_as_a_header_keeps_its_lineage_and_says_what_it_lacks() {
    let mut enricher = enricher();
    event(&mut enricher, &exec(head(0, 1_100_000_000, SHELL, NONE), "/bin/bash", "/usr/bin/bash", "", ""));
    let mut header = head(kind::EXEC, 2_000_000_000, AWS, SHELL);
    header.flags = flag::HEADER_ONLY | flag::DEGRADED;
    header.comm[..3].copy_from_slice(b"aws");
    let told = event(&mut enricher, &bytes_of(&Brief { header })).expect("an event");
    assert_eq!(
        (told["event"]["action"].as_str(), told["process"]["name"].as_str()),
        (Some("exec"), Some("aws"))
    );
    assert_eq!(told["process"]["parent"]["name"], "bash");
    for gap in ["args_truncated", "env_truncated", "executable_truncated"] {
        assert_eq!(told["groundtrail"]["process"][gap], true, "{gap}");
    }
    assert_eq!(told["process"]["args_count"], Value::Null);
}
