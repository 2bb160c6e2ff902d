//! What leaves the host with a recording: what a record says, and nothing that merely lay in its room.
//!
//! The ring is never cleared. A record's unused room holds what was there before: the arguments and environments of
//! other processes. And an exec holds its own process' whole environment, of which the allowed variables alone may go,
//! and its arguments, of which the secrets may not.

use std::mem::{offset_of, size_of};

use sensor_ebpf::abi::connect::Connect;
use sensor_ebpf::abi::exchange::{Exchange, KEY_BYTES, LINE_BYTES};
use sensor_ebpf::abi::exec::{Brief, CHUNK_BYTES, Exec};
use sensor_ebpf::abi::exit::Exit;
use sensor_ebpf::abi::file::File;
use sensor_ebpf::abi::fork::Fork;
use sensor_ebpf::abi::header::{Header, Key};
use sensor_ebpf::abi::text::{Text, Walk};

use crate::config::EnvAllow;
use crate::decode::{Capture, Record, decode};
use crate::enrich::exchange::secret_of_line;
use crate::redact;

const AF_INET: u16 = 2;

/// The record without stale bytes and without the environment that is not on the list. Nothing for bytes that are no
/// record: what they hold, nobody can say.
pub(super) fn without_secrets(bytes: &[u8], allow: &EnvAllow) -> Option<Vec<u8>> {
    let record = decode(bytes).ok()?;
    let mut clean = match &record {
        Record::Exec(exec, capture) => exec_without_secrets(bytes, exec, capture, allow),
        Record::Brief(_) => bytes[..size_of::<Brief>()].to_vec(),
        Record::Fork(_) => {
            let mut clean = bytes[..size_of::<Fork>()].to_vec();
            blank(&mut clean, offset_of!(Fork, caller) + offset_of!(Key, _pad), 4);
            blank(&mut clean, offset_of!(Fork, _pad), 4);
            clean
        }
        Record::Exit(_) => {
            let mut clean = bytes[..size_of::<Exit>()].to_vec();
            blank(&mut clean, offset_of!(Exit, _pad), 4);
            clean
        }
        Record::File(file) => {
            let mut clean = bytes[..size_of::<File>()].to_vec();
            blank(&mut clean, offset_of!(File, _pad), 4);
            blank_walk(&mut clean, offset_of!(File, path), &file.path);
            blank_walk(&mut clean, offset_of!(File, old_path), &file.old_path);
            clean
        }
        Record::Exchange(exchange) => {
            let mut clean = bytes[..size_of::<Exchange>()].to_vec();
            let (line, key) = (exchange.line().len(), exchange.key().len());
            blank(&mut clean, offset_of!(Exchange, _pad), 4);
            blank(&mut clean, offset_of!(Exchange, line) + line, LINE_BYTES - line);
            blank(&mut clean, offset_of!(Exchange, key) + key, KEY_BYTES - key);
            if let Some(secret) = secret_of_line(exchange.line()) {
                let at = offset_of!(Exchange, line);
                clean[at + secret.start..at + secret.end].fill(b'*');
            }
            clean
        }
        Record::Connect(connect) | Record::Result(connect) | Record::Accept(connect) => {
            let mut clean = bytes[..size_of::<Connect>()].to_vec();
            if connect.family == AF_INET {
                blank(&mut clean, offset_of!(Connect, source) + 4, 12);
                blank(&mut clean, offset_of!(Connect, destination) + 4, 12);
            }
            clean
        }
    };
    blank(&mut clean, offset_of!(Header, process) + offset_of!(Key, _pad), 4);
    blank(&mut clean, offset_of!(Header, parent) + offset_of!(Key, _pad), 4);
    let comm = record.header().comm().len();
    blank(&mut clean, offset_of!(Header, comm) + comm, 16 - comm);
    let size = clean.len();
    put(&mut clean, offset_of!(Header, size), size);
    Some(clean)
}

fn exec_without_secrets(bytes: &[u8], exec: &Exec, capture: &Capture<'_>, allow: &EnvAllow) -> Vec<u8> {
    let (fixed, captured) = bytes.split_at(size_of::<Exec>());
    let mut args = exec.split(captured).0.to_vec();
    for (idx, chunk) in args.chunks_mut(CHUNK_BYTES).enumerate() {
        if idx < 64 && exec.gaps & (1 << idx) != 0 {
            chunk.fill(0);
        }
    }
    // In place, as lengths and gaps refer to it.
    redact::blank(&mut args);
    let env: Vec<u8> = allow
        .filter(capture.env(exec))
        .into_iter()
        .flat_map(|entry| [entry.into_bytes(), vec![0]])
        .flatten()
        .collect();
    let mut clean = [fixed, &args, &env].concat();
    put(&mut clean, offset_of!(Exec, env_len), env.len());
    put(&mut clean, offset_of!(Exec, captured), args.len() + env.len());
    blank_text(&mut clean, offset_of!(Exec, filename), &exec.filename);
    blank_text(&mut clean, offset_of!(Exec, interp), &exec.interp);
    blank_walk(&mut clean, offset_of!(Exec, exe), &exec.exe);
    blank_walk(&mut clean, offset_of!(Exec, cwd), &exec.cwd);
    blank_walk(&mut clean, offset_of!(Exec, cgroup), &exec.cgroup);
    clean
}

fn blank_text<const N: usize>(record: &mut [u8], at: usize, text: &Text<N>) {
    blank(record, at + offset_of!(Text<N>, _pad), 4);
    let used = text.as_bytes().len();
    blank(record, at + offset_of!(Text<N>, bytes) + used, N - used);
}

fn blank_walk<const N: usize>(record: &mut [u8], at: usize, walk: &Walk<N>) {
    let used = (walk.len as usize).min(N);
    blank(record, at + offset_of!(Walk<N>, bytes) + used, N - used);
}

fn blank(record: &mut [u8], at: usize, n_bytes: usize) {
    record[at..at + n_bytes].fill(0);
}

fn put(record: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).expect("a record is smaller than the ring, which u32 counts");
    record[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}
