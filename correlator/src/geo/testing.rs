//! Files in MaxMind's format, made by hand after its specification (2.0): a tree of bits, data, metadata.

use serde_json::{Value, json};

/// IPv6 with IPv4 below `::/96`, records of 24 bits. Each network is `address/length` as in the tree.
pub(crate) fn file(kind: &str, networks: &[(&str, Value)]) -> Vec<u8> {
    // A node is two records; a record, another node or a place in the data.
    #[derive(Clone, Copy)]
    enum To {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let mut nodes = vec![[To::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let (address, len) = network.split_once('/').unwrap();
        let (bits, len) = match address.parse().unwrap() {
            std::net::IpAddr::V4(ip) => (u128::from(ip.to_bits()), len.parse::<u32>().unwrap() + 96),
            std::net::IpAddr::V6(ip) => (ip.to_bits(), len.parse().unwrap()),
        };
        let place = data.len();
        put(value, &mut data);
        let mut at = 0;
        for depth in 0..len {
            let bit = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == len {
                nodes[at][bit] = To::Data(place);
                break;
            }
            at = match nodes[at][bit] {
                To::Node(next) => next,
                _ => {
                    nodes.push([To::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[at][bit] = To::Node(next);
                    next
                }
            };
        }
    }
    let n_nodes = nodes.len();
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match record {
            To::Nothing => n_nodes,
            To::Node(node) => *node,
            To::Data(place) => n_nodes + 16 + place,
        };
        file.extend(&(number as u32).to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = json!({
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_793_613_600_u64,
        "database_type": kind, "description": {"en": "test"}, "ip_version": 6, "languages": ["en"],
        "node_count": n_nodes, "record_size": 24,
    });
    put(&metadata, &mut file);
    file
}

/// A control byte of type and size, and the value. Sizes past 28 take another byte, types past 7 as well.
fn put(value: &Value, out: &mut Vec<u8>) {
    let control = |kind: u8, size: usize, out: &mut Vec<u8>| {
        let (low, more) = if size < 29 { (size as u8, None) } else { (29, Some((size - 29) as u8)) };
        match kind {
            1..=7 => out.push(kind << 5 | low),
            _ => out.extend([low, kind - 7]),
        }
        out.extend(more);
    };
    match value {
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Object(map) => {
            control(7, map.len(), out);
            for (key, value) in map {
                put(&Value::from(key.as_str()), out);
                // Readers ask for the width that the specification names.
                match (key.as_str(), value.as_u64()) {
                    ("build_epoch", Some(number)) => {
                        control(9, 8, out);
                        out.extend(number.to_be_bytes());
                    }
                    ("node_count" | "autonomous_system_number", Some(number)) => {
                        control(6, 4, out);
                        out.extend(&number.to_be_bytes()[4..]);
                    }
                    _ => put(value, out),
                }
            }
        }
        Value::Array(items) => {
            control(11, items.len(), out);
            items.iter().for_each(|item| put(item, out));
        }
        Value::Number(number) => {
            control(5, 2, out);
            out.extend(&number.as_u64().unwrap().to_be_bytes()[6..]);
        }
        other => unreachable!("{other}"),
    }
}

pub(crate) fn networks() -> Vec<u8> {
    let row = |number: u32, name: &str| json!({"autonomous_system_number": number, "autonomous_system_organization": name});
    file(
        "GeoLite2-ASN",
        &[
            ("1.128.0.0/11", row(1221, "Telstra Pty Ltd")),
            ("10.0.0.0/8", row(64512, "private, and never asked for")),
            ("2600:6000::/20", row(237, "Merit Network Inc.")),
        ],
    )
}

pub(crate) fn cities() -> Vec<u8> {
    let named = |code: &str, name: &str| json!({"iso_code": code, "names": {"en": name, "de": "x"}});
    file(
        "GeoLite2-City",
        &[
            (
                "1.128.0.0/24",
                json!({
                    "continent": {"code": "OC", "names": {"en": "Oceania"}},
                    "country": named("AU", "Australia"), "registered_country": named("AU", "Australia"),
                    "subdivisions": [named("VIC", "Victoria")], "city": {"names": {"en": "Melbourne"}},
                    "location": {"time_zone": "Australia/Melbourne", "accuracy_radius": 10},
                }),
            ),
            ("2600:6000::/20", json!({"registered_country": named("US", "United States")})),
        ],
    )
}
