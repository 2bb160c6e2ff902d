use ipnet::Ipv4Net;
use proptest::prelude::*;

use super::pattern::comparisons;
use super::*;
use crate::time;

const NOW: EventTime = EventTime(1_793_613_600_000_000_000);

fn load(text: &str) -> (Indicators, Loaded) {
    let mut indicators = Indicators::default();
    let loaded = indicators.load(text, "example-list");
    (indicators, loaded)
}

fn of_address(indicators: &Indicators, address: &str) -> Vec<Indicator> {
    indicators.matches(address.parse().unwrap(), NOW)
}

fn hits(indicators: &Indicators, what: &str) -> usize {
    match what.parse() {
        Ok(address) => indicators.matches(address, NOW).len(),
        Err(_) => indicators.matches_domain(what, NOW).len(),
    }
}

fn others(loaded: &Loaded) -> Vec<(&str, u64)> {
    loaded.others.iter().map(|(what, n)| (what.as_str(), *n)).collect()
}

#[test]
fn a_plain_list_with_comments_and_bad_lines() {
    let (indicators, loaded) = load(
        "# list\n192.0.2.66\n\n198.51.100.0/24 ; a net\n2001:db8::/32\n  192[.]0[.]2[.]67 # defused\nnot-an-address\n192.0.2.300\n0.0.0.0/0\nRogue.Example[.]net\n*.wild.example.org\n",
    );
    assert_eq!(loaded.n_entries, 6);
    assert_eq!(loaded.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [7, 8, 9]);
    for (what, expect) in [
        ("192.0.2.66", 1),
        ("192.0.2.67", 1),
        ("192.0.2.6", 0),
        ("198.51.100.255", 1),
        ("198.51.101.0", 0),
        ("2001:db8:ffff::1", 1),
        ("2001:db9::1", 0),
        ("::ffff:192.0.2.66", 1),
        ("rogue.example.net", 1),
        ("C2.ROGUE.example.net.", 1),
        ("example.net", 0),
        ("xrogue.example.net", 0),
        ("wild.example.org", 1),
        ("", 0),
        ("..", 0),
    ] {
        assert_eq!(hits(&indicators, what), expect, "{what}");
    }
}

#[test]
fn a_file_of_hosts_names_domains_and_not_this_machine() {
    let (indicators, loaded) =
        load("127.0.0.1 localhost\n0.0.0.0 rogue.example.net # c2\n127.0.0.1\tx.example.net\n");
    assert_eq!((loaded.n_entries, loaded.n_bad), (2, 0));
    assert_eq!(others(&loaded), [("this machine's own address", 1)]);
    assert_eq!(hits(&indicators, "127.0.0.1"), 0);
    assert_eq!((hits(&indicators, "rogue.example.net"), hits(&indicators, "x.example.net")), (1, 1));
    let found = indicators.matches_domain("rogue.example.net", NOW);
    assert_eq!(found[0].description.as_deref(), Some("c2"));
}

#[test]
fn the_narrowest_network_comes_first_and_every_list_is_named() {
    let mut indicators = Indicators::default();
    indicators.load("192.0.2.0/24 wide\n192.0.2.66 narrow", "one");
    indicators.load("192.0.2.66", "two");
    let found = of_address(&indicators, "192.0.2.66");
    let shown: Vec<_> = found.iter().map(|hit| (hit.provider.as_ref(), hit.description.as_deref())).collect();
    assert_eq!(shown, [("one", Some("narrow")), ("two", None), ("one", Some("wide"))]);
    assert_eq!(found[2].key, Key::Net("192.0.2.0/24".parse().unwrap()));
    indicators.load("example.net parent\nrogue.example.net own", "three");
    let found = indicators.matches_domain("rogue.example.net", NOW);
    let shown: Vec<_> = found.iter().map(|hit| hit.description.as_deref()).collect();
    assert_eq!(shown, [Some("own"), Some("parent")]);
}

