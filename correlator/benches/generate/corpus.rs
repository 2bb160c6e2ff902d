//! Rule files in the proportions of the public repositories: languages, conditions per rule, which fields they name and
//! what tells one rule from another. The texts are ours; nothing of a public rule is in them.

use super::random::Random;
use super::words;

/// Which rules a set is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Linux endpoints and AWS: what can fire where groundtrail runs.
    Ours,
    /// As the public repositories are: most rules are about other systems.
    Public,
    /// EQL over single events of Linux hosts, which other engines read too.
    Eql,
}

/// Rule files, one text each.
pub(crate) fn rules(seed: u64, n_rules: usize, mix: Mix) -> Vec<String> {
    let mut random = Random::new(seed);
    // More rules name more programs, but fewer new ones each.
    let names = Names { n_programs: 300 + n_rules, n_fragments: 200 + n_rules };
    (0..n_rules).map(|number| names.rule(&mut random, number, mix)).collect()
}

struct Names {
    n_programs: usize,
    n_fragments: usize,
}

impl Names {
    fn rule(&self, random: &mut Random, number: usize, mix: Mix) -> String {
        let is_elsewhere = mix == Mix::Public && random.percent(70);
        let (language, kind, query, more) = match (is_elsewhere, random.below(100)) {
            _ if mix == Mix::Eql => {
                ("eql", "eql", format!("process where {}", self.linux(random)), String::new())
            }
            (true, 0..30) => ("eql", "eql", self.windows(random), String::new()),
            (true, _) => ("eql", "eql", self.sigma_windows(random), String::new()),
            (false, 0..34) => ("eql", "eql", format!("process where {}", self.linux(random)), String::new()),
            (false, 34..42) => ("eql", "eql", self.sequence(random), String::new()),
            (false, 42..52) => self.new_terms(random),
            (false, 52..78) => ("kuery", "query", self.aws(random), String::new()),
            (false, _) => ("eql", "eql", self.sigma_linux(random), String::new()),
        };
        format!(
            "[metadata]\nmaturity = \"production\"\n\n[rule]\nname = \"Generated {number}\"\nrule_id = \"00000000-0000-4000-8000-{number:012x}\"\n\
             description = \"Generated.\"\nfrom = \"now-9m\"\ntype = \"{kind}\"\nlanguage = \"{language}\"\nquery = '''\n{query}\n'''\n\
             severity = \"low\"\nrisk_score = 21\n{more}"
        )
    }

    fn program(&self, random: &mut Random) -> String {
        words::program(random.rank(self.n_programs))
    }

    fn fragment(&self, random: &mut Random) -> String {
        words::fragment(random.rank(self.n_fragments))
    }

    fn programs(&self, random: &mut Random) -> String {
        match random.below(10) {
            0..4 => format!("== \"{}\"", self.program(random)),
            _ => {
                let n_names = 2 + random.below(7);
                let names: Vec<String> =
                    (0..n_names).map(|_| format!("\"{}\"", self.program(random))).collect();
                format!("in ({})", names.join(", "))
            }
        }
    }

    /// As a rule of an endpoint's vendor: the program, and two or three things that make it suspicious.
    fn linux(&self, random: &mut Random) -> String {
        let mut parts = vec![
            "host.os.type == \"linux\"".to_owned(),
            "event.type == \"start\"".to_owned(),
            "event.action in (\"exec\", \"exec_event\", \"start\", \"executed\", \"process_started\", \"ProcessRollup2\")".to_owned(),
        ];
        if random.percent(72) {
            parts.push(format!("process.name {}", self.programs(random)));
        } else {
            let folder = |random: &mut Random| words::folder(2 + random.rank(300));
            parts.push(format!(
                "process.executable like (\"{}/*\", \"{}/*\")",
                folder(random),
                folder(random)
            ));
        }
        let n_parts = parts.len();
        while parts.len() < n_parts + 2 {
            if random.percent(40) {
                let argument = |random: &mut Random| words::argument(random.rank(2000));
                parts.push(format!(
                    "process.args in (\"{}\", \"{}\", \"{}\")",
                    argument(random),
                    argument(random),
                    argument(random)
                ));
            }
            if random.percent(35) {
                parts.push(format!("process.parent.name {}", self.programs(random)));
            }
            if random.percent(40) {
                parts.push(format!(
                    "process.command_line like (\"*{}*\", \"*{}*\")",
                    self.fragment(random),
                    self.fragment(random)
                ));
            }
            if random.percent(20) {
                parts.push(format!(
                    "process.args like~ (\"*{}*\", \"{}/*\")",
                    self.fragment(random),
                    words::folder(2 + random.rank(300))
                ));
            }
        }
        if random.percent(40) {
            let executable =
                |random: &mut Random| format!("{}/{}", words::folder(random.rank(60)), self.program(random));
            parts.push(format!(
                "not process.parent.executable in (\"{}\", \"{}\")",
                executable(random),
                executable(random)
            ));
        }
        if random.percent(20) {
            parts.push(format!("not process.command_line like \"*{}*\"", self.fragment(random)));
        }
        parts.join(" and ")
    }

