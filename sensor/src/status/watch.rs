//! The loop's side of the status: what it saw last, the report each second, and a canary now and then.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use super::{Answer, CanaryDoc, Server, StatusDoc, WireDoc};
use crate::clock::{BootNs, Clock, boot_now};
use crate::event::report::SensorDoc;
use crate::host::HostFacts;
use crate::output::WireState;
use crate::selftest::canary::Canary;

/// How far back a loss counts as lately.
const LATELY: Duration = Duration::from_secs(60);

pub struct Watch {
    server: Option<Server>,
    canary: Option<(Canary, Answer)>,
    since: BootNs,
    last_event: Option<BootNs>,
    /// Sums of what was lost, by the time they were read.
    lost: VecDeque<(BootNs, u64)>,
}

impl Watch {
    /// Nobody can ask where the socket cannot be made; the sensor runs all the same.
    pub fn open(path: &Path) -> Self {
        let server = Server::listen(path)
            .inspect_err(|err| tracing::warn!(path = %path.display(), %err, "nobody can ask for the status"))
            .ok();
        Self { server, canary: None, since: boot_now(), last_event: None, lost: VecDeque::new() }
    }

    /// A record, and the line that was made of it.
    pub fn saw(&mut self, at: Option<BootNs>, line: &[u8]) {
        self.last_event = at.or(self.last_event);
        if let Some((canary, _)) = &mut self.canary {
            canary.look(line);
        }
    }

    /// Sends a canary that was asked for, and tells of one that is back.
    pub fn attend(&mut self) {
        if let Some((exec_seen, connection_seen, took)) =
            self.canary.as_ref().and_then(|(canary, _)| canary.verdict())
            && let Some((_, answer)) = self.canary.take()
        {
            let report = CanaryDoc { exec_seen, connection_seen, took_ms: took.as_millis() };
            let text = serde_json::to_string(&report).expect("a report holds booleans and a number");
            // Whoever asked may have gone.
            _ = answer.send(text);
        }
        let Some(answer) = self.server.as_mut().filter(|_| self.canary.is_none()).and_then(Server::canary)
        else {
            return;
        };
        match Canary::send() {
            Ok(canary) => self.canary = Some((canary, answer)),
            Err(err) => tracing::warn!(%err, "cannot send a canary"),
        }
    }

    pub fn publish(
        &mut self,
        sensor: SensorDoc,
        facts: &HostFacts,
        clock: Clock,
        last_loss: Option<BootNs>,
        wire: Option<WireState>,
    ) {
        let Some(server) = &self.server else { return };
        let now = boot_now();
        let in_spool = wire.as_ref().map_or(0, |wire| wire.given_up.all());
        let lost = sensor.counters.iter().map(|counter| counter.lost).sum::<u64>() + in_spool;
        self.lost.push_back((now, lost));
        while self.lost.len() > 1 && now.saturating_sub(self.lost[1].0) >= LATELY.as_nanos() as u64 {
            self.lost.pop_front();
        }
        let before = self.lost.front().map_or(0, |(_, lost)| *lost);
        server.publish(&StatusDoc {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            host: &facts.id,
            kernel: &facts.kernel,
            since: clock.utc(self.since),
            at: clock.utc(now),
            last_event: self.last_event.map(|at| clock.utc(at)),
            last_loss: last_loss.map(|at| clock.utc(at)),
            lost_lately: lost.saturating_sub(before),
            wire: wire.map(WireDoc::from),
            sensor,
        });
    }
}
