//! Rules of every kind of machine, for tests that hold of each of them.

use std::sync::OnceLock;

use super::tests::{ASKED, FIRST, SENT, SWEPT, UNORDERED, World, world};

/// A late connection unmakes it.
pub(super) const SILENT: &str = r#"
[rule]
name = "Started in silence"
rule_id = "00000000-0000-4000-8000-000000000011"
description = "d"
type = "eql"
language = "eql"
severity = "medium"
risk_score = 47
query = '''
sequence by host.id with maxspan=20s
  [process where process.name == "aws"]
  ![network where host.os.type == "linux" and event.action == "connection_attempted"]
  [process where process.name == "sh"]
'''
[[rule.threat]]
framework = "MITRE ATT&CK"
[rule.threat.tactic]
id = "TA0002"
name = "Execution"
reference = "https://attack.mitre.org/tactics/TA0002/"
"#;

const REPEATED: &str = r#"
[rule]
name = "Three shells, then a connection"
rule_id = "00000000-0000-4000-8000-000000000032"
description = "d"
type = "eql"
language = "eql"
severity = "low"
risk_score = 21
query = '''
sequence by host.id with maxspan=2m
  [process where process.name == "sh"] with runs=3
  [network where event.action == "connection_attempted"]
until [process where process.name == "aws"]
'''
"#;

const SAMPLED: &str = r#"
[rule]
name = "Both in any order"
rule_id = "00000000-0000-4000-8000-000000000033"
description = "d"
type = "eql"
language = "eql"
from = "now-1m"
severity = "low"
risk_score = 21
query = '''
sample by host.id
  [process where process.name == "aws"]
  [process where process.name in ("curl", "aws")]
'''
"#;

const BUCKETED: &str = r#"
[rule]
name = "Many kinds of calls in one bucket"
rule_id = "00000000-0000-4000-8000-000000000034"
description = "d"
type = "esql"
language = "esql"
from = "now-9m"
severity = "low"
risk_score = 21
query = '''
FROM logs-aws.cloudtrail-*
| WHERE event.provider == "ec2.amazonaws.com"
| EVAL bucket = DATE_TRUNC(1 minute, @timestamp)
| STATS n = COUNT(*), kinds = COUNT_DISTINCT(event.action), names = VALUES(event.action) BY bucket, aws.cloudtrail.user_identity.arn
| WHERE kinds >= 2
'''
"#;

/// Suppressed by host.
const FOLDED: &str = r#"
[rule]
name = "Any curl, once a minute"
rule_id = "00000000-0000-4000-8000-000000000035"
description = "d"
type = "query"
language = "kuery"
severity = "low"
risk_score = 21
query = 'process.name:curl and event.category:process'
[rule.alert_suppression]
group_by = ["host.id"]
[rule.alert_suppression.duration]
value = 1
unit = "m"
"#;

const COUNTED: &str = "title: Shells
name: shells
logsource: {product: linux, category: process_creation}
detection: {s: {CommandLine|startswith: sh}, condition: s}
level: low
---
title: Four shells
id: 00000000-0000-4000-8000-000000000036
correlation: {type: event_count, rules: [shells], group-by: [Computer], timespan: 1m, condition: {gte: 4}}
level: low
";

/// More events can make it false: judged when its time is over.
const AT_MOST: &str = "title: Curls
name: curls
logsource: {product: linux, category: process_creation}
detection: {s: {CommandLine|startswith: curl}, condition: s}
level: low
---
title: Two curls and no more
id: 00000000-0000-4000-8000-000000000037
correlation: {type: event_count, rules: [curls], group-by: [Computer], timespan: 1m, condition: {eq: 2}}
level: low
";

const IN_ORDER: &str = "title: Describes
name: describes
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName|startswith: Describe}, condition: s}
level: low
---
title: Sends
name: sends
logsource: {product: aws, service: cloudtrail}
detection: {s: {eventName: SendCommand}, condition: s}
level: low
---
title: Looked, then sent
id: 00000000-0000-4000-8000-000000000038
correlation: {type: temporal_ordered, rules: [describes, sends], group-by: [userIdentity.arn], timespan: 1m}
level: low
";

/// Those that an old store's fixture was made with: they stay as they are.
pub(super) fn world_of_the_fixtures() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| world(&[SENT, ASKED, SWEPT, FIRST, REPEATED, SAMPLED, BUCKETED, FOLDED]))
}

/// Every machine, and what stands around them: contexts, absence, suppression.
pub(super) fn world_of_every_kind() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        world(&[
            SENT, ASKED, SWEPT, FIRST, SILENT, UNORDERED, REPEATED, SAMPLED, BUCKETED, FOLDED, COUNTED,
            AT_MOST, IN_ORDER,
        ])
    })
}
