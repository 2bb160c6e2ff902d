//! A record and the process table make an event. Pure, but for the lookups handed in.

mod complete;
pub(crate) mod exchange;
mod file;

use std::sync::Arc;

use sensor_ebpf::abi::connect::{Connect, ESTABLISHED};
use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::header::{self, Header, UNSET, flag};

use crate::clock::{BootNs, Clock};
use crate::config::EnvAllow;
use crate::container::Container;
use crate::decode::{self, Capture, Record};
use crate::event::capabilities::CapabilitiesDoc;
use crate::event::host::{AgentDoc, CloudDoc, HostDoc};
use crate::event::network::{self, EndpointDoc, ErrorDoc, NetworkDoc};
use crate::event::process::{
    AncestorDoc, CharDeviceDoc, ContainerDoc, EntryLeaderDoc, EntryMetaDoc, ExtDoc, GroupDoc, ImageDoc,
    OwnProcessDoc, ProcessDoc, ThreadDoc, TtyDoc, UserDoc,
};
use crate::event::report::{LossDoc, SensorDoc};
use crate::event::{self, Event, EventDoc, Kind, OwnDoc, OwnFileDoc, OwnHostDoc};
use crate::host::HostFacts;
use crate::lookup::Lookups;
use crate::process::id::{Identity, KernelKey, Key, Tgid, Tid};
use crate::process::table::{Caps, Sighting, Table};
use crate::process::{Credentials, Image, Process, Tty, base_name, path};
use crate::selftest::{Group, Groups};
use crate::watch::FileWatch;
use exchange::Talk;
use file::Touched;

/// `process.Ext.ancestry` is cut here, as Elastic Defend cuts it.
const MAX_ANCESTRY: usize = 20;
/// Ancestors that are described, not only named.
const MAX_ANCESTORS: usize = 10;
/// Arguments on every event but the exec that brought them. A process with long ones can fork and connect thousands of
/// times.
const MAX_REPEATED_ARGS: usize = 4096;
/// An ancestor's command line is context: a cut one serves.
const MAX_ANCESTOR_LINE: usize = 512;

/// Everything that turns records of one host on one boot into events.
#[derive(Debug)]
pub struct Enricher {
    facts: Arc<HostFacts>,
    clock: Clock,
    env: EnvAllow,
    table: Table,
    /// The kernel's word on users and groups is not to be trusted here.
    has_no_ids: bool,
    files: FileWatch,
}

/// A record after the table has taken it in.
struct Applied {
    kind: Kind,
    key: Key,
}

/// Facts of an event that the table does not hold.
#[derive(Default)]
struct Extra {
    exit: Option<Exit>,
    connect: Option<Connect>,
    file: Option<Touched>,
    talk: Option<Talk>,
    /// Effective and permitted ones.
    capabilities: Option<[u64; 2]>,
}

impl Enricher {
    pub fn new(facts: Arc<HostFacts>, clock: Clock, env: EnvAllow, caps: Caps) -> Self {
        let identity = Identity::new(&facts.id, &facts.boot_id);
        let files = FileWatch::default();
        Self { facts, clock, env, table: Table::new(identity, caps), has_no_ids: false, files }
    }

