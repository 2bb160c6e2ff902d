//! Reasons to call each of the programs: what the sensor does itself, once, so that a hook that stays silent is found out.
//!
//! What cannot be done here (no IPv6, no place for a file) gives no reason, and nothing is concluded from it.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::time::Duration;

/// On loopback nothing takes long, unless a firewall drops it.
const PATIENCE: Duration = Duration::from_millis(50);

/// Something to do, and the programs that are called for it.
type Reason = (fn() -> io::Result<()>, &'static [&'static str]);

/// Does what it can; the programs that were to be called.
pub(super) fn give() -> Vec<&'static str> {
    let reasons: [Reason; 6] = [
        (datagrams_v4, &["connect4", "sendmsg4", "metadata_request", "metadata_answer"]),
        (datagrams_v6, &["connect6", "sendmsg6"]),
        (connection, &["inet_sock_set_state", "accept_by_arg", "accept_by_flags"]),
        (|| File::open("/proc/self/stat").map(drop), &["security_file_open"]),
        (
            names,
            &[
                "security_inode_link",
                "security_inode_symlink",
                "security_inode_rename",
                "security_inode_unlink",
            ],
        ),
        // The helper's.
        (|| Ok(()), &["sched_process_fork", "sched_process_exec", "sched_process_exit"]),
    ];
    reasons.into_iter().filter(|(act, _)| act().is_ok()).flat_map(|(_, programs)| programs).copied().collect()
}

fn datagrams(from: SocketAddr) -> io::Result<()> {
    let (receiver, sender, connected) =
        (UdpSocket::bind(from)?, UdpSocket::bind(from)?, UdpSocket::bind(from)?);
    receiver.set_read_timeout(Some(PATIENCE))?;
    sender.send_to(b"x", receiver.local_addr()?)?;
    connected.connect(receiver.local_addr()?)?;
    // A firewall may keep it back, and then nothing is called for it.
    receiver.recv(&mut [0]).map(drop)
}

fn datagrams_v4() -> io::Result<()> {
    datagrams((Ipv4Addr::LOCALHOST, 0).into())
}

fn datagrams_v6() -> io::Result<()> {
    datagrams((Ipv6Addr::LOCALHOST, 0).into())
}

fn connection() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _client = TcpStream::connect_timeout(&listener.local_addr()?, PATIENCE)?;
    // Connected, so there is one to accept.
    listener.set_nonblocking(true)?;
    listener.accept().map(drop)
}

/// A file with every kind of name, below a directory that goes away with it.
fn names() -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("groundtrail-self-test-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let [file, link, symbolic, moved] = ["file", "link", "symbolic", "moved"].map(|name| folder.join(name));
    let done = File::create(&file)
        .and_then(|_file| fs::hard_link(&file, &link))
        .and_then(|()| symlink(&file, &symbolic))
        .and_then(|()| fs::rename(&link, &moved))
        .and_then(|()| fs::remove_file(&moved));
    fs::remove_dir_all(&folder)?;
    done
}
