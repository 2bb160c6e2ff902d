//! Every way to run a program and to reach out that hooks of system calls are known to miss, against what the test did itself.

use std::ffi::CString;
use std::os::unix::fs::symlink;

use super::*;

/// Exit code of a helper that this kernel does not give what it needs.
const NOT_HERE: i32 = 78;

/// The helper's part, for the roles of this file.
pub(super) fn play(role: &str, port: u16) {
    match role {
        "io_uring" => ring::connect(port),
        "fast_open" => fast_open(port),
        "mapped" => {
            let peer = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), port);
            assert!(TcpStream::connect(peer).is_err());
        }
        #[cfg(target_arch = "x86_64")]
        "int80_connect" => int80::connect(port),
        #[cfg(target_arch = "x86_64")]
        "int80_exec" => int80::exec(),
        "thread" => drop(std::thread::spawn(|| exec(&["/bin/true", "gt-thread"])).join()),
        "descriptor" => exec_descriptor(),
        "spawn" => spawn(),
        other => panic!("{other}"),
    }
}

/// Replaces this program.
fn exec(args: &[&str]) {
    let args: Vec<CString> = args.iter().map(|arg| CString::new(*arg).unwrap()).collect();
    let mut pointers: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: a path and arguments that are closed by NULs and a null.
    unsafe { libc::execv(pointers[0], pointers.as_ptr()) };
    panic!("{}", std::io::Error::last_os_error());
}

fn exec_descriptor() {
    let file = fs::File::open("/bin/true").unwrap();
    let args = [c"true".as_ptr(), c"gt-descriptor".as_ptr(), std::ptr::null()];
    let env = [std::ptr::null::<libc::c_char>()];
    // SAFETY: an open descriptor, an empty path, and arguments that are closed by NULs and a null.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    panic!("{}", std::io::Error::last_os_error());
}

/// By way of `vfork`, which shares the parent's memory until the exec.
fn spawn() {
    let args = [c"true".as_ptr().cast_mut(), c"gt-spawn".as_ptr().cast_mut(), std::ptr::null_mut()];
    let env = [std::ptr::null_mut()];
    let mut pid = 0;
    // SAFETY: valid pointers to texts and lists that are closed, and none where none is needed.
    let status = unsafe {
        let (actions, attributes) = (std::ptr::null(), std::ptr::null());
        libc::posix_spawn(
            &raw mut pid,
            c"/bin/true".as_ptr(),
            actions,
            attributes,
            args.as_ptr(),
            env.as_ptr(),
        )
    };
    assert_eq!(status, 0);
    // SAFETY: asks for no status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

fn fast_open(port: u16) {
    let address = loopback(port);
    // SAFETY: takes numbers; what it gives is owned here alone.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) };
    // SAFETY: a buffer of one byte, and a whole IPv4 address that outlives the call.
    let sent = unsafe {
        let peer = (&raw const address).cast();
        libc::sendto(socket.as_raw_fd(), b"x".as_ptr().cast(), 1, libc::MSG_FASTOPEN, peer, ADDRESS_BYTES)
    };
    if sent < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP) {
        std::process::exit(NOT_HERE);
    }
}

/// io_uring by hand: one entry, submitted and waited for.
mod ring {
    use super::*;

    const ENTER_GETEVENTS: libc::c_long = 1;
    const OP_CONNECT: u8 = 16;
    const OFF_SQ_RING: i64 = 0;
    const OFF_SQES: i64 = 0x1000_0000;

    /// `struct io_uring_params` of `include/uapi/linux/io_uring.h`, as far as it is needed.
    #[repr(C)]
    #[derive(Default)]
    struct Params {
        head: [u32; 10],
        /// head, tail, ring_mask, ring_entries, flags, dropped, array, …
        sq: [u32; 10],
        cq: [u32; 10],
    }

    fn map(fd: i32, len: usize, offset: i64) -> *mut u8 {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
        // SAFETY: a new mapping of an open descriptor.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, offset) };
        assert_ne!(at, libc::MAP_FAILED);
        at.cast()
    }