    /// Files whose events are made.
    pub fn watch_files(&mut self, files: FileWatch) {
        self.files = files;
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Says nothing of users where the kernel's records are wrong about them: zero would be root.
    pub fn disbelieve(&mut self, off: Groups) {
        self.has_no_ids = off.has(Group::Credentials);
    }

    fn user(&self, id: u32, lookups: &mut dyn Lookups) -> Option<UserDoc> {
        (!self.has_no_ids).then(|| UserDoc { id: id.to_string(), name: lookups.user(id) })
    }

    fn group(&self, id: u32, lookups: &mut dyn Lookups) -> Option<GroupDoc> {
        (!self.has_no_ids).then(|| GroupDoc { id: id.to_string(), name: lookups.group(id) })
    }

    /// Follows the wall clock. Entity ids and event ids do not depend on it.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Takes a record into the table and hands its event to `emit`. Nothing comes of the second exit of a process, and of
    /// a file that nobody watches.
    pub fn record<T>(
        &mut self,
        record: &Record<'_>,
        lookups: &mut dyn Lookups,
        emit: impl FnOnce(Event<'_>) -> T,
    ) -> Option<T> {
        let head = *record.header();
        let file = match record {
            Record::File(file) => Some(Touched::of(file).filter(|touched| touched.is_watched(&self.files))?),
            _ => None,
        };
        let talk = match record {
            Record::Exchange(exchange) => Some(Talk::of(exchange)?),
            _ => None,
        };
        let told = file.as_ref().map(|touched| touched.kind).or(talk.as_ref().map(|talk| talk.kind));
        let applied = self.apply(record, told, lookups)?;
        let extra = match record {
            Record::Exit(exit) => Extra { exit: Some(*exit), ..Extra::default() },
            Record::Connect(connect) | Record::Result(connect) | Record::Accept(connect) => {
                Extra { connect: Some(*connect), ..Extra::default() }
            }
            Record::File(_) => Extra { file, ..Extra::default() },
            Record::Exchange(_) => Extra { talk, ..Extra::default() },
            Record::Exec(exec, _) => {
                let capabilities = Some([exec.cap_effective, exec.cap_permitted]);
                Extra { capabilities, ..Extra::default() }
            }
            Record::Brief(_) | Record::Fork(_) => Extra::default(),
        };
        let out = emit(self.event(&head, &applied, &extra, lookups)?);
        self.table.expire(BootNs(head.boot_ns));
        Some(out)
    }

    fn apply(
        &mut self,
        record: &Record<'_>,
        told: Option<Kind>,
        lookups: &mut dyn Lookups,
    ) -> Option<Applied> {
        let head = record.header();
        let seen = sighting(head);
        let (kind, key) = match record {
            Record::Exec(exec, capture) => {
                let image = self.image(exec, capture, lookups);
                let path = decode::path(&exec.cgroup, head.flags & flag::CGROUP_TRUNCATED == 0);
                // Kernels with cgroup v1 alone show the root of an empty v2 tree.
                let container = (path != "/").then(|| Container::from_cgroup(&path));
                (Kind::Exec, self.table.exec(&seen, image, container, lookups))
            }
            Record::Brief(_) => (Kind::Exec, self.table.exec(&seen, brief_image(head), None, lookups)),
            Record::Fork(fork) => (Kind::Fork, self.table.fork(&seen, kernel_key(fork.caller), lookups)),
            Record::Exit(_) => (Kind::Exit, self.table.exit(&seen, BootNs(head.boot_ns), lookups)?),
            Record::Connect(_) => (Kind::Connect, self.table.sight(&seen, lookups)),
            Record::Accept(_) => (Kind::Accept, self.table.sight(&seen, lookups)),
            Record::File(_) => (told?, self.table.sight(&seen, lookups)),
            // It says what was so at the attempt; the process may have changed its ids since, or be gone.
            Record::Result(_) | Record::Exchange(_) => {
                let held = self.table.find(seen.process);
                (told.unwrap_or(Kind::Result), held.unwrap_or_else(|| self.table.sight(&seen, lookups)))
            }
        };
        Some(Applied { kind, key })
    }

    /// The environment is filtered right here, and secrets are masked: nothing else gets any further.
    fn image(&self, exec: &Exec, capture: &Capture<'_>, lookups: &mut dyn Lookups) -> Image {
        let flags = exec.header.flags;
        let exec_path = decode::text(exec.filename.as_bytes());
        let args = capture.args(exec);
        let executable = match flags & flag::EXE_DETACHED {
            0 => decode::path(&exec.exe, flags & flag::EXE_TRUNCATED == 0),
            _ => exec.exe.components().next().map(decode::text).unwrap_or_default(),
        };
        let (env_vars, is_env_cut) = self.env.pick(capture.env(exec));
        let image = Image {
            name: name(exec, &exec_path, &executable),
            executable: (!executable.is_empty()).then_some(executable),
            executable_truncated: flags & flag::EXE_TRUNCATED != 0,
            exec_path: (!exec_path.is_empty()).then_some(exec_path),
            args: args.strings.into(),
            args_truncated: flags & (flag::ARGS_TRUNCATED | flag::ARGS_FAULT) != 0,
            args_lossy: args.is_lossy,
            working_directory: Some(decode::path(&exec.cwd, flags & flag::CWD_TRUNCATED == 0)),
            env_vars,
            env_truncated: is_env_cut || flags & (flag::ENV_TRUNCATED | flag::ARGS_FAULT) != 0,
            redacted: false,
        };
        complete::complete(image.without_secrets(), exec, lookups)
    }

    fn event<'a>(
        &'a self,
        head: &Header,
        applied: &Applied,
        extra: &Extra,
        lookups: &mut dyn Lookups,
    ) -> Option<Event<'a>> {
        let process = self.table.get(applied.key)?;
        let at = BootNs(head.boot_ns);
        let touched = extra.file.as_ref();
        let talk = extra.talk.as_ref();
        let salt = match extra.connect {
            Some(connect) => connect.cookie ^ u64::from(connect.destination_port),
            None => touched.map_or(0, |touched| touched.inode) ^ talk.map_or(0, |talk| talk.salt),
        };
        let id =
            self.table.identity().event(applied.kind.action(), &process.entity_id, at, Tid(head.tid), salt);
        let (destination, source) = extra.connect.map_or((None, None), |connect| {
            let end = |bytes, port| EndpointDoc::new(network::address(connect.family, bytes)?, port);
            (end(connect.destination, connect.destination_port), end(connect.source, connect.source_port))
        });
        // A peer is where a connection goes to, or where it comes from.
        let is_inbound = applied.kind == Kind::Accept;
        let network = extra.connect.zip(destination.as_ref()).map(|(connect, peer)| match is_inbound {
            true => NetworkDoc::inbound(peer.ip, connect.protocol),
            false => NetworkDoc::outbound(peer.ip, connect.protocol),
        });
        let (destination, source) = if is_inbound { (source, destination) } else { (destination, source) };
        let destination =
            destination.or_else(|| talk.and_then(|talk| EndpointDoc::new(talk.peer, talk.port)));
        let network = network.or_else(|| talk.map(|talk| NetworkDoc::http(talk.peer)));
        let credentials = process.credentials.unwrap_or_default();
        let result = extra.connect.filter(|_| applied.kind == Kind::Result);
        let bare = self.bare(applied.kind, id, at);
        Some(Event {
            timestamp: self.clock.utc(at),
            process: Some(self.process(head, process, applied.kind, extra, lookups)),
            user: self.user(credentials.euid, lookups),
            group: self.group(credentials.egid, lookups),
            container: process.container.id.as_deref().map(|id| ContainerDoc { id }),
            network,
            file: touched.map(Touched::doc),
            http: talk.map(Talk::http),
            url: talk.map(Talk::url),
            source,
            destination,
            groundtrail: OwnDoc {
                process: Some(self.own(head, process, applied.kind, lookups)),
                file: touched
                    .filter(|touched| !touched.is_path_whole)
                    .map(|_| OwnFileDoc { path_truncated: true }),
                host: self.own_host(),
                imds: talk.map(Talk::doc),
                link: talk.and_then(Talk::link),
                ..OwnDoc::default()
            },
            error: result.and_then(|result| ErrorDoc::new(result.error)),
            event: EventDoc { outcome: result.map(outcome).or(bare.event.outcome), ..bare.event },
            ..bare
        })
    }

