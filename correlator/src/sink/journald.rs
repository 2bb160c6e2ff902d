//! The journal of systemd, in its native protocol: fields by name, in a datagram.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::format::Format;
use super::syslog::level;
use super::transport::{Answer, Item, Portion, Sending, Transport, Verdict};

/// Names this kind of entry: `journalctl MESSAGE_ID=…`.
const MESSAGE_ID: &str = "7d2f5c5e1f6b4c0f9a3b8e4d6c1a2f50";
/// The journal takes datagrams as large as the system lets senders make them.
const MAX_ENTRY: usize = 180 << 10;

pub(super) struct Journal {
    path: PathBuf,
    format: Format,
    timeout: Duration,
    open: Option<UnixDatagram>,
}

impl Journal {
    pub(super) fn new(path: PathBuf, format: Format, timeout: Duration) -> Self {
        Self { path, format, timeout, open: None }
    }

    fn write(&mut self, item: &Item) -> io::Result<()> {
        if self.open.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(self.timeout))?;
            self.open = Some(socket);
        }
        let Some(socket) = &self.open else { return Ok(()) };
        let whole = self.entry(item, &item.line(self.format));
        let sent = match whole.len() {
            0..=MAX_ENTRY => socket.send(&whole),
            _ => Err(io::Error::from_raw_os_error(EMSGSIZE)),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(EMSGSIZE) => {
                let short = self.format.short(&item.document, MAX_ENTRY / 2).unwrap_or_default();
                socket.send(&self.entry(item, &short)).map(|_| ())
            }
            sent => sent.map(|_| ()),
        }
    }

    fn entry(&self, item: &Item, body: &str) -> Vec<u8> {
        let document = &item.document;
        let text = |pointer: &str| {
            document.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        let mut entry = Vec::new();
        for (name, value) in [
            ("MESSAGE", text("/message")),
            ("MESSAGE_ID", MESSAGE_ID.to_owned()),
            ("PRIORITY", level(item.severity()).to_string()),
            ("SYSLOG_IDENTIFIER", "groundtrail".to_owned()),
            ("GROUNDTRAIL_ALERT_ID", item.alert_id.clone()),
            ("GROUNDTRAIL_REVISION", item.revision.to_string()),
            ("GROUNDTRAIL_STATE", text("/groundtrail/alert/state")),
            ("GROUNDTRAIL_SEVERITY", text("/groundtrail/alert/severity")),
            ("GROUNDTRAIL_RULE", text("/rule/name")),
            ("GROUNDTRAIL_RULE_ID", text("/rule/id")),
            ("GROUNDTRAIL_HOST_ID", text("/host/id")),
            ("GROUNDTRAIL_ALERT", body.to_owned()),
        ] {
            if !value.is_empty() {
                field(&mut entry, name, &value);
            }
        }
        entry
    }
}

/// `message too long`, on Linux.
const EMSGSIZE: i32 = 90;

/// The form that takes any bytes: name, newline, length, value, newline. A value with a newline in it is no second field.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

impl Transport for Journal {
    fn portion(&self) -> Portion {
        Portion::of(64, 1 << 20)
    }

    fn send<'t>(&'t mut self, items: &'t [Item]) -> Sending<'t> {
        let mut verdicts = Vec::new();
        for item in items {
            if let Err(error) = self.write(item) {
                self.open = None;
                let reason = format!("cannot write to the journal at \"{}\": {error}", self.path.display());
                let left = items.len() - verdicts.len();
                verdicts.extend(std::iter::repeat_n(Verdict::Later(reason), left));
                break;
            }
            verdicts.push(Verdict::Taken);
        }
        Box::pin(std::future::ready(Answer::each(verdicts)))
    }
}