    pub(super) fn connect(port: u16) {
        let mut params = Params::default();
        // SAFETY: `params` is as large as the kernel takes it to be.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) } as i32;
        if fd < 0 {
            std::process::exit(NOT_HERE);
        }
        let address = loopback(port);
        // SAFETY: takes numbers.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        let queue = map(fd, params.sq[6] as usize + 4, OFF_SQ_RING);
        let entry = map(fd, 64, OFF_SQES);
        // SAFETY: the kernel's layout of a submission entry, in a mapping of 64 bytes; offsets in the ring are its own.
        unsafe {
            entry.write_bytes(0, 64);
            entry.write(OP_CONNECT);
            entry.add(4).cast::<i32>().write(socket);
            entry.add(8).cast::<u64>().write(u64::from(ADDRESS_BYTES));
            entry.add(16).cast::<u64>().write(&raw const address as u64);
            queue.add(params.sq[6] as usize).cast::<u32>().write(0);
            queue.add(params.sq[1] as usize).cast::<u32>().write_volatile(1);
            let done = libc::syscall(libc::SYS_io_uring_enter, fd, 1, 1, ENTER_GETEVENTS, 0, 0);
            assert_eq!(done, 1, "{}", std::io::Error::last_os_error());
        }
    }
}

/// System calls as a 32-bit program makes them, on numbers and addresses of 32 bits.
#[cfg(target_arch = "x86_64")]
mod int80 {
    use super::*;

    const EXECVE: u32 = 11;
    const SOCKET: u32 = 359;
    const CONNECT: u32 = 362;

