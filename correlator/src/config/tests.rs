use super::*;
use expect_test::{Expect, expect};

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/groundtrail/groundtrail.toml"))
}

#[track_caller]
fn check_faults(text: &str, expect: Expect) {
    let shown = parse(text).expect_err("the text has faults").render(false);
    expect.assert_eq(&shown);
}

#[test]
fn an_empty_file_and_the_shipped_one_are_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse(&Config::default().to_toml()).unwrap(), Config::default());
    assert_eq!(parse(DEFAULT).unwrap(), Config::default());
}

#[test]
fn the_packaged_file_watches_the_sensor_of_its_host() {
    let config = parse(include_str!("../../../packaging/correlator/groundtrail.toml")).unwrap();
    assert_eq!(config.sources.len(), 1);
    assert!(config.store.is_some());
}

/// Comments of the shipped file that look like settings are settings: they must be accepted as they stand.
#[test]
fn every_example_of_the_shipped_file_is_accepted() {
    let uncommented: Vec<&str> = DEFAULT
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            _ => line,
        })
        .collect();
    let config = parse(&uncommented.join("\n")).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let mut read_back = parse(&config.to_toml()).unwrap_or_else(|error| panic!("{}", error.render(false)));
    read_back.exceptions[0].query_at = config.exceptions[0].query_at.clone();
    assert_eq!(read_back, config, "what `config show` prints reads back as the same");
    assert_eq!(config.sources.len(), 8);
    assert_eq!(config.known_endpoints.len(), 3);
    assert_eq!(config.exceptions.len(), 1);
    assert_eq!(config.exceptions[0].expires.map(|at| at.to_string()).as_deref(), Some("2030-01-01"));
    assert_eq!(config.output.file.map(|file| file.max_bytes), Some(64 * MIB));
    let (spelled, defaults) = (&config.sources[3], Source::new(config.sources[3].input.clone()));
    assert_eq!(spelled, &defaults, "the file states the defaults of a CloudTrail source");
}

