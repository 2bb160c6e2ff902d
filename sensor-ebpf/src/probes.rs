//! One file per hook; none knows another.

mod accept;
mod exec;
mod exit;
mod file;
mod fork;
mod metadata;
mod tcp;
mod udp;
