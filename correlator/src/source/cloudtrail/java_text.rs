//! `requestParameters` and its kin as the text that Elastic's pipeline makes of them: Java's `Map.toString()`.
//!
//! Public rules match and dissect this text (`*policyArn=*Quarantine*`, `{groupName=%{group}, userName=…}`), so the
//! order of its keys is part of it: that of a `java.util.HashMap`, neither the record's nor the alphabet's.

use crate::source::json::Json;

/// `{b=1, a=[x, y]}`. Null and empty values are left out, as Elastic drops them first.
pub fn java_text(json: &Json<'_>) -> String {
    let mut text = String::new();
    write_value(json, &mut text);
    text
}

fn write_value(json: &Json<'_>, text: &mut String) {
    match json {
        Json::Null => text.push_str("null"),
        Json::Bool(bool) => text.push_str(if *bool { "true" } else { "false" }),
        Json::Int(int) => text.push_str(&int.to_string()),
        Json::Float(float) => text.push_str(&java_double(*float)),
        Json::Str(string) => text.push_str(string),
        Json::List(items) => {
            text.push('[');
            for (idx, item) in items.iter().filter(|item| !item.is_empty()).enumerate() {
                if idx > 0 {
                    text.push_str(", ");
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Json::Object(_) => {
            text.push('{');
            for (idx, (key, value)) in hash_map_order(json).into_iter().enumerate() {
                if idx > 0 {
                    text.push_str(", ");
                }
                text.push_str(key);
                text.push('=');
                write_value(value, text);
            }
            text.push('}');
        }
    }
}

/// The entries in the order a `java.util.HashMap` hands them out: by bucket, and inside a bucket as inserted.
///
/// The table has 16 buckets and doubles when more than three quarters full; splitting a bucket keeps its order.
/// Values dropped later still counted for the size. Buckets of eight and more become trees in Java: no record's
/// parameters come near.
fn hash_map_order<'a>(json: &Json<'a>) -> Vec<(&'a str, &'a Json<'a>)> {
    let mut entries: Vec<(&str, &Json<'_>)> = Vec::with_capacity(json.entries().len());
    if json.entries().len() <= 64 {
        for (key, value) in json.entries() {
            // A key that comes again takes the place of the first.
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some(held) => held.1 = value,
                None => entries.push((key, value)),
            }
        }
    } else {
        entries.extend(json.entries().iter().map(|(key, value)| (*key, value)));
    }
    let mut buckets: u32 = 16;
    while entries.len() > (buckets as usize / 4) * 3 {
        buckets *= 2;
    }
    entries.retain(|(_, value)| !value.is_empty());
    entries.sort_by_key(|(key, _)| {
        let hash = string_hash_code(key);
        (hash ^ (hash >> 16)) & (buckets - 1)
    });
    entries
}

/// `java.lang.String.hashCode`, over UTF-16 units.
fn string_hash_code(text: &str) -> u32 {
    text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// `java.lang.Double.toString`: plain between a thousandth and ten million, else with an exponent.
fn java_double(float: f64) -> String {
    let size = float.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{float:?}");
    }
    let text = format!("{float:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::json::Arena;

    fn check(json: &str, expect: &str) {
        assert_eq!(java_text(&Json::parse(json, &Arena::new()).unwrap()), expect);
    }

    #[test]
    fn keys_stand_in_hash_map_order() {
        check(r#"{"userName":"Bob","groupName":"admin"}"#, "{groupName=admin, userName=Bob}");
        check(
            r#"{"userName":"amy","policyArn":"arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2"}"#,
            "{policyArn=arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2, userName=amy}",
        );
    }

    /// Worked out from `String.hashCode`: "Aa" and "BB" collide, so they keep their order; "C" is 67, bucket 3.
    #[test]
    fn one_bucket_keeps_the_order_of_the_record() {
        assert_eq!(string_hash_code("Aa"), string_hash_code("BB"));
        check(r#"{"C":1,"BB":2,"Aa":3}"#, "{BB=2, Aa=3, C=1}");
        check(r#"{"C":1,"Aa":3,"BB":2}"#, "{Aa=3, BB=2, C=1}");
    }

    /// One-letter keys hash to their code: 16 buckets put `p` (112) before `a` (97), 32 buckets do not.
    #[test]
    fn a_map_past_twelve_entries_has_more_buckets() {
        check(r#"{"a":1,"p":2}"#, "{p=2, a=1}");
        check(
            r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"p":2}"#,
            "{a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1, k=1, l=1, p=2}",
        );
    }

    #[test]
    fn values_read_as_java_prints_them() {
        check(r#"{"a":[1,true,"x",{"b":null}]}"#, "{a=[1, true, x]}");
        check(r#"{"n":1.0}"#, "{n=1.0}");
        check(r#"{"n":1e10}"#, "{n=1.0E10}");
        check(r#"{"n":0.00012}"#, "{n=1.2E-4}");
        check("{}", "{}");
        check(r#""HIDDEN_DUE_TO_SECURITY_REASONS""#, "HIDDEN_DUE_TO_SECURITY_REASONS");
    }

    #[test]
    fn a_repeated_key_keeps_its_place_and_its_last_value() {
        check(r#"{"Aa":1,"BB":2,"Aa":3}"#, "{Aa=3, BB=2}");
    }
}
