//! Settings that are exceptions under another name: known endpoints and principals whose discovery is expected.

use super::{Config, Exception, KnownEndpoint};

/// "AWS CLI sent to a custom endpoint".
const ENDPOINT_RULE: &str = "ee605a11-2881-47ab-a789-d47591ae8f2e";
/// The burst through the CLI and the sweep over EC2.
const DISCOVERY_RULES: [&str; 2] =
    ["ca322466-6fb2-48b7-885f-1272858e644b", "903d7db5-e28e-41b2-8b3b-2156195b8e47"];

impl Config {
    /// The exceptions written as such, and those that follow from other settings.
    pub fn all_exceptions(&self) -> Vec<Exception> {
        let mut exceptions = self.exceptions.clone();
        exceptions.extend(endpoint_query(&self.known_endpoints).map(|query| Exception {
            rule_id: ENDPOINT_RULE.to_owned(),
            query,
            query_at: 0..0,
            query_in: None,
            reason: "[endpoints] known".to_owned(),
            expires: None,
            owner: None,
            takes: Vec::new(),
        }));
        if let Some(query) = principal_query(&self.discovery_allowed) {
            exceptions.extend(DISCOVERY_RULES.map(|rule_id| Exception {
                rule_id: rule_id.to_owned(),
                query: query.clone(),
                query_at: 0..0,
                query_in: None,
                reason: "[discovery] allowed".to_owned(),
                expires: None,
                owner: None,
                takes: Vec::new(),
            }));
        }
        exceptions
    }
}

/// KQL that matches a command sent to one of the endpoints.
fn endpoint_query(known: &[KnownEndpoint]) -> Option<String> {
    let mut hosts = Vec::new();
    let mut nets = Vec::new();
    for endpoint in known {
        match endpoint {
            KnownEndpoint::Host(host) => hosts.push(escape_but_stars(host)),
            KnownEndpoint::Net(net) => nets.push(format!("\"{net}\"")),
        }
    }
    let any_of = |field: &str, values: Vec<String>| {
        (!values.is_empty()).then(|| format!("{field}:({})", values.join(" or ")))
    };
    let parts = [any_of("groundtrail.endpoint.domain", hosts), any_of("groundtrail.endpoint.ip", nets)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" or "))
}

fn principal_query(allowed: &[String]) -> Option<String> {
    let values: Vec<String> = allowed.iter().map(|arn| escape_but_stars(arn)).collect();
    (!values.is_empty()).then(|| format!("aws.cloudtrail.user_identity.arn:({})", values.join(" or ")))
}

/// A literal of KQL in which only `*` means anything. Hosts and ARNs, as the configuration lets them in, hold no other
/// character that KQL would act on.
fn escape_but_stars(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c == ':' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::eval;
    use rules::event::{Event, EventTime, Value};
    use rules::schema::Schema;
    use std::path::Path;

    /// Whether some exception of the configuration, compiled as KQL, takes an event with these fields.
    #[track_caller]
    fn check(config: &str, fields: &[(&str, &str)], expect: bool) {
        let config = Config::parse(config, Path::new("groundtrail.toml")).unwrap();
        let mut schema = Schema::builtin();
        let mut event = Event::new("1", EventTime(0), "");
        for (path, value) in fields {
            event.push(schema.id(path).expect("a field of the table"), Value::str(*value));
        }
        let exceptions = config.all_exceptions();
        assert!(!exceptions.is_empty());
        let is_taken = exceptions.iter().any(|exception| {
            let compiled = rules::kql::compile(&exception.query, &mut schema).expect("it compiles");
            assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
            eval::matches(&compiled.plan, &event)
        });
        assert_eq!(is_taken, expect, "{fields:?}");
    }

    #[test]
    fn the_rules_named_here_are_in_the_catalogue() {
        let loaded = rules::catalogue::builtin(&mut Schema::builtin());
        for id in [ENDPOINT_RULE].into_iter().chain(DISCOVERY_RULES) {
            assert!(loaded.rules.iter().any(|rule| rule.id == id), "no shipped rule has the id {id}");
        }
    }

    #[test]
    fn known_endpoints_are_taken_and_their_lookalikes_are_not() {
        let config =
            "endpoints.known = [\"minio.example.net\", \"*.corp.example.net\", \"10.0.0.0/8\", \"fd00::/8\"]";
        let domain = |host| [("groundtrail.endpoint.domain", host)];
        check(config, &domain("minio.example.net"), true);
        check(config, &domain("s3.corp.example.net"), true);
        check(config, &domain("corp.example.net"), false);
        check(config, &domain("minio.example.net.rogue.example"), false);
        check(config, &domain("10.evil.example"), false);
        let address = |ip| [("groundtrail.endpoint.domain", ip), ("groundtrail.endpoint.ip", ip)];
        check(config, &address("10.1.2.3"), true);
        check(config, &address("11.1.2.3"), false);
        check(config, &address("fd00::1"), true);
    }

    #[test]
    fn allowed_principals_are_taken() {
        let config = "discovery.allowed = [\"arn:aws:sts::123456789012:assumed-role/inventory/*\", \"arn:*/a+b=c,d.e@f\"]";
        let arn = |arn| [("aws.cloudtrail.user_identity.arn", arn)];
        check(config, &arn("arn:aws:sts::123456789012:assumed-role/inventory/i-0abc"), true);
        check(config, &arn("arn:aws:sts::123456789012:assumed-role/inventory2/i-0abc"), false);
        check(config, &arn("arn:aws:iam::123456789012:user/a+b=c,d.e@f"), true);
    }
}
