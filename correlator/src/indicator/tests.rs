use proptest::prelude::*;

use super::*;

fn load(text: &str) -> (Indicators, Loaded) {
    let mut indicators = Indicators::default();
    let loaded = indicators.load(text, "example-list");
    (indicators, loaded)
}

fn hits(indicators: &Indicators, address: &str) -> usize {
    indicators.matches(address.parse().unwrap()).len()
}

#[test]
fn a_plain_list_with_comments_and_bad_lines() {
    let (indicators, loaded) = load(
        "# list\n192.0.2.66\n\n198.51.100.0/24 ; a net\n2001:db8::/32\n  192[.]0[.]2[.]67 # defused\nnot-an-address\n192.0.2.300\n0.0.0.0/0\n",
    );
    assert_eq!(loaded.n_entries, 4);
    assert_eq!(loaded.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [7, 8, 9]);
    for (address, expect) in [
        ("192.0.2.66", 1),
        ("192.0.2.67", 1),
        ("192.0.2.6", 0),
        ("198.51.100.255", 1),
        ("198.51.101.0", 0),
        ("2001:db8:ffff::1", 1),
        ("2001:db9::1", 0),
        ("::ffff:192.0.2.66", 1),
    ] {
        assert_eq!(hits(&indicators, address), expect, "{address}");
    }
}

#[test]
fn the_narrowest_network_comes_first_and_every_list_is_named() {
    let mut indicators = Indicators::default();
    indicators.load("192.0.2.0/24 wide\n192.0.2.66 narrow", "one");
    indicators.load("192.0.2.66", "two");
    let found = indicators.matches("192.0.2.66".parse().unwrap());
    let shown: Vec<_> = found.iter().map(|hit| (hit.provider.as_ref(), hit.description.as_deref())).collect();
    assert_eq!(shown, [("one", Some("narrow")), ("two", None), ("one", Some("wide"))]);
}

#[test]
fn tables_with_a_column_of_addresses() {
    let (indicators, loaded) =
        load("first_seen,dst_ip,port\n\"2026-11-02, early\",192.0.2.66,443\n2026,bad,1\nshort\n");
    assert_eq!((loaded.n_entries, hits(&indicators, "192.0.2.66")), (1, 1));
    assert_eq!(loaded.bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [3, 4]);
    let (indicators, _) = load("name\tip\nx\t192.0.2.66\n");
    assert_eq!(hits(&indicators, "192.0.2.66"), 1);
}

#[test]
fn stix_patterns_branch_by_branch() {
    let bundle = r#"{"type":"bundle","objects":[
        {"type":"malware","name":"x"},
        {"type":"indicator","id":"indicator--1","name":"PIVY","pattern":"[domain-name:value = 'rogue.example.net' OR ipv4-addr:value='192.0.2.66'  OR ipv4-addr:value = '192.0.2.66'] AND [ipv6-addr:value IN ('2001:db8::1','2001:db8::2')]"},
        {"type":"indicator","id":"indicator--2","pattern":"[ipv4-addr:value ISSUBSET '198.51.100.0/24'] OR [ipv4-addr:value != '203.0.113.1']"},
        {"type":"indicator","id":"indicator--3","pattern":"[ipv4-addr:value = 'nonsense']"},
        {"type":"indicator","id":"indicator--4"}]}"#;
    let (indicators, loaded) = load(bundle);
    assert_eq!((loaded.n_entries, loaded.n_other, loaded.bad.len()), (4, 1, 2));
    assert_eq!(hits(&indicators, "198.51.100.7"), 1);
    assert_eq!(hits(&indicators, "203.0.113.1"), 0);
    let hit = indicators.matches("192.0.2.66".parse().unwrap())[0].clone();
    assert_eq!((hit.description.as_deref(), hit.reference.as_deref()), (Some("PIVY"), Some("indicator--1")));
}

#[test]
fn threatfox_and_misp() {
    let (indicators, loaded) = load(
        r#"{"1":[{"ioc_value":"192.0.2.66:8443","ioc_type":"ip:port","malware_printable":"X"}],"2":[{"ioc_value":"rogue.example.net","ioc_type":"domain"}],"3":[{}]}"#,
    );
    assert_eq!((loaded.n_entries, loaded.n_other, loaded.bad.len()), (1, 1, 1));
    assert_eq!(indicators.matches("192.0.2.66".parse().unwrap())[0].description.as_deref(), Some("X"));
    let (_, loaded) = load(r#"{"name":"n","type":"cidr","list":["198.51.100.0/24","2001:db8::/32","x"]}"#);
    assert_eq!((loaded.n_entries, loaded.bad.len()), (2, 1));
    let (_, loaded) = load(
        r#"{"Event":{"Attribute":[{"type":"ip-dst","value":"192.0.2.66"},{"type":"ip-dst|port","value":"192.0.2.67|80"},{"type":"domain","value":"x.example"}]}}"#,
    );
    assert_eq!((loaded.n_entries, loaded.n_other), (2, 1));
}

#[test]
fn a_list_that_is_no_json_after_all_is_one_bad_entry() {
    let (_, loaded) = load("{\"objects\": [");
    assert_eq!(loaded.n_entries, 0);
    assert_eq!(loaded.bad.len(), 1);
}

proptest! {
    #[test]
    fn no_list_panics(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn no_pattern_panics(text in "[\\[\\]a-z:'\\\\ =!()]{0,60}") {
        stix_comparisons(&text);
    }

    #[test]
    fn prefixes_agree_with_ipnet(net in any::<u32>(), len in 1_u8..=32, address in any::<u32>()) {
        let net = Ipv4Net::new(net.into(), len).unwrap();
        let (indicators, _) = load(&net.to_string());
        let address: std::net::Ipv4Addr = address.into();
        prop_assert_eq!(!indicators.matches(address.into()).is_empty(), net.contains(&address));
    }
}
