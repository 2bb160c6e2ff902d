//! How names of other machines are looked up: in `/etc/hosts` and by DNS, whatever `nsswitch.conf` says.
//!
//! The sensor is linked statically, and glibc's way to anything else (`resolve`, `myhostname`, `sss`) is to load a library of
//! the host's own glibc into it, which need not be the version that the sensor was built with.

use std::ffi::{CStr, c_char, c_int};

const DATABASE: &CStr = c"hosts";
const SERVICES: &CStr = c"files dns";

unsafe extern "C" {
    /// `nss.h`: overrides one line of `nsswitch.conf` for this process.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// From here on, for the whole process.
pub fn from_files_and_dns() {
    // SAFETY: both are static strings that end in nought; the function takes a lock of its own and copies what it needs.
    let status = unsafe { __nss_configure_lookup(DATABASE.as_ptr(), SERVICES.as_ptr()) };
    if status != 0 {
        tracing::debug!(status, "names are looked up as nsswitch.conf says");
    }
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn names_of_this_machine_are_still_found() {
        from_files_and_dns();
        let mut found = ("localhost", 1).to_socket_addrs().expect("in /etc/hosts");
        assert!(found.all(|address| address.ip().is_loopback()));
    }
}