#[test]
fn tables_with_a_column_of_what_they_list() {
    let (indicators, loaded) =
        load("first_seen,dst_ip,port\n\"2026-11-02, early\",192.0.2.66,443\n2026,bad,1\nshort\n");
    assert_eq!((loaded.n_entries, hits(&indicators, "192.0.2.66")), (1, 1));
    assert_eq!(loaded.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3, 4]);
    let (indicators, _) = load("name\tip\nx\t192.0.2.66\n");
    assert_eq!(hits(&indicators, "192.0.2.66"), 1);
    let (indicators, loaded) = load(
        "type,value,confidence,labels,valid_from,valid_until,comment,id\n\
         domain,rogue.example.net,high,\"c2,apt\",2026-11-01,2026-12-01T00:00:00Z,\"a \"\"name\"\"\",7\n\
         sha256,0a1b,,,,,,\nip,nonsense,,,,,,\n",
    );
    assert_eq!((loaded.n_entries, others(&loaded), loaded.n_bad), (1, vec![("sha256", 1)], 1));
    let found = indicators.matches_domain("rogue.example.net", NOW).remove(0);
    assert_eq!(found.confidence, Some(85));
    assert_eq!(found.labels, ["c2", "apt"]);
    assert_eq!((found.description.as_deref(), found.reference.as_deref()), (Some("a \"name\""), Some("7")));
    assert_eq!(found.valid_from, time::parse("2026-11-01T00:00:00Z"));
    assert_eq!(found.valid_until, time::parse("2026-12-01T00:00:00Z"));
}

#[test]
fn an_entry_says_nothing_of_what_was_before_or_comes_after() {
    let (indicators, _) =
        load("ip,valid_from,valid_until\n192.0.2.66,2026-11-02T10:00:00Z,2026-11-02T11:00:00Z\n");
    for (at, expect) in [
        ("2026-11-02T09:59:59.999Z", 0),
        ("2026-11-02T10:00:00Z", 1),
        ("2026-11-02T10:59:59.999Z", 1),
        ("2026-11-02T11:00:00Z", 0),
    ] {
        let found = indicators.matches("192.0.2.66".parse().unwrap(), time::parse(at).unwrap());
        assert_eq!(found.len(), expect, "{at}");
    }
}

#[test]
fn stix_patterns_branch_by_branch() {
    let bundle = r#"{"type":"bundle","objects":[
        {"type":"malware","name":"x"},
        {"type":"indicator","id":"indicator--1","name":"PIVY","confidence":80,"labels":["malicious-activity"],"indicator_types":["c2"],"valid_from":"2026-11-01T00:00:00Z","pattern":"[domain-name:value = 'rogue.example.net' OR ipv4-addr:value='192.0.2.66'  OR ipv4-addr:value = '192.0.2.66'] AND [ipv6-addr:value IN ('2001:db8::1','2001:db8::2')]"},
        {"type":"indicator","id":"indicator--2","pattern":"[ipv4-addr:value ISSUBSET '198.51.100.0/24'] OR [ipv4-addr:value != '203.0.113.1']"},
        {"type":"indicator","id":"indicator--3","pattern":"[ipv4-addr:value = 'nonsense']"},
        {"type":"indicator","id":"indicator--4"},
        {"type":"indicator","pattern":"[url:value = 'hxxps://u@web.example.org:8080/' AND file:hashes.'SHA-256' = 'ab']"},
        {"type":"indicator","revoked":true,"pattern":"[ipv4-addr:value = '203.0.113.2']"},
        {"type":"indicator","pattern_type":"sigma","pattern":"title: x"},
        {"type":"indicator","pattern":"[domain-name:value LIKE '%.example.com' OR ipv4-addr:value NOT = '203.0.113.3']"}]}"#;
    let (indicators, loaded) = load(bundle);
    assert_eq!((loaded.n_entries, loaded.n_bad), (6, 2), "{loaded:?}");
    assert_eq!(
        others(&loaded),
        [
            ("domain-name:value LIKE", 1),
            ("file:hashes.SHA-256 =", 1),
            ("ipv4-addr:value !=", 1),
            ("ipv4-addr:value NOT =", 1),
            ("patterns of type sigma", 1),
            ("revoked", 1),
        ],
    );
    for (what, expect) in [
        ("198.51.100.7", 1),
        ("203.0.113.1", 0),
        ("203.0.113.2", 0),
        ("2001:db8::2", 1),
        ("web.example.org", 1),
        ("a.rogue.example.net", 1),
    ] {
        assert_eq!(hits(&indicators, what), expect, "{what}");
    }
    let hit = of_address(&indicators, "192.0.2.66").remove(0);
    assert_eq!((hit.description.as_deref(), hit.reference.as_deref()), (Some("PIVY"), Some("indicator--1")));
    assert_eq!(
        (hit.confidence, hit.labels),
        (Some(80), vec!["malicious-activity".to_owned(), "c2".to_owned()])
    );
}

