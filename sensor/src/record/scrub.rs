//! Raw exec records hold the whole environment. What is not on the list leaves neither the host nor a recording.

use std::borrow::Cow;
use std::mem::{offset_of, size_of};

use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::header::Header;

use crate::config::EnvAllow;
use crate::decode::{Record, decode};

/// The record with its environment cut down to the allowed variables; other records as they are.
pub(super) fn without_secrets<'a>(bytes: &'a [u8], allow: &EnvAllow) -> Cow<'a, [u8]> {
    let Ok(Record::Exec(exec, capture)) = decode(bytes) else { return Cow::Borrowed(bytes) };
    let kept: Vec<u8> = allow
        .filter(capture.env(&exec))
        .into_iter()
        .flat_map(|entry| [entry.into_bytes(), vec![0]])
        .flatten()
        .collect();
    let args = exec.split(&bytes[size_of::<Exec>()..]).0;
    let mut clean = [&bytes[..size_of::<Exec>()], args, &kept].concat();
    let (n_env, n_captured, n_all) = (kept.len(), args.len() + kept.len(), clean.len());
    for (at, value) in [
        (offset_of!(Exec, env_len), n_env),
        (offset_of!(Exec, captured), n_captured),
        (offset_of!(Exec, header) + offset_of!(Header, size), n_all),
    ] {
        clean[at..at + 4].copy_from_slice(&(value as u32).to_ne_bytes());
    }
    Cow::Owned(clean)
}
