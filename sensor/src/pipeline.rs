//! The live run: drain, decode, enrich, write; reports in between; and the order in which it ends.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::assembly::Assembly;
use crate::clock::{Clock, boot_now};
use crate::config::{Config, OutputConfig};
use crate::enrich::Enricher;
use crate::event::report::SensorDoc;
use crate::host::{HostError, HostFacts};
use crate::loader::{self, Kernel, LoadError, LoadOptions, cgroup_path};
use crate::lookup::Live;
use crate::output::{Output, OutputError, Place, Telling};
use crate::privileges;
use crate::ring;
use crate::selftest;
use crate::spool::GivenUp;
use crate::stats::{self, Counted, Counts, LossReport};
use crate::status::Watch;
use crate::stop::Stop;
use crate::supervisor::Supervisor;

/// Records taken before the timers get their turn.
const MAX_DRAIN: usize = 4096;
/// Lines made before the output gets them: one command line of 32 KiB can stand in thousands of records.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// Records taken between two looks at the size of the batch.
const DRAIN_STEP: usize = 16;
const LOSS_EVERY: Duration = Duration::from_secs(1);
const HEALTH_EVERY: Duration = Duration::from_secs(60);
/// How long a writer that is stuck may hold up the end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last report of losses waits to hear what became of the one before: longer than the spool for a full disk.
const SETTLE_PATIENCE: Duration = Duration::from_secs(3);
const SETTLE_STEP: Duration = Duration::from_millis(20);
/// A clock that moved less is left alone: jitter of the measurement is no news.
const CLOCK_SLACK_NS: u64 = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("cannot listen for signals")]
    Signal { source: io::Error },
    #[error("cannot read the ring")]
    Ring { source: io::Error },
}

/// The sensor at work: attached, seeded, reading.
struct Running {
    kernel: Kernel,
    assembly: Assembly,
    lookups: Live,
    losses: LossReport,
    selftest: selftest::Report,
    watch: Watch,
    n_queued: u64,
    supervisor: Supervisor,
    /// Lines on their way to the output.
    batch: Vec<u8>,
    /// What they tell of losses.
    told: Option<Telling>,
}

/// Attaches and emits events until a signal ends it.
///
/// # Errors
/// What stands in the way at the start, or stopped it later. An end by signal is none.
pub async fn run(config: &Config, load: &LoadOptions) -> Result<(), RunError> {
    let mut stop = Stop::listen().map_err(|source| RunError::Signal { source })?;
    let facts = Arc::new(HostFacts::gather(Path::new("/"), &config.host)?);
    let output = Output::open(&config.output, &facts.id)?;
    let mut running = Running::start(config, load, facts)?;
    running.losses.spool_was_told(output.told_before());
    // Who asks from now on finds a report.
    running.publish(&output);
    let result = running.until(&mut stop, &output, config.limits.poll).await;
    running.end(&output).await;
    output.finish(PATIENCE).await?;
    result
}

impl Running {
    /// Attaches first and looks at /proc second, so that nothing falls in between; what the kernel says wins.
    fn start(config: &Config, load: &LoadOptions, facts: Arc<HostFacts>) -> Result<Self, RunError> {
        let mut kernel = Kernel::load(load)?;
        let (report, mut held) = selftest::run(&mut kernel, selftest::myself());
        for (group, finding) in report.wrong() {
            tracing::warn!(group = group.name(), finding, "switched off");
        }
        let lookups = Live::new(Path::new("/"), config.environment.clone());
        let mut enricher =
            Enricher::new(facts, Clock::measure(), config.environment.clone(), config.limits.table());
        enricher.watch_files(config.files.watch.clone());
        enricher.table_mut().seed(lookups.processes());
        let coverage = kernel.coverage();
        for warning in &coverage.warnings {
            tracing::warn!(warning, "degraded");
        }
        for (probe, reason) in coverage.refused() {
            tracing::warn!(probe = probe.program, reason, "probe skipped");
        }
        let has_socket = matches!(config.output, OutputConfig::Socket(_));
        match privileges::keep(privileges::needed(&coverage.kernel, has_socket)) {
            Ok(kept) => tracing::debug!(?kept, "privileges dropped"),
            Err(err) => tracing::warn!(%err, "privileges kept, the kernel does not let go of them"),
        }
        tracing::info!(n_processes = enricher.table().stats().n_held, "watching");
        let mut running = Self {
            kernel,
            assembly: Assembly::new(enricher),
            lookups,
            losses: LossReport::new(boot_now()),
            selftest: report,
            watch: Watch::open(&config.status_socket),
            n_queued: 0,
            supervisor: Supervisor::of_this_process(Instant::now().into_std()),
            batch: Vec::new(),
            told: None,
        };
        running.assembly.disbelieve(running.selftest.off());
        running.health("started");
        // What happened while the test ran is everybody's.
        for record in held.drain() {
            running.take(&record);
        }
        Ok(running)
    }