    fn process<'a>(
        &'a self,
        head: &Header,
        process: &'a Process,
        kind: Kind,
        extra: &Extra,
        lookups: &mut dyn Lookups,
    ) -> ProcessDoc<'a> {
        let credentials = process.credentials.unwrap_or_default();
        let ancestry = self
            .table
            .ancestors(process.key)
            .take(MAX_ANCESTRY)
            .map(|ancestor| &ancestor.entity_id)
            .collect();
        let parent = process.parent.and_then(|parent| self.table.get(parent));
        ProcessDoc {
            vpid: (head.ns_tgid != 0 && head.ns_tgid != head.process.tgid).then_some(head.ns_tgid),
            end: extra.exit.map(|_| self.clock.utc(BootNs(head.boot_ns))),
            exit_code: extra.exit.map(|exit| exit_code(&exit)),
            env_vars: process.image().map_or(&[], |image| &image.env_vars),
            thread: Some(ThreadDoc { id: head.tid, capabilities: self.capabilities(head, extra) }),
            tty: process.tty.map(|tty| TtyDoc {
                name: tty.name(),
                char_device: CharDeviceDoc { major: tty.major, minor: tty.minor },
            }),
            interactive: Some(process.tty.is_some()),
            real_user: self.user(credentials.uid, lookups),
            saved_user: self.user(credentials.suid, lookups),
            real_group: self.group(credentials.gid, lookups),
            saved_group: self.group(credentials.sgid, lookups),
            parent: parent.map(|parent| Box::new(self.relative(parent, MAX_REPEATED_ARGS))),
            entry_leader: process.entry_leader.as_deref().map(|leader| EntryLeaderDoc {
                entity_id: &leader.entity_id,
                pid: leader.pid,
                name: &leader.name,
                executable: leader.executable.as_deref(),
                args: leader.args.all(),
                start: self.clock.utc(leader.start),
                entry_meta: EntryMetaDoc { kind: leader.kind },
            }),
            ext: Some(ExtDoc { ancestry }),
            ..self.relative(process, max_args(kind))
        }
    }

    fn capabilities(&self, head: &Header, extra: &Extra) -> Option<CapabilitiesDoc> {
        let [effective, permitted] = extra.capabilities.filter(|_| !self.has_no_ids)?;
        CapabilitiesDoc::of(head.euid == 0, effective, permitted)
    }

    /// The part of a process that is told of parents too.
    fn relative<'a>(&'a self, process: &'a Process, max_args: usize) -> ProcessDoc<'a> {
        ProcessDoc {
            entity_id: Some(&process.entity_id),
            pid: process.key.tgid.0,
            start: Some(self.clock.utc(process.start())),
            image: process.image().map(|image| image_doc(image, max_args)).unwrap_or_default(),
            ..ProcessDoc::default()
        }
    }

    fn own<'a>(
        &'a self,
        head: &Header,
        process: &'a Process,
        kind: Kind,
        lookups: &mut dyn Lookups,
    ) -> OwnProcessDoc<'a> {
        let image = process.image();
        let login_uid = process.credentials.and_then(|held| held.login_uid);
        let is_so = |claim: fn(&Image) -> bool| image.is_some_and(claim).then_some(true);
        let is_cut = |image: &Image| image.args_truncated || image.args.within(max_args(kind)).is_cut();
        let ancestors = self.table.ancestors(process.key).take(MAX_ANCESTORS).map(|ancestor| AncestorDoc {
            entity_id: &ancestor.entity_id,
            pid: ancestor.key.tgid.0,
            name: ancestor.name(),
            executable: ancestor.image().and_then(|image| image.executable.as_deref()),
            command_line: ancestor
                .image()
                .and_then(|image| image.args.within(MAX_ANCESTOR_LINE).command_line()),
        });
        OwnProcessDoc {
            exec_path: image.and_then(|image| image.exec_path.as_deref()),
            cgroup_path: process.container.cgroup_path.as_deref(),
            login_user: login_uid.map(|uid| UserDoc { id: uid.to_string(), name: lookups.user(uid) }),
            args_truncated: image.is_some_and(is_cut).then_some(true),
            args_lossy: is_so(|image| image.args_lossy),
            env_truncated: is_so(|image| image.env_truncated),
            executable_truncated: is_so(|image| image.executable_truncated),
            redacted: is_so(|image| image.redacted),
            is_kernel_thread: (head.flags & flag::KERNEL_THREAD != 0).then_some(true),
            ancestors: ancestors.collect(),
        }
    }

    fn own_host(&self) -> Option<OwnHostDoc<'_>> {
        self.facts.role.as_deref().map(|role| OwnHostDoc { role })
    }

    /// A report on lost events. `nth` tells two of one moment apart.
    pub fn loss(&self, loss: LossDoc, at: BootNs, nth: u64) -> Event<'_> {
        self.report(Kind::Loss, at, nth, OwnDoc { loss: Some(loss), ..OwnDoc::default() })
    }

    pub fn health(&self, sensor: SensorDoc, at: BootNs, nth: u64) -> Event<'_> {
        self.report(Kind::Health, at, nth, OwnDoc { sensor: Some(sensor), ..OwnDoc::default() })
    }

    fn report<'a>(&'a self, kind: Kind, at: BootNs, nth: u64, groundtrail: OwnDoc<'a>) -> Event<'a> {
        let own = Key::first(Tgid(std::process::id()), Default::default());
        let id =
            self.table.identity().event(kind.action(), &self.table.identity().entity(own), at, Tid(0), nth);
        Event { groundtrail, ..self.bare(kind, id, at) }
    }

    fn bare(&self, kind: Kind, id: String, at: BootNs) -> Event<'_> {
        Event {
            timestamp: self.clock.utc(at),
            event: kind.doc(id),
            data_stream: kind.data_stream(),
            ecs: event::ecs(),
            agent: AgentDoc::new(&self.facts),
            host: HostDoc::new(&self.facts),
            cloud: CloudDoc::new(&self.facts),
            process: None,
            user: None,
            group: None,
            container: None,
            network: None,
            source: None,
            destination: None,
            error: None,
            file: None,
            http: None,
            url: None,
            groundtrail: OwnDoc::default(),
        }
    }
}

