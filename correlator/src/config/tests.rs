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
    assert_eq!(config.sources.len(), 11);
    assert_eq!(config.known_endpoints.len(), 3);
    assert_eq!(config.exceptions.len(), 1);
    assert_eq!(config.exceptions[0].expires.map(|at| at.to_string()).as_deref(), Some("2030-01-01"));
    assert_eq!(config.sinks.len(), 13);
    assert_eq!(config.silences.len(), 1);
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
        "[time]\nskew = \"61s\"\n",
        expect![[r#"
            error: "skew" is out of bounds
             --> /etc/groundtrail/groundtrail.toml:2:8
              |
            2 | skew = "61s"
              |        ^^^^^
              |
              = help: write a span from "0s" to "60s""#]],
    );
    let skew = |text: &str| parse(text).unwrap().limits.skew;
    assert_eq!((skew(""), skew("[time]\nskew = \"500ms\"")), (Span::from_secs(2), Span::from_millis(500)));
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
        ("type = \"sqs\"\nqueue = \"https://a/q\"\nbuckets = [\"trail/AWSLogs\"]", "not a bucket's name"),
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
    assert!(queue.may_read("any"), "nothing said: whatever we may read");
    let few = "[[source]]\ntype = \"sqs\"\nqueue = \"https://a/q\"\nbuckets = [\"trail\", \"logs-*\"]";
    let Input::Queue(queue) = &parse(few).unwrap().sources[0].input else { panic!("{few}") };
    let may = ["trail", "trails", "logs-eu", "my-logs-eu"].map(|bucket| queue.may_read(bucket));
    assert_eq!(may, [true, false, true, false]);
}

fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase()) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    DEFAULT.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn files_of_the_folder_and_variables_come_on_top() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "gt.toml",
        "[store]\npath = \"a.db\"\nretention = \"30d\"\n[[source]]\ntype = \"sensor\"\nstdin = true\n",
    );
    write("conf.d/20-late.toml", "[store]\npath = \"c.db\"\n");
    write(
        "conf.d/10-early.toml",
        "[store]\npath = \"b.db\"\n\n[[source]]\ntype = \"cloudtrail\"\npath = \"trail\"\n",
    );
    write("conf.d/.hidden.toml", "nonsense");
    write("conf.d/notes.txt", "nonsense");
    let gather = |given: &[(&str, &str)]| Layers::gather(Some(&dir.path().join("gt.toml")), variables(given));
    let layers = gather(&[
        ("GROUNDTRAIL_RULES_BUILTIN", "false"),
        ("GROUNDTRAIL_RULES_PATHS", "mine, /theirs"),
        ("GROUNDTRAIL_SOMETHING_ELSE", "x"),
        ("HOME", "/"),
    ])
    .unwrap();
    let config = Config::of(&layers).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(config.store.as_deref(), Some(&*dir.path().join("c.db")));
    assert_eq!(config.retention, Span::from_secs(30 * 86_400));
    assert_eq!(config.sources.len(), 2);
    assert!(!config.rules.has_builtin);
    assert_eq!(config.rules.paths, [dir.path().join("mine"), PathBuf::from("/theirs")]);

    let shown = layers.annotated(&config.to_toml());
    let root = dir.path().display();
    for line in [
        format!("path = \"{root}/c.db\"   # {root}/conf.d/20-late.toml:2"),
        format!("retention = \"30d\"   # {root}/gt.toml:3"),
        format!("path = \"{root}/trail\"   # {root}/conf.d/10-early.toml:6"),
        "builtin = false   # environment: GROUNDTRAIL_RULES_BUILTIN".to_owned(),
        "lateness = \"20m\"   # default".to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
    }

    write("conf.d/20-late.toml", "[stor]\npath = \"c.db\"\n");
    let error = Config::of(&gather(&[("GROUNDTRAIL_METRICS_LISTEN", "nowhere")]).unwrap()).unwrap_err();
    let said = error.render(false);
    assert!(said.contains("conf.d/20-late.toml:1:2") && said.contains("did you mean \"store\""), "{said}");
    assert!(said.contains("GROUNDTRAIL_METRICS_LISTEN:1:18") && said.contains("is not an address"), "{said}");
    assert!(error.to_string().contains("20-late.toml\", \"GROUNDTRAIL_METRICS_LISTEN"), "{error}");
    let error = gather(&[("GROUNDTRAIL_METRICS_LISTN", "127.0.0.1:1")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the variable GROUNDTRAIL_METRICS_LISTN sets no key; did you mean GROUNDTRAIL_METRICS_LISTEN?"
    );
}

