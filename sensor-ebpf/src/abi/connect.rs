//! A process reached out: a TCP connection attempt and what became of it, a UDP `connect`, or a UDP send without one.

use super::header::Header;

/// `Connect::origin` values: which hook saw it.
pub mod origin {
    /// `inet_sock_set_state`: TCP, about to send its first SYN; io_uring and Fast Open included.
    pub const TCP_STATE: u32 = 1;
    /// cgroup `connect4` or `connect6`: a socket that is not TCP was given a peer.
    pub const CONNECT: u32 = 2;
    /// cgroup `sendmsg4` or `sendmsg6`: a datagram to a peer named in the call. One record per socket and
    /// peer and minute; the rest is counted as suppressed.
    pub const SENDMSG: u32 = 3;
    /// `inet_csk_accept`: a TCP connection was taken. The peer is the destination still.
    pub const ACCEPT: u32 = 4;
}

/// `Connect::new_state` of an attempt that the peer took.
pub const ESTABLISHED: u32 = 1;

/// One attempt to reach a peer, or the result of one: then the process, its thread and its credentials are those of
/// the attempt, as whoever runs when the answer comes in has nothing to do with it. Ports are in host order, addresses in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connect {
    pub header: Header,
    /// `AF_INET` (2) or `AF_INET6` (10). A v4-mapped peer is `AF_INET6` with `::ffff:a.b.c.d`.
    pub family: u16,
    /// IP protocol number.
    pub protocol: u16,
    /// 0 while the kernel has not chosen one: usual at the first SYN.
    pub source_port: u16,
    pub destination_port: u16,
    /// An IPv4 address takes the first four bytes, the rest is zero. All zero: not bound.
    pub source: [u8; 16],
    pub destination: [u8; 16],
    /// Socket cookie, or 0 if the kernel has not given the socket one.
    pub cookie: u64,
    /// TCP states (`include/net/tcp_states.h`); both 0 where [`origin`] is not `TCP_STATE`.
    pub old_state: u32,
    pub new_state: u32,
    /// One of [`origin`].
    pub origin: u32,
    /// Of a result: the error that the socket ended with; 0 for none, which is also that of an attempt given up.
    pub error: u32,
}

/// The same layout as a record of its own kind.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct ConnectResult(pub Connect);

/// The same layout for a connection that was taken.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Accepted(pub Connect);

/// Addresses whose answers are credentials: the instance metadata service, ECS task roles, EKS Pod Identity.
pub const METADATA_V4: [[u8; 4]; 3] = [[169, 254, 169, 254], [169, 254, 170, 2], [169, 254, 170, 23]];
/// `fd00:ec2::254` and `fd00:ec2::23`.
pub const METADATA_V6: [[u8; 16]; 2] = [
    [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54],
    [0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x23],
];

const _: () = assert!(size_of::<Connect>() == 208);
const _: () = assert!(core::mem::offset_of!(Connect, source) == 152);
const _: () = assert!(core::mem::offset_of!(Connect, cookie) == 184);