    async fn until(&mut self, stop: &mut Stop, output: &Output, poll: Duration) -> Result<(), RunError> {
        let probes = &self.kernel.coverage().probes;
        let n_refused = self.kernel.coverage().refused().count();
        self.supervisor.ready(&format!(
            "watching with {} of {} programs",
            probes.len() - n_refused,
            probes.len()
        ));
        let (mut loss_at, mut health_at) = (Instant::now() + LOSS_EVERY, Instant::now() + HEALTH_EVERY);
        loop {
            let is_more = self.drain();
            let now = Instant::now();
            self.supervisor.beat(now.into_std());
            if now >= loss_at {
                loss_at = now + LOSS_EVERY;
                self.lookups.refresh();
                self.look_after_hooks();
                // A report on its way may yet be dropped: what is new then waits, and is told with it.
                if self.losses.is_settled() {
                    self.loss(output, output.n_lost());
                }
                self.publish(output);
            }
            self.watch.attend();
            if now >= health_at {
                health_at = now + HEALTH_EVERY;
                self.follow_clock();
                self.health("running");
                // What a burst took is the machine's again.
                loader::return_free_memory();
            }
            if !self.batch.is_empty() {
                // A place first, the batch second: a signal that comes while we wait must not cost the batch.
                match stop.or(self.place(output)).await {
                    Some(Some(place)) => {
                        place.send_telling(std::mem::take(&mut self.batch), self.told.take())
                    }
                    Some(None) | None => return Ok(()),
                }
            }
            // A full drain means that there is more: only the signals get a look in between.
            let pause = if is_more { Duration::ZERO } else { poll };
            match stop.or(self.kernel.wait(pause)).await {
                Some(waited) => waited.map_err(|source| RunError::Ring { source })?,
                None => return Ok(()),
            }
        }
    }