    fn call(number: u32, args: [u32; 3]) -> i32 {
        let result: u64;
        let [first, second, third] = args.map(u64::from);
        // SAFETY: the calls below read what their arguments point to, which outlives them. The first argument's register
        // is the compiler's own, so it is lent and given back.
        unsafe {
            std::arch::asm!(
                "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
                first = inout(reg) first => _,
                inout("rax") u64::from(number) => result,
                in("rcx") second, in("rdx") third,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        result as i32
    }

    /// Memory that 32 bits can point to.
    fn low() -> *mut u8 {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        at.cast()
    }

    fn address(at: *mut u8) -> u32 {
        u32::try_from(at as u64).unwrap()
    }

    pub(super) fn connect(port: u16) {
        let socket = call(SOCKET, [2, 1, 0]);
        if socket == -libc::ENOSYS {
            std::process::exit(NOT_HERE);
        }
        let place = low();
        // SAFETY: the mapping is larger than an address.
        unsafe { place.cast::<libc::sockaddr_in>().write(loopback(port)) };
        assert_eq!(call(CONNECT, [socket as u32, address(place), ADDRESS_BYTES]), -libc::ECONNREFUSED);
    }

    pub(super) fn exec() {
        let place = low();
        let texts = b"/bin/true\0gt-int80\0";
        // SAFETY: texts, then pointers of 32 bits to them, all inside the mapping.
        unsafe {
            place.copy_from_nonoverlapping(texts.as_ptr(), texts.len());
            let list = place.add(64).cast::<u32>();
            list.write(address(place));
            list.add(1).write(address(place.add(10)));
            let result = call(EXECVE, [address(place), address(place.add(64)), 0]);
            std::process::exit(if result == -libc::ENOSYS { NOT_HERE } else { 1 });
        }
    }
}

/// What the helper did, unless this kernel does not let it.
fn watched(role: &str, port: u16) -> Option<(u32, Records)> {
    let mut kernel = load();
    let (tgid, status, records) = watch(&mut kernel, helper(role, port));
    // Without 32-bit system calls their interrupt is a fault.
    if status.code() == Some(NOT_HERE) || status.signal() == Some(libc::SIGSEGV) {
        skip::say(&format!("this kernel has no {role}"));
        return None;
    }
    assert!(status.success(), "{status}");
    Some((tgid, records))
}

fn reaches_out(role: &str, family: u16) {
    let _turn = turn();
    let port = closed_port();
    let Some((tgid, records)) = watched(role, port) else { return };
    let connects = records.connects(tgid);
    let [attempt] = connects[..] else { panic!("{role}: {connects:?}") };
    assert_eq!((attempt.family, attempt.protocol, attempt.destination_port), (family, 6, port), "{role}");
    let results = records.results(tgid);
    let [result] = results[..] else { panic!("{role}: {results:?}") };
    assert_eq!((result.new_state, result.error), (7, libc::ECONNREFUSED as u32), "{role}");
}

#[test]
fn a_connection_by_io_uring_is_seen() {
    reaches_out("io_uring", 2);
}

#[test]
fn a_connection_by_fast_open_is_seen() {
    reaches_out("fast_open", 2);
}

#[test]
fn a_connection_to_a_mapped_address_is_seen() {
    reaches_out("mapped", 10);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_connection_by_a_32_bit_system_call_is_seen() {
    reaches_out("int80_connect", 2);
}

/// The last exec of the helper, and its arguments.
fn last_exec(role: &str) -> Option<(Exec, String)> {
    let (tgid, records) = watched(role, 0)?;
    let forks = records.of::<Fork>(kind::FORK, tgid);
    let (exec, capture) = records.exec(tgid);
    assert_eq!(exec.header.process, forks[0].0.header.process, "{role}: one process, whatever it runs");
    check_is_this_process(exec.header.parent);
    Some((exec, String::from_utf8_lossy(exec.split(capture).0).into_owned()))
}

#[test]
fn an_exec_by_another_thread_is_its_process_own() {
    let _turn = turn();
    let (exec, args) = last_exec("thread").unwrap();
    assert_eq!((args.as_str(), exec.header.tid), ("/bin/true\0gt-thread\0", exec.header.process.tgid));
}

#[test]
fn an_exec_of_a_descriptor_shows_the_file() {
    let _turn = turn();
    let (exec, args) = last_exec("descriptor").unwrap();
    assert_eq!(args, "true\0gt-descriptor\0");
    assert!(exec.filename.as_bytes().starts_with(b"/dev/fd/"));
    assert_eq!(path(&exec.exe), fs::canonicalize("/bin/true").unwrap());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_exec_by_a_32_bit_system_call_is_seen() {
    let _turn = turn();
    let Some((exec, args)) = last_exec("int80_exec") else { return };
    assert_eq!((args.as_str(), exec.filename.as_bytes()), ("/bin/true\0gt-int80\0", &b"/bin/true"[..]));
}

#[test]
fn a_child_by_posix_spawn_has_its_parent() {
    let _turn = turn();
    let (tgid, records) = watched("spawn", 0).unwrap();
    let is_its_child = |bytes: &&Vec<u8>| {
        let header: Header = read(bytes);
        header.kind == kind::EXEC && header.parent.tgid == tgid
    };
    let child = records.bytes.iter().find(is_its_child).expect("the child's exec");
    let exec: Exec = read(child);
    assert_eq!(exec.split(&child[size_of::<Exec>()..]).0, b"true\0gt-spawn\0");
}

#[test]
fn links_and_loaders_and_deleted_files_are_told_for_what_they_are() {
    let _turn = turn();
    let mut kernel = load();
    let folder = tempfile::tempdir().unwrap();
    let (link, copy) = (folder.path().join("link"), folder.path().join("copy"));
    let program = fs::canonicalize("/bin/true").unwrap();
    symlink(&program, &link).unwrap();
    let (tgid, _, records) = watch(&mut kernel, Command::new(&link).spawn().unwrap());
    let (exec, _) = records.exec(tgid);
    assert_eq!((exec.filename.as_bytes(), path(&exec.exe)), (link.as_os_str().as_bytes(), program.clone()));

    fs::copy(&program, &copy).unwrap();
    let file = fs::File::open(&copy).unwrap();
    // SAFETY: takes numbers. The child is to have it too.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
    fs::remove_file(&copy).unwrap();
    let given = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut command = Command::new(&given);
    let (tgid, _, records) = watch(&mut kernel, command.arg0("true").spawn().unwrap());
    let (exec, _) = records.exec(tgid);
    assert_eq!(exec.header.flags & flag::EXE_DELETED, flag::EXE_DELETED);
    assert!(!exec.is_memfd() && path(&exec.exe).ends_with("copy"), "{:?}", path(&exec.exe));

    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let Some(loader) = loaders.iter().find(|loader| Path::new(loader).exists()) else {
        skip::say("no dynamic loader here");
        return;
    };
    let (tgid, _, records) =
        watch(&mut kernel, Command::new(loader).args(["/bin/true", "gt-loaded"]).spawn().unwrap());
    let (exec, capture) = records.exec(tgid);
    assert_eq!(path(&exec.exe), fs::canonicalize(loader).unwrap());
    assert_eq!(exec.split(capture).0, format!("{loader}\0/bin/true\0gt-loaded\0").as_bytes());
}