pub(crate) fn sighting(head: &Header) -> Sighting {
    Sighting {
        process: kernel_key(head.process),
        // The idle task is nobody's parent worth naming.
        parent: (head.parent.tgid != 0).then(|| kernel_key(head.parent)),
        credentials: Credentials {
            uid: head.uid,
            gid: head.gid,
            euid: head.euid,
            egid: head.egid,
            suid: head.suid,
            sgid: head.sgid,
            login_uid: (head.loginuid != UNSET).then_some(head.loginuid),
        },
        tty: (head.tty_major != 0).then_some(Tty { major: head.tty_major, minor: head.tty_minor }),
    }
}

fn kernel_key(key: header::Key) -> KernelKey {
    KernelKey { tgid: Tgid(key.tgid), start: BootNs(key.start_boot_ns) }
}

fn max_args(kind: Kind) -> usize {
    if matches!(kind, Kind::Exec) { usize::MAX } else { MAX_REPEATED_ARGS }
}

fn image_doc(image: &Image, max_args: usize) -> ImageDoc<'_> {
    let args = image.args.within(max_args);
    ImageDoc {
        name: Some(&image.name),
        executable: image.executable.as_deref(),
        args,
        // Of what the kernel cut nobody knows how many there were; of what is cut here, everybody.
        args_count: args.count().filter(|_| !image.args_truncated),
        command_line: args.command_line(),
        working_directory: image.working_directory.as_deref(),
    }
}

