//! `ca`: certificates for a small site's sensors and correlator.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::table::Table;
use super::terminal::Terminal;
use super::{CliError, Outcome};
use crate::ca::{self, Authority, CaError, Entry, Issued, State, Subject};
use crate::time::{Clock as _, SystemClock, format};
use crate::wire::people;
use rules::event::{EventTime, Span};

/// Said of a certificate that ends sooner than this.
const SOON: Span = Span::from_secs(30 * 24 * 3_600);

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Make an authority: a folder with its key, its certificate and an empty revocation list
    Init(Init),
    /// Sign a certificate: for the correlator (--server) or for a sensor (--host). Again for the same name renews it
    Issue(Issue),
    /// Take back what was issued to a name, or the one certificate of a serial number
    Revoke(Revoke),
    /// List what was issued, and until when it is good
    List(At),
}

#[derive(Debug, Args)]
pub(super) struct At {
    /// The authority's folder
    #[arg(long, value_name = "DIR", default_value = "/etc/groundtrail/ca", env = "GROUNDTRAIL_CA")]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    at: At,
    /// What the authority is called in its certificates
    #[arg(long, value_name = "NAME", default_value = "groundtrail")]
    name: String,
    /// How long it is good
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36500))]
    days: u32,
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    #[command(flatten)]
    at: At,
    /// For the correlator: a name or address under which sensors reach it; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with = "host")]
    server: Vec<String>,
    /// For a sensor: the host.id it speaks for, as `groundtrail-sensor doctor` prints it
    #[arg(long, value_name = "ID")]
    host: Option<String>,
    /// The instance that host is, where its host.id is not the instance id
    #[arg(long, value_name = "i-…", requires = "host")]
    instance: Option<String>,
    /// Sign the key of this request (PEM) instead of making one: the key never leaves its host
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// How long it is good
    #[arg(long, value_name = "DAYS", default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Folder for NAME.pem, NAME.key and a copy of ca.pem
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The user who is to own the key: the only one who can read it
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    at: At,
    /// The host id or server name it was issued to, or the beginning of a serial number
    #[arg(value_name = "NAME|SERIAL")]
    what: String,
}

pub(super) fn run(what: What, terminal: &Terminal) -> Result<Outcome, CliError> {
    let now = SystemClock.now();
    match what {
        What::Init(Init { at, name, days }) => {
            ca::init(&at.dir, &name, days, now)?;
            let dir = at.dir.display();
            terminal.note(
                "made",
                &format!("an authority in \"{dir}\": keep a copy of it, and its key to yourself"),
            );
            Ok(Outcome::Clean)
        }
        What::Issue(flags) => issue(&flags, now, terminal),
        What::Revoke(Revoke { at, what }) => {
            let revoked = Authority::open(&at.dir)?.revoke(&what, now)?;
            for entry in &revoked {
                terminal.note("revoked", &line(entry, now));
            }
            if revoked.is_empty() {
                terminal.note("nothing", "to do: it was revoked before");
            } else {
                let list = at.dir.join(ca::REVOKED);
                let text = format!(
                    "\"{}\" says so: a correlator that reads it there does so within seconds",
                    list.display()
                );
                terminal.note("list", &text);
            }
            Ok(Outcome::Clean)
        }
        What::List(at) => {
            let authority = Authority::open(&at.dir)?;
            let mut table = Table::new(&["name", "for", "serial", "until", "state"]);
            for entry in authority.entries() {
                let kind = entry.kind.name().to_owned();
                let names = entry.names.join(", ");
                table.row(vec![names, kind, entry.serial.clone(), day(entry.not_after), state(entry, now)]);
            }
            terminal.data(&table.render(terminal.stdout.width))?;
            terminal.note("authority", &format!("good until {}", day(authority.ends())));
            Ok(Outcome::Clean)
        }
    }
}

fn issue(flags: &Issue, now: EventTime, terminal: &Terminal) -> Result<Outcome, CliError> {
    let subject = match &flags.host {
        Some(host) => Subject::Sensor { host: host.clone(), instance: flags.instance.clone() },
        None if flags.server.is_empty() => {
            let text = "for whom? give --host ID for a sensor, or --server NAME for the correlator";
            return Err(CliError::Usage(text.to_owned()));
        }
        None => Subject::Server(flags.server.clone()),
    };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|source| CaError::Io { path: path.clone(), source })
    };
    let request = flags.csr.as_ref().map(read).transpose()?;
    let owner = flags.owner.as_deref().map(owner).transpose()?;
    let mut authority = Authority::open(&flags.at.dir)?;
    ca::make_folder(&flags.out)?;
    let issued = authority.issue(&subject, flags.days, request.as_deref(), now)?;
    let written = write(&issued, authority.certificate_pem(), &flags.out, owner)?;
    terminal.note("issued", &line(&issued.entry, now));
    written.iter().for_each(|path| terminal.note("wrote", &path.display().to_string()));
    for other in &issued.others {
        let text = format!(
            "{} stays good beside it; if its key may be known to others: groundtrail ca revoke {}",
            line(other, now),
            other.serial
        );
        terminal.note("older", &text);
    }
    Ok(Outcome::Clean)
}

fn write(
    issued: &Issued,
    ca_pem: &str,
    out: &Path,
    owner: Option<(u32, u32)>,
) -> Result<Vec<PathBuf>, CliError> {
    let name = issued.entry.name().replace('*', "_");
    let mut written = Vec::new();
    // The key first: whoever watches the certificate finds the key that belongs to it.
    if let Some(key) = &issued.key_pem {
        let path = out.join(format!("{name}.key"));
        ca::write_private(&path, key.as_bytes())?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&path, Some(user), Some(group))
                .map_err(|source| CaError::Io { path: path.clone(), source })?;
        }
        written.push(path);
    }
    for (name, pem) in
        [(format!("{name}.pem"), &*issued.certificate_pem), (ca::CERTIFICATE.to_owned(), ca_pem)]
    {
        let path = out.join(name);
        ca::write_public(&path, pem.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn owner(name: &str) -> Result<(u32, u32), CliError> {
    people::user(name).ok_or_else(|| CliError::Usage(format!("there is no user \"{name}\" in /etc/passwd")))
}

fn line(entry: &Entry, now: EventTime) -> String {
    let state = match entry.state(now) {
        State::Good => format!("good until {}", day(entry.not_after)),
        _ => state(entry, now),
    };
    format!("{} \"{}\", serial {}, {state}", entry.kind.name(), entry.names.join(", "), entry.serial)
}

fn state(entry: &Entry, now: EventTime) -> String {
    match (entry.state(now), entry.revoked) {
        (State::Revoked, Some(at)) => format!("revoked {}", day(at)),
        (State::Expired, _) => "expired".to_owned(),
        _ if entry.not_after < now + SOON => {
            format!("ends in {} days: renew", (entry.not_after - now).0 / (24 * 3_600 * 1_000_000_000))
        }
        _ => "good".to_owned(),
    }
}

fn day(time: EventTime) -> String {
    format(time).chars().take(10).collect()
}

impl From<CaError> for CliError {
    fn from(error: CaError) -> Self {
        match error {
            CaError::HostId(_)
            | CaError::InstanceId(_)
            | CaError::ServerName(_)
            | CaError::Request(_)
            | CaError::Unknown(_)
            | CaError::Missing(_)
            | CaError::Exists(_) => Self::Usage(error.to_string()),
            other => Self::Run { what: "certificates".to_owned(), source: other.into() },
        }
    }
}