    fn sequence(&self, random: &mut Random) -> String {
        let (first, second) = (self.linux(random), self.linux(random));
        format!(
            "sequence by host.id, process.entity_id with maxspan=5s\n  [process where {first}]\n  [process where {second}]"
        )
    }

    fn new_terms(&self, random: &mut Random) -> (&'static str, &'static str, String, String) {
        let query = format!(
            "host.os.type:linux and event.category:process and event.type:start and event.action:(exec or start) and process.name:({} or {} or {}) and process.parent.executable:({}/* or {}/*) and not process.parent.name:({} or {}*)",
            self.program(random),
            self.program(random),
            self.program(random),
            words::folder(2 + random.rank(300)),
            words::folder(2 + random.rank(300)),
            self.program(random),
            self.program(random)
        );
        let more = "\n[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"host.id\", \"process.executable\"]\n\n\
                    [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-5d\"\n";
        ("kuery", "new_terms", query, more.to_owned())
    }

    fn aws(&self, random: &mut Random) -> String {
        const SERVICES: &[&str] = &[
            "iam",
            "ec2",
            "sts",
            "s3",
            "kms",
            "ssm",
            "lambda",
            "rds",
            "cloudtrail",
            "guardduty",
            "secretsmanager",
            "route53",
        ];
        let service = random.one_of(SERVICES);
        format!(
            "data_stream.dataset: \"aws.cloudtrail\" and event.provider: \"{service}.amazonaws.com\" and event.action: (\"Action{}\" or \"Action{}\") and event.outcome: success",
            random.rank(400),
            random.rank(400)
        )
    }

    fn sigma_linux(&self, random: &mut Random) -> String {
        let mut parts = Vec::new();
        if random.percent(80) {
            let names: Vec<String> =
                (0..1 + random.below(4)).map(|_| format!("\"*/{}\"", self.program(random))).collect();
            parts.push(format!("process.executable like~ ({})", names.join(", ")));
        }
        if parts.is_empty() || random.percent(98) {
            let texts: Vec<String> =
                (0..1 + random.below(4)).map(|_| format!("\"*{}*\"", self.fragment(random))).collect();
            parts.push(format!("process.command_line like~ ({})", texts.join(", ")));
        }
        format!("process where host.os.type == \"linux\" and {}", parts.join(" and "))
    }

    fn windows(&self, random: &mut Random) -> String {
        format!(
            "process where host.os.type == \"windows\" and event.type == \"start\" and process.name : (\"{}.exe\", \"{}.exe\") and process.args : (\"{}\", \"*{}*\")",
            self.program(random),
            self.program(random),
            words::argument(random.rank(300)),
            self.fragment(random)
        )
    }

    fn sigma_windows(&self, random: &mut Random) -> String {
        format!(
            "process where host.os.type == \"windows\" and process.executable like~ (\"*\\\\{}.exe\", \"*\\\\{}.exe\") and process.command_line like~ (\"*{}*\", \"* {}*\")",
            self.program(random),
            self.program(random),
            self.fragment(random),
            words::argument(random.rank(300))
        )
    }
}
