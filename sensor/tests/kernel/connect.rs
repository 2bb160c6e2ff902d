//! Connections that are made and taken, TCP's and UDP's, and what became of them.

use super::*;

/// The helper's part, for the roles of this file.
pub(super) fn play(role: &str, port: u16) {
    match role {
        "tcp" => {
            let v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            let v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port));
            assert!(v4.is_err() && v6.is_err());
        }
        "udp" => {
            let connected = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            connected.connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            for _ in 0..5 {
                let _ = free.send_to(b"x", (Ipv4Addr::LOCALHOST, port));
            }
            let free = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
            let _ = free.send_to(b"x", (Ipv6Addr::LOCALHOST, port));
        }
        "udp6" => {
            for peer in [Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST.to_ipv6_mapped()] {
                // Bound to nothing: a socket for both protocols.
                let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
                socket.connect((peer, port)).unwrap();
                let free = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
                let _ = free.send_to(b"x", (peer, port));
            }
        }
        "mptcp" => {
            let address = loopback(port);
            // SAFETY: takes numbers.
            let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP) };
            if fd < 0 {
                // A kernel without it.
                std::process::exit(NO_MPTCP);
            }
            // SAFETY: `address` is a whole IPv4 address that outlives the call.
            assert_ne!(unsafe { libc::connect(fd, (&raw const address).cast(), ADDRESS_BYTES) }, 0);
        }
        "results" => {
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
            let full = full_listener();
            let mut streams = Vec::new();
            while streams.last().is_none_or(|stream: &OwnedFd| is_connected(stream)) {
                assert!(streams.len() < 100, "the listener takes everyone");
                streams.push(start_connecting(&full));
            }
        }
        "accept" => {
            let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
            for listener in [v4, v6] {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (server, peer) = listener.accept().unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
                drop(server);
            }
        }
        other => panic!("{other}"),
    }
}

/// A listener that takes next to nobody.
fn full_listener() -> OwnedFd {
    let address = loopback(0);
    // SAFETY: takes numbers; what it gives is owned here alone.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    // SAFETY: `address` is a whole IPv4 address that outlives the call.
    assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) }, 0);
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), 0) }, 0);
    socket
}

fn start_connecting(listener: &OwnedFd) -> OwnedFd {
    let (mut address, mut len) = (loopback(0), ADDRESS_BYTES);
    // SAFETY: both point to locals, and `len` is the room there is.
    let status = unsafe { libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &raw mut len) };
    assert_eq!(status, 0);
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers; what it gives is owned here alone.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, kind, 0)) };
    // SAFETY: `address` is a whole IPv4 address that outlives the call.
    let status = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) };
    assert_eq!(status, -1);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINPROGRESS));
    socket
}

fn is_connected(socket: &OwnedFd) -> bool {
    let (mut address, mut len) = (loopback(0), ADDRESS_BYTES);
    // SAFETY: both point to locals, and `len` is the room there is.
    unsafe { libc::getpeername(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut len) == 0 }
}

#[test]
fn tcp_attempts_are_seen_though_they_fail() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("tcp", port));
    assert!(status.success());
    let connects = records.connects(tgid);
    let [v4, v6] = connects[..] else { panic!("{connects:?}") };
    assert_eq!((v4.family, v4.protocol, v4.destination_port, v4.origin), (2, 6, port, origin::TCP_STATE));
    assert_eq!(v4.destination[..4], [127, 0, 0, 1]);
    assert_eq!(v4.destination[4..], [0; 12]);
    assert_eq!((v6.family, v6.protocol, v6.destination_port), (10, 6, port));
    assert_eq!(v6.destination, Ipv6Addr::LOCALHOST.octets());
    assert_eq!((v4.old_state, v4.new_state), (7, 2));
    let results = records.results(tgid);
    let [refused, refused6] = results[..] else { panic!("{results:?}") };
    for (result, attempt) in [(refused, v4), (refused6, v6)] {
        assert_eq!((result.old_state, result.new_state, result.error), (2, 7, libc::ECONNREFUSED as u32));
        assert_eq!(
            (result.destination, result.destination_port),
            (attempt.destination, attempt.destination_port)
        );
        assert_eq!((result.header.tid, result.header.process), (attempt.header.tid, attempt.header.process));
        assert_eq!((result.header.uid, result.header.comm), (attempt.header.uid, attempt.header.comm));
        assert!(result.header.boot_ns >= attempt.header.boot_ns);
    }
    check_is_this_process(v4.header.parent);
    assert_ne!(v4.header.tid, tgid, "the test harness runs the role in a thread of its own");
}