#[test]
fn misp_as_events_as_searches_answer_and_as_lists() {
    let event = r#"{"Event":{"Tag":[{"name":"tlp:white"},{"name":"misp:confidence-level=\"usually-confident\""}],"Attribute":[
        {"type":"ip-dst","value":"192.0.2.66","comment":"c2","uuid":"u-1","to_ids":true,"Tag":[{"name":"apt"}]},
        {"type":"ip-dst|port","value":"192.0.2.67|80"},{"type":"domain","value":"rogue.example.net"},
        {"type":"hostname","value":"c2.example.org","to_ids":false},{"type":"sha256","value":"ab"},
        {"type":"ip-src","value":"x"},{"type":"domain|ip","value":"both.example.org|192.0.2.68"}],
        "Object":[{"name":"url","Attribute":[{"type":"url","value":"https://web.example.org/"},{"type":"url","value":"https://pages.example.org/x.exe"},{"type":"url","value":"http://192.0.2.69:81/x.exe"}]}]}}"#;
    for text in [event.to_owned(), format!("[{event}]"), format!(r#"{{"response":[{event}]}}"#)] {
        let (indicators, loaded) = load(&text);
        assert_eq!((loaded.n_entries, loaded.n_bad), (7, 1), "{loaded:?}");
        assert_eq!(
            others(&loaded),
            [("a page of a site (url)", 1), ("not meant for detection (to_ids)", 1), ("sha256", 1)]
        );
        for what in [
            "192.0.2.67",
            "192.0.2.68",
            "192.0.2.69",
            "both.example.org",
            "web.example.org",
            "x.rogue.example.net",
        ] {
            assert_eq!(hits(&indicators, what), 1, "{what}");
        }
        let hit = of_address(&indicators, "192.0.2.66").remove(0);
        assert_eq!((hit.description.as_deref(), hit.reference.as_deref()), (Some("c2"), Some("u-1")));
        assert_eq!(hit.confidence, Some(75));
        assert_eq!(hit.labels.last().map(String::as_str), Some("apt"));
    }
    let (_, loaded) = load(
        r#"{"response":{"Attribute":[{"type":"ip-src","value":"192.0.2.66"},{"type":"md5","value":"x"}]}}"#,
    );
    assert_eq!((loaded.n_entries, others(&loaded)), (1, vec![("md5", 1)]));
    let (_, loaded) = load(r#"{"name":"n","type":"cidr","list":["198.51.100.0/24","2001:db8::/32","x"]}"#);
    assert_eq!((loaded.n_entries, loaded.n_bad), (2, 1));
}

#[test]
fn threatfox_and_lists_of_objects() {
    let (indicators, loaded) = load(
        r#"{"1":[{"ioc_value":"192.0.2.66:8443","ioc_type":"ip:port","malware_printable":"X","confidence_level":100,"tags":"c2,x"}],"2":[{"ioc_value":"rogue.example.net","ioc_type":"domain"}],"3":[{}],"4":[{"ioc_value":"https://web.example.org/x","ioc_type":"url"}]}"#,
    );
    assert_eq!((loaded.n_entries, others(&loaded), loaded.n_bad), (2, vec![("url", 1)], 1));
    let hit = of_address(&indicators, "192.0.2.66").remove(0);
    assert_eq!((hit.description.as_deref(), hit.confidence), (Some("X"), Some(100)));
    assert_eq!(hit.labels, ["c2", "x"]);
    let (indicators, loaded) =
        load("{\"ip\":\"192.0.2.66\",\"confidence\":50}\n{\"domain\":\"rogue.example.net\"}\n");
    assert_eq!((loaded.n_entries, hits(&indicators, "rogue.example.net")), (2, 1));
}

#[test]
fn what_the_configuration_says_of_a_list_holds_of_its_entries() {
    let mut indicators = Indicators::default();
    let labels = ["ours".to_owned()];
    let name = ListName { provider: "list", confidence: Some(40), labels: &labels };
    indicators.load_as("ip,confidence,tags\n192.0.2.66,,x\n192.0.2.67,90,\n", &name);
    let of = |ip: &str| {
        let hit = of_address(&indicators, ip).remove(0);
        (hit.confidence, hit.labels)
    };
    assert_eq!(of("192.0.2.66"), (Some(40), vec!["ours".to_owned(), "x".to_owned()]));
    assert_eq!(of("192.0.2.67"), (Some(90), vec!["ours".to_owned()]));
}

#[test]
fn what_cannot_be_read_is_counted_and_the_first_of_it_told() {
    let (_, loaded) = load("{\"objects\": [");
    assert_eq!((loaded.n_entries, loaded.n_bad), (0, 1));
    let (_, loaded) = load(&"nonsense\n".repeat(10_000));
    assert_eq!((loaded.n_bad, loaded.bad.len()), (10_000, 100));
    let (_, loaded) = load("bücher.example.net\n");
    assert!(loaded.bad[0].reason.contains("xn--"), "{loaded:?}");
    let (indicators, loaded) = load(&"192.0.2.66\n".repeat(1_000));
    assert_eq!((indicators.len(), loaded.n_entries as u64 + loaded.n_other()), (32, 1_000));
}

proptest! {
    #[test]
    fn no_list_panics(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn no_pattern_panics(text in "[\\[\\]a-z:'\\\\ =!()]{0,60}") {
        comparisons(&text);
    }

    #[test]
    fn prefixes_agree_with_ipnet(net in any::<u32>(), len in 1_u8..=32, address in any::<u32>()) {
        let net = Ipv4Net::new(net.into(), len).unwrap();
        prop_assume!(!net.network().is_loopback() && net.to_string() != "0.0.0.0/32");
        let (indicators, _) = load(&net.to_string());
        let address: std::net::Ipv4Addr = address.into();
        prop_assert_eq!(!indicators.matches(address.into(), NOW).is_empty(), net.contains(&address));
    }

    #[test]
    fn prefixes_of_the_long_family_agree_too(net in any::<u128>(), len in 1_u8..=128, flip in 0_u32..128) {
        let net = ipnet::Ipv6Net::new(net.into(), len).unwrap();
        // Addresses of the other family are read as that.
        prop_assume!(net.network().to_ipv4_mapped().is_none() && net.prefix_len() < 127);
        let (indicators, _) = load(&net.to_string());
        let address = std::net::Ipv6Addr::from_bits(net.network().to_bits() ^ (1 << flip));
        prop_assume!(address.to_ipv4_mapped().is_none());
        prop_assert_eq!(!indicators.matches(address.into(), NOW).is_empty(), net.contains(&address));
    }

    #[test]
    fn a_name_is_found_by_itself_and_below_and_nowhere_else(
        listed in "[a-c]{1,2}(\\.[a-c]{1,2}){1,3}", asked in "[a-c]{1,2}(\\.[a-c]{1,2}){0,4}",
    ) {
        let (indicators, _) = load(&listed);
        let expect = asked == listed || asked.ends_with(&format!(".{listed}"));
        prop_assert_eq!(hits(&indicators, &asked) == 1, expect, "{} in {}", asked, listed);
    }
}
