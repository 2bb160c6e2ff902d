//! One file per hook; none knows another.

mod exec;
mod exit;
mod fork;
mod tcp;
mod udp;