#[test]
fn limits_are_set_and_kept_in_bounds() {
    let config = parse(
        "[store]\nmax_size = \"1GiB\"\n[limits]\nmemory = \"512MiB\"\nkeys = 5000\nkeys_per_rule = 100",
    )
    .unwrap();
    assert_eq!(config.max_store_bytes, Some(1 << 30));
    let expected =
        Limits { max_bytes: 512 * MIB, max_keys: 5_000, max_keys_per_rule: 100, ..Limits::default() };
    assert_eq!(config.limits, expected);
    check_faults(
        "[store]\nmax_size = \"1MiB\"\n[limits]\nmemory = \"1MiB\"\nkeys = 5\nkey = 3\n",
        expect![[r#"
            error: "max_size" is too little for a store
             --> /etc/groundtrail/groundtrail.toml:2:12
              |
            2 | max_size = "1MiB"
              |            ^^^^^^
              |
              = help: write "64MiB" or more

            error: "memory" is too little for a run
             --> /etc/groundtrail/groundtrail.toml:4:10
              |
            4 | memory = "1MiB"
              |          ^^^^^^
              |
              = help: write "64MiB" or more

            error: "keys" is out of bounds
             --> /etc/groundtrail/groundtrail.toml:5:8
              |
            5 | keys = 5
              |        ^
              |
              = help: write a number from 1000 to 100000000

            error: unknown key "key"
             --> /etc/groundtrail/groundtrail.toml:6:1
              |
            6 | key = 3
              | ^^^
              |
              = help: did you mean "keys"?"#]],
    );
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let config = parse("[store]\npath = \"state.db\"\n[rules]\npaths = [\"rules\", \"/abs\"]").unwrap();
    assert_eq!(config.store.as_deref(), Some(Path::new("/etc/groundtrail/state.db")));
    assert_eq!(config.rules.paths, [PathBuf::from("/etc/groundtrail/rules"), PathBuf::from("/abs")]);
}

#[test]
fn every_fault_is_shown_at_its_place_with_a_way_out() {
    check_faults(
        r#"[stor]
path = "x"

[[source]]
type = "cloudtrial"
path = "logs"

[[source]]
type = "guardduty"
path = "findings"
folow = true
lateness = "15 minutes"

[endpoints]
known = ["https://minio:9000"]

[[exceptions]]
query = 'user.name: "x"'
reason = 5
"#,
        expect![[r#"
            error: unknown key "stor"
             --> /etc/groundtrail/groundtrail.toml:1:2
              |
            1 | [stor]
              |  ^^^^
              |
              = help: did you mean "store"?

            error: "type" cannot be "cloudtrial"
             --> /etc/groundtrail/groundtrail.toml:5:8
              |
            5 | type = "cloudtrial"
              |        ^^^^^^^^^^^^
              |
              = help: did you mean "cloudtrail"? possible: sensor, sensors, sqs, s3, cloudtrail, guardduty, vpcflow

            error: unknown key "folow"
              --> /etc/groundtrail/groundtrail.toml:11:1
               |
            11 | folow = true
               | ^^^^^
               |
               = help: did you mean "follow"?

            error: "15 minutes" is not a span of time
              --> /etc/groundtrail/groundtrail.toml:12:12
               |
            12 | lateness = "15 minutes"
               |            ^^^^^^^^^^^^
               |
               = help: write a number and ms, s, m, h or d, such as "15m"

            error: "https://minio:9000" is neither a host name nor an address range
              --> /etc/groundtrail/groundtrail.toml:15:10
               |
            15 | known = ["https://minio:9000"]
               |          ^^^^^^^^^^^^^^^^^^^^
               |
               = help: write "minio.example.net", "*.example.net", "10.0.0.0/8" or "10.1.2.3"; no scheme, port or path

            error: "rule_id" is missing
              --> /etc/groundtrail/groundtrail.toml:17:1
               |
            17 | [[exceptions]]
               | ^^^^^^^^^^^^^^
               |
               = help: add rule_id = "…"

            error: "reason" is not a string
              --> /etc/groundtrail/groundtrail.toml:19:10
               |
            19 | reason = 5
               |          ^
               |
               = help: write reason = "…""#]],
    );
}

#[test]
fn broken_toml_is_shown_at_its_place() {
    check_faults(
        "[store]\npath = \"unclosed\n[rules]\nbuiltin = yes\n",
        expect![[r#"
            error: invalid basic string, expected `"`
             --> /etc/groundtrail/groundtrail.toml:2:17
              |
            2 | path = "unclosed
              |                 ^

            error: string values must be quoted, expected literal string
             --> /etc/groundtrail/groundtrail.toml:4:11
              |
            4 | builtin = yes
              |           ^^^

            error: "builtin" is not a yes or no
             --> /etc/groundtrail/groundtrail.toml:4:11
              |
            4 | builtin = yes
              |           ^^^
              |
              = help: write true or false"#]],
    );
}

#[test]
fn a_sensor_reads_from_exactly_one_place() {
    check_faults(
        "[[source]]\ntype = \"sensor\"\n",
        expect![[r#"
        error: a sensor source needs one place to read
         --> /etc/groundtrail/groundtrail.toml:1:1
          |
        1 | [[source]]
          | ^^^^^^^^^^
          |
          = help: give one of unix, file, stdin = true"#]],
    );
    check_faults(
        "[[source]]\ntype = \"sensor\"\nstdin = true\nfile = \"x\"\n",
        expect![[r#"
        error: a sensor source needs one place to read
         --> /etc/groundtrail/groundtrail.toml:1:1
          |
        1 | [[source]]
          | ^^^^^^^^^^
          |
          = help: give one of unix, file, stdin = true"#]],
    );
}

#[test]
fn endpoints_are_hosts_or_ranges() {
    let config =
        parse(r#"endpoints.known = ["Minio.Example.net", "10.1.2.3", "10.1.2.3/8", "fd00::/8"]"#).unwrap();
    let shown: Vec<String> = config.known_endpoints.iter().map(|known| format!("{known:?}")).collect();
    assert_eq!(
        shown,
        ["Host(\"minio.example.net\")", "Net(10.1.2.3/32)", "Net(10.0.0.0/8)", "Net(fd00::/8)"]
    );
}

#[test]
fn metrics_stay_on_this_machine_unless_asked() {
    let metrics = parse("[metrics]\nlisten = \"[::1]:9109\"").unwrap().metrics;
    assert!(metrics.listen.is_some_and(|listen| listen.port() == 9109));
    assert_eq!(parse("").unwrap().metrics.listen, None);
    assert!(parse("[metrics]\nlisten = \"0.0.0.0:9109\"\nallow_remote = true").unwrap().metrics.allow_remote);
    check_faults(
        "[metrics]\nlisten = \"0.0.0.0:9109\"\nallow_remotes = false\n[store]\nretention = \"5m\"\n",
        expect![[r#"
            error: "0.0.0.0:9109" lets other machines ask, without password or TLS
             --> /etc/groundtrail/groundtrail.toml:2:10
              |
            2 | listen = "0.0.0.0:9109"
              |          ^^^^^^^^^^^^^^
              |
              = help: listen on 127.0.0.1 and put a proxy with TLS and a password before it, or add allow_remote = true

            error: unknown key "allow_remotes"
             --> /etc/groundtrail/groundtrail.toml:3:1
              |
            3 | allow_remotes = false
              | ^^^^^^^^^^^^^
              |
              = help: did you mean "allow_remote"?

            error: "retention" is out of bounds
             --> /etc/groundtrail/groundtrail.toml:5:13
              |
            5 | retention = "5m"
              |             ^^^^
              |
              = help: write a span from "1d" to "3650d""#]],
    );
    check_faults(
        "[metrics]\nlisten = \"9109\"\n[metric]\n",
        expect![[r#"
        error: "9109" is not an address with a port
         --> /etc/groundtrail/groundtrail.toml:2:10
          |
        2 | listen = "9109"
          |          ^^^^^^
          |
          = help: write "127.0.0.1:9109" or "[::1]:9109"

        error: unknown key "metric"
         --> /etc/groundtrail/groundtrail.toml:3:2
          |
        3 | [metric]
          |  ^^^^^^
          |
          = help: did you mean "metrics"?"#]],
    );
}

#[test]
fn faults_of_queues_and_buckets() {
    for (source, says) in [
        ("type = \"sqs\"", "\"queue\" is missing"),
        ("type = \"sqs\"\nqueue = \"trail\"", "not a queue's address"),
        (
            "type = \"sqs\"\nqueue = \"https://sqs.eu-west-1.amazonaws.com/1/q\"\nvisibility = \"1s\"",
            "out of bounds",
        ),
        ("type = \"sqs\"\nqueue = \"https://a/q\"\nrole = \"groundtrail\"", "not a role's ARN"),
        ("type = \"sqs\"\nqueue = \"https://a/q\"\nexternal_id = \"x\"", "goes with a role"),
        ("type = \"sqs\"\nqueue = \"https://a/q\"\ndead_letter_queue = \"https://a/q\"", "another queue"),
        (
            "type = \"sqs\"\nqueue = \"https://a/q\"\ndead_letters = \"x\"\ndead_letter_queue = \"https://a/d\"",
            "one place",
        ),
        ("type = \"s3\"\nbucket = \"s3://trail/AWSLogs\"", "not a bucket's name"),
        ("type = \"s3\"\nbucket = \"trail\"\nsince = \"yesterday\"", "is not a time"),
        ("type = \"s3\"\nbucket = \"trail\"\nsince = \"2026-11-02\"\nuntil = \"2026-11-01\"", "not after"),
        ("type = \"s3\"\nbucket = \"trail\"\nqueue = \"x\"", "unknown key"),
    ] {
        let shown = parse(&format!("[[source]]\n{source}")).expect_err(source).render(false);
        assert!(shown.contains(says), "{says}: {shown}");
    }
    let config =
        parse("[[source]]\ntype = \"sqs\"\nqueue = \"https://sqs.eu-west-1.amazonaws.com/1/q\"").unwrap();
    let Input::Queue(queue) = &config.sources[0].input else { panic!("{config:?}") };
    assert_eq!(queue.access.region.as_deref(), Some("eu-west-1"));
}
