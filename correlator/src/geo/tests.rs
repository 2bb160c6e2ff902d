use serde_json::json;

use super::*;

fn places(folder: &Path) -> Places {
    let (networks, cities) = (folder.join("asn.mmdb"), folder.join("city.mmdb"));
    std::fs::write(&networks, testing::networks()).unwrap();
    std::fs::write(&cities, testing::cities()).unwrap();
    Places::open(Some(&networks), Some(&cities)).unwrap()
}

struct Fields(Vec<(String, String)>);

impl FieldSink for Fields {
    fn put(&mut self, path: &str, value: Scalar<'_>) {
        let value = match value {
            Scalar::Str(text) => text.to_owned(),
            Scalar::Int(int) => int.to_string(),
            other => format!("{other:?}"),
        };
        self.0.push((path.to_owned(), value));
    }
}

#[track_caller]
fn check(places: &Places, address: &str, side: Side, expect: &[(&str, &str)]) {
    let mut fields = Fields(Vec::new());
    let found: Vec<Place> = places.find(address.parse().unwrap(), side).into_iter().collect();
    put_places(&found, &mut fields);
    let expect: Vec<(String, String)> =
        expect.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    assert_eq!(fields.0, expect, "{address}");
}

#[test]
fn public_addresses_have_a_network_and_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path());
    check(
        &places,
        "1.128.0.7",
        Side::Source,
        &[
            ("source.as.number", "1221"),
            ("source.as.organization.name", "Telstra Pty Ltd"),
            ("source.geo.continent_code", "OC"),
            ("source.geo.country_iso_code", "AU"),
            ("source.geo.country_name", "Australia"),
            ("source.geo.region_iso_code", "AU-VIC"),
            ("source.geo.region_name", "Victoria"),
            ("source.geo.city_name", "Melbourne"),
            ("source.geo.timezone", "Australia/Melbourne"),
        ],
    );
    let network =
        [("destination.as.number", "1221"), ("destination.as.organization.name", "Telstra Pty Ltd")];
    check(&places, "1.128.9.7", Side::Destination, &network);
    check(&places, "::ffff:1.128.9.7", Side::Destination, &network);
    check(
        &places,
        "2600:6000::1",
        Side::Source,
        &[
            ("source.as.number", "237"),
            ("source.as.organization.name", "Merit Network Inc."),
            ("source.geo.country_iso_code", "US"),
            ("source.geo.country_name", "United States"),
        ],
    );
    for unknown in ["10.1.2.3", "9.9.9.9", "127.0.0.1", "fe80::1", "2001:4860::1"] {
        check(&places, unknown, Side::Source, &[]);
    }
}

#[test]
fn a_file_of_another_kind_or_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mmdb");
    let error = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Places::open(None, Some(&path)).unwrap_err().to_string()
    };
    assert!(error(b"<html>not found</html>").contains("no file in MaxMind's format"));
    assert!(error(&testing::networks()).contains("of the type \"GeoLite2-ASN\", which has no countries"));
    let whole = testing::cities();
    // Without some of its data.
    let cut = [&whole[..300], &whole[400..]].concat();
    assert!(error(&cut).contains("no file in MaxMind's format"), "{}", error(&cut));
    assert!(error(&whole[..whole.len() / 2]).contains("no file in MaxMind's format"));
    std::fs::remove_file(&path).unwrap();
    assert!(Places::open(Some(&path), None).unwrap_err().to_string().contains("cannot read"));
    let odd = testing::file("DBIP-Country-Lite", &[("1.128.0.0/11", json!({"country": {"iso_code": "AU"}}))]);
    std::fs::write(&path, odd).unwrap();
    let places = Places::open(None, Some(&path)).unwrap();
    check(&places, "1.128.0.7", Side::Source, &[("source.geo.country_iso_code", "AU")]);
}

#[test]
fn only_addresses_of_the_internet_are_public() {
    for (address, is) in [
        ("8.8.8.8", true),
        ("100.63.0.1", true),
        ("100.64.0.1", false),
        ("169.254.169.254", false),
        ("172.16.0.1", false),
        ("172.32.0.1", true),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
        ("0.1.2.3", false),
        ("198.18.0.1", false),
        ("2600::1", true),
        ("fd00::1", false),
        ("::1", false),
        ("ff02::1", false),
    ] {
        assert_eq!(is_public(address.parse().unwrap()), is, "{address}");
    }
}
