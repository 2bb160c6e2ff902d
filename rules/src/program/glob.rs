//! The `index` globs of a rule, matched against the index an event would have.

use super::over_alerts::{ALERTS_INDEX, ALERTS_NAMES};
use crate::pattern::Case;
use crate::pattern::wildcard::{Wildcard, pieces};

/// Where the older shipper would have put what AWS sources deliver. Many public rules still name it beside the data
/// stream, and some alone.
const FILEBEAT: &str = "filebeat-groundtrail";

/// The globs of one rule.
#[derive(Debug)]
pub(super) struct IndexGlobs {
    include: Vec<Wildcard>,
    exclude: Vec<Wildcard>,
    /// The index of alerts is a hidden one: `*` does not mean it, `.alerts-*` does.
    has_alerts: bool,
}

impl IndexGlobs {
    pub(super) fn new(globs: &[String]) -> Self {
        let mut all = Self { include: Vec::new(), exclude: Vec::new(), has_alerts: false };
        for glob in globs {
            // `*:logs-*` names the same index on remote clusters.
            let glob = glob.rsplit_once(':').map_or(glob.as_str(), |(_, local)| local);
            match glob.strip_prefix('-') {
                Some(glob) => all.exclude.push(compile(glob)),
                None => {
                    let compiled = compile(glob);
                    all.has_alerts |= glob.starts_with('.') && is_alerts(&compiled);
                    all.include.push(compiled);
                }
            }
        }
        all
    }

    pub(super) fn admit(&self, index: &str) -> bool {
        if index == ALERTS_INDEX {
            return (self.include.is_empty() || self.has_alerts) && !self.exclude.iter().any(is_alerts);
        }
        let is_in = |globs: &[Wildcard]| {
            let is_aws = index.starts_with("logs-aws.");
            globs.iter().any(|glob| glob.is_match(index) || (is_aws && glob.is_match(FILEBEAT)))
        };
        (self.include.is_empty() || is_in(&self.include)) && !is_in(&self.exclude)
    }
}

fn is_alerts(glob: &Wildcard) -> bool {
    ALERTS_NAMES.iter().any(|name| glob.is_match(name))
}

fn compile(glob: &str) -> Wildcard {
    Wildcard::new(pieces(glob), Case::Sensitive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_choose_indices() {
        fn check(globs: &[&str], index: &str, expect: bool) {
            let globs: Vec<String> = globs.iter().map(|glob| glob.to_string()).collect();
            assert_eq!(IndexGlobs::new(&globs).admit(index), expect, "{globs:?} on {index}");
        }
        check(&[], "logs-endpoint.events.process-default", true);
        check(&["logs-endpoint.events.process*"], "logs-endpoint.events.process-default", true);
        check(&["logs-endpoint.events.process*"], "logs-endpoint.events.network-default", false);
        check(&["auditbeat-*", "logs-aws.cloudtrail-*"], "logs-aws.cloudtrail-default", true);
        check(&["filebeat-*"], "logs-aws.cloudtrail-default", true);
        check(&["filebeat-*"], "logs-endpoint.events.process-default", false);
        check(&["*:logs-*"], "logs-endpoint.events.process-default", true);
        check(&["logs-*", "-logs-aws*"], "logs-aws.cloudtrail-default", false);
        check(&["logs-*", "-logs-aws*"], "logs-endpoint.events.process-default", true);
    }
}