/// What the shipped file does not show, neither a variable can set nor an editor knows.
#[test]
fn the_shipped_file_shows_every_key_that_is_read() {
    let shipped = keys::shipped();
    let has = |table: &str, key: &str| shipped.iter().any(|known| known.path == format!("{table}.{key}"));
    let faults_of = |text: &str| match parse(text) {
        Err(ConfigError::Faults { faults, .. }) => faults,
        other => panic!("{text}: {other:?}"),
    };
    let known = |help: &str| -> Vec<String> {
        let list = help.split_once("known here: ").map_or("", |(_, list)| list);
        list.split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect()
    };
    let of_unknown = |text: &str| -> Vec<String> {
        let faults = faults_of(text);
        let fault = faults.iter().find(|fault| fault.message == "unknown key \"qqqqqqqqqqqq\"");
        known(fault.and_then(|fault| fault.help.as_deref()).unwrap_or_else(|| panic!("{text}: {faults:?}")))
    };
    let tables = of_unknown("qqqqqqqqqqqq = 1");
    assert!(tables.contains(&"source".to_owned()) && tables.contains(&"metrics".to_owned()), "{tables:?}");
    for table in tables {
        assert!(
            shipped.iter().any(|key| key.path.starts_with(&format!("{table}."))),
            "[{table}] is not shown"
        );
        let is_list = uncommented().contains(&format!("[[{table}]]"));
        let head = if is_list { format!("[[{table}]]") } else { format!("[{table}]") };
        let mut keys = of_unknown(&format!("{head}\nqqqqqqqqqqqq = 1\n"));
        if ["source", "sink"].contains(&table.as_str()) {
            let faults = faults_of(&format!("[[{table}]]\ntype = \"qqqqqqqqqqqq\"\n"));
            let help =
                faults.iter().find_map(|fault| fault.help.as_deref()?.split_once("possible: ")).unwrap().1;
            for kind in help.split(", ") {
                keys.extend(of_unknown(&format!("[[{table}]]\ntype = \"{kind}\"\nqqqqqqqqqqqq = 1\n")));
            }
        }
        keys.retain(|key| {
            let is_table = shipped.iter().any(|known| known.path.starts_with(&format!("{table}.{key}.")));
            !is_table && !has(&table, key)
        });
        assert_eq!(keys, [""; 0], "[{table}] has keys that packaging/config-default.toml does not show");
    }
}

#[test]
fn the_schema_describes_the_shipped_file() {
    let schema = schema();
    let document: toml::Table = toml::from_str(&uncommented()).unwrap();
    fn check(value: &toml::Value, schema: &serde_json::Value, at: &str) {
        let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{at} is not in the schema"));
        match value {
            toml::Value::Table(table) => {
                assert_eq!(kind, "object", "{at}");
                table.iter().for_each(|(key, value)| {
                    check(value, &schema["properties"][key], &format!("{at}.{key}"))
                });
            }
            toml::Value::Array(items) => {
                assert_eq!(kind, "array", "{at}");
                items.iter().for_each(|item| check(item, &schema["items"], at));
            }
            toml::Value::String(_) => assert_eq!(kind, "string", "{at}"),
            toml::Value::Integer(_) => assert_eq!(kind, "integer", "{at}"),
            toml::Value::Boolean(_) => assert_eq!(kind, "boolean", "{at}"),
            other => panic!("{at}: {other}"),
        }
    }
    check(&toml::Value::Table(document), &schema, "");
    let retention = &schema["properties"]["store"]["properties"]["retention"];
    assert!(
        retention["description"].as_str().is_some_and(|text| text.contains("From 1d to 3650d")),
        "{retention}"
    );
    assert_eq!(retention["pattern"], "^[0-9]+(ms|s|m|h|d)$");
    assert_eq!(schema["properties"]["source"]["items"]["additionalProperties"], false);
}

