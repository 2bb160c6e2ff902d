//! The kernel/user ABI: the layout of every record the eBPF programs put into the ring buffer.
//!
//! Owns layouts, and the one piece of the programs that can be tried without a kernel: [`http`]. It knows no aya, no std and no
//! ECS, so that both sides can read it whole.
//! Reading order: [`abi`], then [`abi::header`], then one module per kind of record.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod http;