#[test]
fn results_of_connections_are_told_by_what_came_of_them() {
    let _turn = turn();
    let mut kernel = load();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tgid, status, records) = watch(&mut kernel, helper("results", port));
    assert!(status.success());
    let results = records.results(tgid);
    let [taken, .., given_up] = results[..] else { panic!("{results:?}") };
    assert_eq!((taken.new_state, taken.error, taken.destination_port), (ESTABLISHED, 0, port));
    assert_ne!(taken.source_port, 0);
    assert_eq!(taken.source[..4], [127, 0, 0, 1]);
    // Nobody answered before the socket was closed.
    assert_eq!((given_up.new_state, given_up.error), (7, 0));
    assert_eq!(records.connects(tgid).len(), results.len());
}

#[test]
fn a_multipath_attempt_is_told_by_its_subflow_alone() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("mptcp", port));
    if status.code() == Some(NO_MPTCP) {
        skip::say("this kernel has no Multipath TCP");
        return;
    }
    assert!(status.success());
    let connects = records.connects(tgid);
    let [subflow] = connects[..] else { panic!("{connects:?}") };
    assert_eq!((subflow.protocol, subflow.destination_port), (6, port));
    assert_eq!(subflow.header.flags & flag::KERNEL_THREAD, 0);
}

#[test]
fn udp_peers_are_seen_and_repeats_are_counted() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("udp", port));
    assert!(status.success());
    let seen: Vec<_> =
        records.connects(tgid).iter().map(|c| (c.family, c.protocol, c.destination_port, c.origin)).collect();
    let expect =
        [(2, 17, port, origin::CONNECT), (2, 17, port, origin::SENDMSG), (10, 17, port, origin::SENDMSG)];
    assert_eq!(seen, expect);
    assert!(records.connects(tgid).iter().all(|connect| connect.cookie != 0));
    assert!(kernel.losses().unwrap().connect.suppressed >= 4);
}

#[test]
fn udp_peers_of_both_protocols_are_seen_on_one_kind_of_socket() {
    let _turn = turn();
    let mut kernel = load();
    let port = closed_port();
    let (tgid, status, records) = watch(&mut kernel, helper("udp6", port));
    assert!(status.success());
    let seen: Vec<_> = records
        .connects(tgid)
        .iter()
        .map(|c| (c.family, c.protocol, c.origin, Ipv6Addr::from(c.destination), c.destination_port))
        .collect();
    let v6 = Ipv6Addr::LOCALHOST;
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    // A datagram to a mapped address is IPv4's before its hook is asked.
    let v4 = Ipv6Addr::new(0x7f00, 1, 0, 0, 0, 0, 0, 0);
    let expect = [
        (10, 17, origin::CONNECT, v6, port),
        (10, 17, origin::SENDMSG, v6, port),
        (10, 17, origin::CONNECT, mapped, port),
        (2, 17, origin::SENDMSG, v4, port),
    ];
    assert_eq!(seen, expect);
}

#[test]
fn own_connections_are_left_out_and_counted() {
    let _turn = turn();
    let mut kernel = load();
    let before = kernel.losses().unwrap().connect.suppressed;
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, closed_port())).is_err());
    assert!(kernel.losses().unwrap().connect.suppressed > before);
    let (_, _, records) = watch(&mut kernel, Command::new("/bin/true").spawn().unwrap());
    assert!(records.connects(std::process::id()).is_empty());
}

#[test]
fn accepted_connections_are_told_with_their_peers() {
    let _turn = turn();
    let mut kernel = load();
    if !has_functions(&kernel) {
        return;
    }
    let (tgid, status, records) = watch(&mut kernel, helper("accept", 0));
    assert!(status.success());
    let results = records.results(tgid);
    let accepts: Vec<Connect> =
        records.of(kind::ACCEPT, tgid).into_iter().map(|(Accepted(accept), _)| accept).collect();
    assert_eq!((accepts.len(), results.len()), (2, 2));
    for (accept, result) in accepts.iter().zip(results) {
        assert_eq!((accept.family, accept.protocol, accept.origin), (result.family, 6, origin::ACCEPT));
        // One connection, seen from both ends.
        assert_eq!((accept.source, accept.destination), (result.destination, result.source));
        assert_eq!(
            (accept.source_port, accept.destination_port),
            (result.destination_port, result.source_port)
        );
    }
}
