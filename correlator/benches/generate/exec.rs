//! Exec events as the sensor writes them, 2 KB each. Pessimistic: most programs are ones that rules are about.

use super::random::Random;
use super::words;

/// Programs that this imitation of a host runs.
const N_PROGRAMS: usize = 400;

pub(crate) fn events(seed: u64, n_events: usize) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..n_events).map(|number| event(&mut random, number)).collect()
}

pub(crate) struct Program {
    name: String,
    pub(crate) executable: String,
    pub(crate) args: Vec<String>,
}

impl Program {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let name = words::program(random.rank(N_PROGRAMS));
        let folder = if random.percent(80) { "/usr/bin".to_owned() } else { words::folder(random.rank(40)) };
        let executable = format!("{folder}/{name}");
        let mut args = vec![if random.percent(60) { name.clone() } else { executable.clone() }];
        for _ in 0..random.below(6) {
            args.push(match random.below(10) {
                0..5 => words::argument(random.rank(300)),
                5..8 => format!("{}/file{}.txt", words::folder(random.rank(60)), random.below(500)),
                8 => words::fragment(random.rank(400)),
                _ => format!("https://host{}.example.com/path", random.below(200)),
            });
        }
        Self { name, executable, args }
    }

    fn json(&self) -> (String, String, usize) {
        let args: Vec<String> = self.args.iter().map(|arg| format!("\"{arg}\"")).collect();
        (format!("[{}]", args.join(",")), self.args.join(" "), self.args.len())
    }
}

fn event(random: &mut Random, number: usize) -> String {
    let (program, parent) = (Program::draw(random), Program::draw(random));
    let (args, command_line, args_count) = program.json();
    let (parent_args, parent_command_line, parent_args_count) = parent.json();
    let grandparents: Vec<String> = (0..2)
        .map(|_| {
            let one = Program::draw(random);
            let (_, command_line, _) = one.json();
            format!(
                r#"{{"command_line":"{command_line}","entity_id":"{:016x}Xs6Zg1","executable":"{}","name":"{}","pid":{}}}"#,
                random.next(), one.executable, one.name, 300 + random.below(4000)
            )
        })
        .collect();
    let host = random.below(20);
    let (second, nano) = (number / 1000, (number % 1000) * 1_000_000);
    let (minute, second) = (second / 60 % 60, second % 60);
    let (user_id, user) = if random.percent(70) { ("0", "root") } else { ("1000", "app") };
    let (entity, parent_entity) = (random.next(), random.next());
    let (pid, parent_pid) = (5000 + random.below(20_000), 300 + random.below(4000));
    let (name, executable) = (&program.name, &program.executable);
    let (parent_name, parent_executable) = (&parent.name, &parent.executable);
    let ancestors = grandparents.join(",");
    let identity = format!(r#""group":{{"id":"{user_id}","name":"{user}"}}"#);
    format!(
        concat!(
            r#"{{"@timestamp":"2026-11-02T10:{minute:02}:{second:02}.{nano:09}Z","agent":{{"id":"i-0a1b2c3d4e5f607{host:02}","type":"groundtrail-sensor","version":"0.1.0"}},"#,
            r#""cloud":{{"account":{{"id":"111122223333"}},"instance":{{"id":"i-0a1b2c3d4e5f607{host:02}"}},"provider":"aws","region":"us-east-1"}},"#,
            r#""data_stream":{{"dataset":"endpoint.events.process","namespace":"default","type":"logs"}},"ecs":{{"version":"8.17.0"}},"#,
            r#""event":{{"action":"exec","category":["process"],"dataset":"endpoint.events.process","id":"{number:012x}PMmHfDK","kind":"event","module":"endpoint","sequence":{number},"type":["start"]}},"#,
            r#""groundtrail":{{"process":{{"ancestors":[{ancestors}],"exec_path":"{executable}"}}}},{identity},"#,
            r#""host":{{"architecture":"x86_64","boot":{{"id":"00000000-0000-4000-8000-000000000001"}},"hostname":"ip-10-0-1-{host}.ec2.internal","id":"i-0a1b2c3d4e5f607{host:02}","ip":["10.0.1.{host}"],"name":"ip-10-0-1-{host}.ec2.internal","os":{{"kernel":"6.1.0","name":"Debian GNU/Linux","platform":"debian","type":"linux","version":"12"}}}},"#,
            r#""process":{{"Ext":{{"ancestry":["{parent_entity:016x}Xs6Zg1"]}},"args":{args},"args_count":{args_count},"command_line":"{command_line}","entity_id":"{entity:016x}Xs6Zg1","executable":"{executable}","interactive":false,"name":"{name}","#,
            r#""parent":{{"args":{parent_args},"args_count":{parent_args_count},"command_line":"{parent_command_line}","entity_id":"{parent_entity:016x}Xs6Zg1","executable":"{parent_executable}","name":"{parent_name}","pid":{parent_pid},"start":"2026-11-02T09:59:58.422198003Z","working_directory":"/"}},"#,
            r#""pid":{pid},"real_group":{{"id":"{user_id}","name":"{user}"}},"real_user":{{"id":"{user_id}","name":"{user}"}},"saved_group":{{"id":"{user_id}","name":"{user}"}},"saved_user":{{"id":"{user_id}","name":"{user}"}},"start":"2026-11-02T10:00:00.544887325Z","thread":{{"id":{pid}}},"working_directory":"/usr/bin"}},"#,
            r#""user":{{"id":"{user_id}","name":"{user}"}}}}"#,
        ),
        minute = minute,
        second = second,
        nano = nano,
        host = host,
        number = number,
        ancestors = ancestors,
        executable = executable,
        identity = identity,
        parent_entity = parent_entity,
        args = args,
        args_count = args_count,
        command_line = command_line,
        entity = entity,
        name = name,
        parent_args = parent_args,
        parent_args_count = parent_args_count,
        parent_command_line = parent_command_line,
        parent_executable = parent_executable,
        parent_name = parent_name,
        parent_pid = parent_pid,
        pid = pid,
        user_id = user_id,
        user = user,
    )
}
