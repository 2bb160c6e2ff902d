//! The eBPF programs. Empty on the host, so that the workspace builds on a plain toolchain.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}