/// All that is known of a program when the ring had room for its process alone. Nobody asks `/proc` for the rest: the
/// reader is behind, and would fall behind further.
fn brief_image(head: &Header) -> Image {
    Image {
        name: decode::text(head.comm()),
        executable_truncated: true,
        args_truncated: true,
        env_truncated: true,
        ..Image::default()
    }
}

/// The base name of the file as executed.
///
/// A cut path has lost its end, and an open file's number says nothing: then the mapped file's own name, unless a
/// script's interpreter is mapped; in the end what the kernel made of it, 15 bytes long.
fn name(exec: &Exec, exec_path: &str, executable: &str) -> String {
    let flags = exec.header.flags;
    let base = base_name(exec_path);
    if flags & flag::FILENAME_TRUNCATED == 0 && !base.is_empty() && !path::is_descriptor(exec_path) {
        return base.to_owned();
    }
    let comm = decode::text(exec.header.comm());
    let is_mapped_known = flags & flag::SCRIPT == 0 && exec.exe.depth > 0;
    let mapped = base_name(executable);
    if is_mapped_known && !mapped.is_empty() { mapped.to_owned() } else { comm }
}

fn outcome(result: Connect) -> &'static str {
    if result.new_state == ESTABLISHED { "success" } else { "failure" }
}

/// As a shell shows it: 128 and the signal's number for a process that was killed.
fn exit_code(exit: &Exit) -> u32 {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => code.into(),
        (None, signal) => 128 + u32::from(signal.unwrap_or(0)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