#[test]
fn sinks_have_names_of_their_own_and_secrets_go_unencrypted_nowhere() {
    check_faults(
        r#"[[sink]]
name = "SIEM"
type = "webhock"

[[sink]]
name = "siem"
type = "webhook"
url = "http://siem.example.net/"
token_file = "token"
secret_file = "a"
secret_env = "B"
timout = "5s"
timeout = "1d"

[[sink]]
name = "siem"
type = "file"
path = "x"
retry_from = "5m"

[[sink]]
name = "hook"
type = "webhook"
url = "https://user:canary@siem.example.net/"
"#,
        expect![[r#"
            error: "SIEM" is no name for a sink
             --> /etc/groundtrail/groundtrail.toml:2:8
              |
            2 | name = "SIEM"
              |        ^^^^^^
              |
              = help: write up to 64 of a to z, 0 to 9, - and _

            error: "type" cannot be "webhock"
             --> /etc/groundtrail/groundtrail.toml:3:8
              |
            3 | type = "webhock"
              |        ^^^^^^^^^
              |
              = help: did you mean "webhook"? possible: file, webhook, elasticsearch, opensearch, splunk, syslog, journald, s3, sqs, sns, securityhub

            error: "http://siem.example.net" would get the secret unencrypted
             --> /etc/groundtrail/groundtrail.toml:5:1
              |
            5 | [[sink]]
              | ^^^^^^^^
              |
              = help: write https://, or have a receiver on this machine

            error: a secret is in one place
              --> /etc/groundtrail/groundtrail.toml:11:14
               |
            11 | secret_env = "B"
               |              ^^^
               |
               = help: keep one of secret_file and secret_env

            error: unknown key "timout"
              --> /etc/groundtrail/groundtrail.toml:12:1
               |
            12 | timout = "5s"
               | ^^^^^^
               |
               = help: did you mean "timeout"?

            error: "timeout" is out of bounds
              --> /etc/groundtrail/groundtrail.toml:13:11
               |
            13 | timeout = "1d"
               |           ^^^^
               |
               = help: write a span from "100ms" to "10m"

            error: "retry_from" is longer than "retry_to"
              --> /etc/groundtrail/groundtrail.toml:15:1
               |
            15 | [[sink]]
               | ^^^^^^^^
               |
               = help: waits grow from the first to the second

            error: two sinks are called "siem"
              --> /etc/groundtrail/groundtrail.toml:15:1
               |
            15 | [[sink]]
               | ^^^^^^^^
               |
               = help: give each a name of its own: its queue goes by it

            error: this is no address of a receiver: it holds a user or a password, which belong into a file
              --> /etc/groundtrail/groundtrail.toml:24:7
               |
            24 | url = "https://user:canary@siem.example.net/"
               |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: write "https://siem.example.net/hook""#]],
    );
}

#[test]
fn what_two_sinks_write_and_what_a_topic_contradicts_is_a_fault() {
    let fault = |text: &str| {
        let faults = parse(text).map(|_| String::new()).unwrap_or_else(|error| error.render(false));
        faults.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default().to_owned()
    };
    let file = |name: &str, more: &str| format!("[[sink]]\nname = \"{name}\"\ntype = \"file\"\n{more}\n");
    let a = file("a", "path = \"out/alerts\"\nkeep = 2");
    for more in [
        "path = \"out/alerts\"",
        "path = \"./out/alerts.2\"",
        "path = \"x\"\ndead_letters = \"out/alerts.1\"",
        "path = \"x\"\ndead_letters = \"x\"",
    ] {
        let said = fault(&(a.clone() + &file("b", more)));
        assert!(said.contains("writes to \""), "{more}: {said}");
    }
    for more in ["path = \"out/alerts.3\"", "path = \"out/alerts.x\"", "path = \"alerts.1\""] {
        assert_eq!(fault(&(a.clone() + &file("b", more))), "", "{more}");
    }
    assert_eq!(fault(&file("a", "path = \"x\"\nmax_size = \"10B\"")), "\"max_size\" is out of bounds");
    let topic = |region: &str| {
        fault(&format!(
            "[[sink]]\nname = \"t\"\ntype = \"sns\"\ntopic = \"arn:aws:sns:eu-west-1:111122223333:a\"\nregion = \"{region}\""
        ))
    };
    assert_eq!(topic("us-east-1"), "\"region\" is us-east-1, and the topic is in eu-west-1");
    assert_eq!(topic("eu-west-1"), "");
}
