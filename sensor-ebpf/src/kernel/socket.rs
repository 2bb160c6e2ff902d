//! A socket's two ends.

use sensor_ebpf::abi::connect::{Connect, METADATA_V4, METADATA_V6};

use super::{Access, Ptr};
use crate::maps::offset;

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;

/// True for what `inet_sock_set_state` reports, with or without several paths.
pub(crate) fn is_stream(protocol: u32) -> bool {
    protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP
}

/// True for the socket above the subflows of Multipath TCP. It has no peer of its own when it sets out, and each
/// subflow is a TCP socket that is reported by itself.
#[inline(always)]
pub(crate) fn is_multipath<A: Access>(sock: Ptr) -> bool {
    A::load::<u16>(sock, offset!(sock_protocol)).map(u32::from) == Some(IPPROTO_MPTCP)
}

/// Fills addresses, ports, protocol and cookie from a `struct sock`. `None` for other address families.
#[inline(always)]
pub(crate) fn ends<A: Access>(connect: &mut Connect, sock: Ptr) -> Option<()> {
    connect.family = A::load(sock, offset!(sock_family))?;
    connect.protocol = A::load(sock, offset!(sock_protocol))?;
    connect.source_port = A::load(sock, offset!(sock_num))?;
    connect.destination_port = u16::from_be(A::load(sock, offset!(sock_dport))?);
    connect.cookie = A::load(sock, offset!(sock_cookie)).unwrap_or(0);
    match connect.family {
        AF_INET => {
            let source = A::load::<u32>(sock, offset!(sock_rcv_saddr))?;
            let destination = A::load::<u32>(sock, offset!(sock_daddr))?;
            set_v4(&mut connect.source, source);
            set_v4(&mut connect.destination, destination);
        }
        AF_INET6 => {
            let source = v6::<A>(sock, offset!(sock_v6_rcv_saddr))?;
            let destination = v6::<A>(sock, offset!(sock_v6_daddr))?;
            set_v6(&mut connect.source, source);
            set_v6(&mut connect.destination, destination);
        }
        _ => return None,
    }
    Some(())
}

/// Word by word: the address is an array of four in the kernel, and the verifier wants loads that fit.
#[inline(always)]
fn v6<A: Access>(sock: Ptr, at: u32) -> Option<[u32; 4]> {
    if at == sensor_ebpf::abi::settings::ABSENT {
        return None;
    }
    Some([A::load(sock, at)?, A::load(sock, at + 4)?, A::load(sock, at + 8)?, A::load(sock, at + 12)?])
}

#[inline(always)]
pub(crate) fn set_v4(address: &mut [u8; 16], word: u32) {
    set_v6(address, [word, 0, 0, 0]);
}

#[inline(always)]
pub(crate) fn set_v6(address: &mut [u8; 16], words: [u32; 4]) {
    // SAFETY: four words and sixteen bytes are the same memory; records align their addresses to words.
    unsafe { address.as_mut_ptr().cast::<[u32; 4]>().write(words) };
}

/// True for the addresses that hand out credentials, v4-mapped ones included.
#[inline(always)]
pub(crate) fn is_metadata(family: u16, words: [u32; 4]) -> bool {
    const MAPPED: u32 = 0xffff_u32.to_be();
    let v4 = if family == AF_INET {
        words[0]
    } else if words[0] == 0 && words[1] == 0 && words[2] == MAPPED {
        words[3]
    } else {
        return METADATA_V6.iter().any(|known| {
            let known: [u32; 4] = [word(known, 0), word(known, 4), word(known, 8), word(known, 12)];
            known == words
        });
    };
    METADATA_V4.iter().any(|&known| u32::from_ne_bytes(known) == v4)
}

const fn word(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
