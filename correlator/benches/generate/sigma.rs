//! Sigma rules over process creation, in the proportions of the public ones, and flat events under Sigma's own names, so
//! that nobody has to map anything. The texts are ours.

use super::exec;
use super::random::Random;
use super::words;

/// Files of YAML, a rule each. Of Linux alone, or most of them about Windows, as the public ones are.
pub(crate) fn rules(seed: u64, n_rules: usize, is_linux_alone: bool) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..n_rules)
        .map(|number| {
            let is_linux = is_linux_alone || random.percent(7);
            rule(&mut random, number, n_rules, is_linux)
        })
        .collect()
}

fn rule(random: &mut Random, number: usize, n_rules: usize, is_linux: bool) -> String {
    let image = |random: &mut Random| {
        let name = words::program(random.rank(300 + n_rules));
        if is_linux { format!("/{name}") } else { format!("\\{name}.exe") }
    };
    let text = |random: &mut Random| match random.below(3) {
        0 => format!(" {}", words::argument(random.rank(300))),
        _ => words::fragment(random.rank(200 + n_rules)),
    };
    let mut parts = Vec::new();
    if random.percent(80) {
        parts.push(selection("image", "Image|endswith", 1 + random.below(4), || image(random)));
    }
    if parts.is_empty() || random.percent(90) {
        let how = if random.percent(15) { "CommandLine|contains|all" } else { "CommandLine|contains" };
        parts.push(selection("line", how, 1 + random.below(5), || text(random)));
    }
    if random.percent(20) {
        parts.push(selection("parent", "ParentImage|endswith", 1 + random.below(3), || image(random)));
    }
    let filter = random.percent(25).then(|| {
        selection("main", "ParentCommandLine|contains", 1, || text(random)).replace("selection_", "filter_")
    });
    let unless = if filter.is_some() { " and not 1 of filter_*" } else { "" };
    let product = if is_linux { "linux" } else { "windows" };
    format!(
        "title: Generated {number}\nid: 00000000-0000-4000-8000-{number:012x}\nstatus: test\ndescription: Generated.\n\
         logsource:\n  category: process_creation\n  product: {product}\ndetection:\n{}{}  condition: all of selection_*{unless}\n\
         level: medium\n",
        parts.concat(),
        filter.unwrap_or_default()
    )
}

fn selection(name: &str, field: &str, n_items: usize, mut item: impl FnMut() -> String) -> String {
    let items: String = (0..n_items).map(|_| format!("      - '{}'\n", item())).collect();
    format!("  selection_{name}:\n    {field}:\n{items}")
}

/// Process creations, flat.
pub(crate) fn events(seed: u64, n_events: usize) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..n_events)
        .map(|number| {
            let (one, parent) = (exec::Program::draw(&mut random), exec::Program::draw(&mut random));
            let (minute, second) = (number / 60_000 % 60, number / 1_000 % 60);
            let time = format!("2026-11-02T10:{minute:02}:{second:02}.{:03}Z", number % 1_000);
            let (guid, parent_guid) = (random.next(), random.next());
            format!(
                concat!(
                    r#"{{"@timestamp":"{}","EventID":1,"Channel":"Linux-Sysmon/Operational","Computer":"ip-10-0-1-{}.ec2.internal","#,
                    r#""UtcTime":"{}","RuleName":"-","ProcessGuid":"{{{:032x}}}","ProcessId":{},"Image":"{}","FileVersion":"-","Description":"-","#,
                    r#""Product":"-","Company":"-","OriginalFileName":"-","CommandLine":"{}","CurrentDirectory":"/usr/bin","User":"{}","#,
                    r#""LogonGuid":"{{00000000-0000-0000-0000-000000000000}}","LogonId":1000,"TerminalSessionId":3,"IntegrityLevel":"no level","#,
                    r#""Hashes":"-","ParentProcessGuid":"{{{:032x}}}","ParentProcessId":{},"ParentImage":"{}","ParentCommandLine":"{}","ParentUser":"root"}}"#,
                ),
                time,
                random.below(20),
                time,
                guid,
                5_000 + random.below(20_000),
                one.executable,
                one.args.join(" "),
                if random.percent(70) { "root" } else { "app" },
                parent_guid,
                300 + random.below(4_000),
                parent.executable,
                parent.args.join(" "),
            )
        })
        .collect()
}