    /// Waits for room for the batch. A reader that takes its time is not ours to answer for: the watchdog hears of us
    /// meanwhile.
    async fn place<'o>(&mut self, output: &'o Output) -> Option<Place<'o>> {
        loop {
            match timeout(self.supervisor.patience(), output.reserve(self.batch.len())).await {
                Ok(place) => return place,
                Err(_) => self.supervisor.beat(Instant::now().into_std()),
            }
        }
    }

    /// Lets go of the hooks, takes what is in the ring, says what was lost, and says goodbye.
    async fn end(&mut self, output: &Output) {
        self.supervisor.stopping();
        // Nothing is added from here on: what the farewell counts adds up.
        self.kernel.detach();
        let mut is_taken = true;
        let mut is_more = true;
        while is_more {
            is_more = self.drain();
            if is_taken {
                is_taken = self.pass_on(output).await;
            } else if is_more {
                output.give_up(&std::mem::take(&mut self.batch));
            }
        }
        let until = Instant::now() + SETTLE_PATIENCE;
        while !self.losses.is_settled() && Instant::now() < until {
            sleep(SETTLE_STEP).await;
        }
        // There is no later report to leave anything to.
        let (n_dropped, n_dropping) = output.n_lost();
        self.loss(output, (n_dropped + n_dropping, 0));
        self.health("stopped");
        self.pass_on(output).await;
    }

    /// Sends the batch, or counts it as lost if nobody takes it in time.
    async fn pass_on(&mut self, output: &Output) -> bool {
        if self.batch.is_empty() {
            return true;
        }
        let place = timeout(PATIENCE, output.reserve(self.batch.len())).await.ok().flatten();
        let (lines, told) = (std::mem::take(&mut self.batch), self.told.take());
        match place {
            Some(place) => {
                place.send_telling(lines, told);
                true
            }
            None => {
                output.give_up(&lines);
                false
            }
        }
    }

    /// Makes a batch of what is in the ring. True if there is more than fits.
    fn drain(&mut self) -> bool {
        let Self { kernel, assembly, lookups, batch, watch, .. } = self;
        let created = assembly.enricher().clock().now();
        for _ in 0..MAX_DRAIN / DRAIN_STEP {
            let n = kernel.drain(DRAIN_STEP, |bytes| {
                let start = batch.len();
                _ = assembly.push(bytes, lookups, Some(created), batch);
                watch.saw(ring::boot_ns(bytes), &batch[start..]);
            });
            if n < DRAIN_STEP {
                return false;
            }
            if batch.len() >= MAX_BATCH_BYTES {
                break;
            }
        }
        true
    }

    fn take(&mut self, record: &[u8]) {
        let created = self.assembly.enricher().clock().now();
        _ = self.assembly.push(record, &mut self.lookups, Some(created), &mut self.batch);
    }

    /// A hook that somebody took from us is told at once, not at the next report.
    fn look_after_hooks(&mut self) {
        let lost = self.kernel.lost_hooks();
        for probe in &lost {
            tracing::warn!(probe = probe.program, sees = probe.sees, "hook detached by somebody else");
        }
        if !lost.is_empty() {
            self.health("running");
        }
    }

    fn loss(&mut self, output: &Output, n_lost: (u64, u64)) {
        let (Ok(shares), Ok(kernel)) = (self.kernel.shares(), self.kernel.losses()) else { return };
        let (now, clock) = (boot_now(), self.assembly.enricher().clock());
        let undecodable = self.assembly.delivered().undecodable;
        let uncalled = self.kernel.uncalled();
        let spool = output.wire().map_or_else(GivenUp::default, |wire| wire.given_up);
        let counted =
            Counted { kernel, shares: &shares, uncalled: &uncalled, undecodable, output: n_lost, spool };
        // Kept with the lines that tell it: a restart then knows what was told and what was not.
        let spool = self.losses.is_news_of_spool(spool).then_some(spool);
        let start = self.batch.len();
        let losses = self.losses.since(&counted, now, clock, cgroup_path);
        if losses.is_empty() {
            return;
        }
        for loss in losses {
            tracing::warn!(kind = loss.kind, cause = loss.cause, count = loss.count, "events lost");
            self.assembly.report(|enricher, nth| enricher.loss(loss, now, nth), &mut self.batch);
        }
        let written = self.losses.on_trust();
        self.told = Some(Telling { lines: start..self.batch.len(), spool, written });
    }

    fn report(&self, state: &'static str) -> Option<SensorDoc> {
        let losses = self.kernel.losses().ok()?;
        let uncalled = self.kernel.uncalled();
        let table = self.assembly.enricher().table().stats();
        let delivered = self.assembly.delivered();
        Some(stats::health(
            state,
            self.kernel.coverage(),
            &self.selftest,
            Counts { losses: &losses, uncalled: &uncalled, delivered },
            table,
            self.n_queued,
        ))
    }

    fn health(&mut self, state: &'static str) {
        let Some(report) = self.report(state) else { return };
        self.assembly.report(|enricher, nth| enricher.health(report, boot_now(), nth), &mut self.batch);
    }

    /// Leaves the report where whoever asks for it finds it.
    fn publish(&mut self, output: &Output) {
        self.n_queued = output.n_waiting();
        let Some(report) = self.report("running") else { return };
        let last_loss = self.kernel.losses().ok().and_then(|losses| losses.last());
        let enricher = self.assembly.enricher();
        self.watch.publish(report, enricher.facts(), enricher.clock(), last_loss, output.wire());
    }

    fn follow_clock(&mut self) {
        let (held, measured) = (self.assembly.enricher().clock(), Clock::measure());
        if held.offset_ns().abs_diff(measured.offset_ns()) > CLOCK_SLACK_NS {
            tracing::info!(offset_ns = measured.offset_ns() - held.offset_ns(), "the wall clock moved");
            self.assembly.enricher_mut().set_clock(measured);
        }
    }
}
