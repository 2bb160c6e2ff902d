//! A process replaced its program.
//!
//! What does not depend on the size of the record is put together beside the ring, once, and copied: the verifier follows
//! each of the record's sizes from its reservation on.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use sensor_ebpf::abi::exec::{Brief, CHUNK_BYTES, Exec, ExecRecord, TIERS};
use sensor_ebpf::abi::header::{flag, kind};
use sensor_ebpf::abi::text::Walk;

use crate::emit::{self, Room, raise};
use crate::kernel::path::{Ended, walk, walk_cgroup};
use crate::kernel::{Access, Ptr, Typed, copy_text, task};
use crate::maps::{EXEC, called, offset, setting};

/// Runs once the new program is in place and none of its instructions has run: other threads are gone, so
/// only a debugger could change the arguments under our eyes.
///
/// Prototype, 5.10 to 7.2:
/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
#[btf_tracepoint(function = "sched_process_exec")]
fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    called!(sched_process_exec);
    let current: Ptr = ctx.arg(0);
    let program: Ptr = ctx.arg(2);
    let Some(exec) = EXEC.get_ptr_mut(0) else { return 0 };
    // SAFETY: points into the map's value for this processor, on which this program does not run twice at once.
    let exec = unsafe { &mut *exec };
    describe(exec, current);
    let block = Block::of(current).unwrap_or(Block { args_start: 0, args_len: 0, env_len: 0 });
    (exec.args_len, exec.env_len) = (block.args_len, block.env_len);
    capabilities(exec, current);
    names(exec, program);
    file(exec, program);
    surroundings(exec, current);
    // Last, as the verifier follows everything behind it for each way that the ring may be.
    let room = Room::look();
    let is_known = is_known(exec);
    if !is_known || room.is_for_headers() || !tell(&room, exec, &block) {
        emit::record_in(&room, |brief: &mut Brief| {
            if !is_known {
                return None;
            }
            brief.header = exec.header;
            raise(&mut brief.header, flag::DEGRADED | flag::HEADER_ONLY);
            Some(())
        });
    }
    0
}

/// Tells the exec in the largest form that it needs and the ring has room for; false if it has room for none.
#[inline(always)]
fn tell(room: &Room, exec: &mut Exec, block: &Block) -> bool {
    let wanted = tier_for(u64::from(block.args_len) + u64::from(block.env_len));
    let allowed = allowed_tier(room);
    if allowed < wanted {
        raise(&mut exec.header, flag::DEGRADED);
    }
    match wanted.min(allowed) {
        0 => emit::offer(room, |record| fill::<{ TIERS[0] }>(record, exec, block)),
        1 => emit::offer(room, |record| fill::<{ TIERS[1] }>(record, exec, block)),
        _ => emit::offer(room, |record| fill::<{ TIERS[2] }>(record, exec, block)),
    }
}

/// Where the new process keeps its arguments; its environment follows.
struct Block {
    args_start: u64,
    args_len: u32,
    env_len: u32,
}

impl Block {
    #[inline(always)]
    fn of(current: Ptr) -> Option<Self> {
        let mm = Typed::load::<Ptr>(current, offset!(task_mm))?;
        let args_start = Typed::load::<u64>(mm, offset!(mm_arg_start))?;
        let args_end = Typed::load::<u64>(mm, offset!(mm_arg_end))?;
        let env_start = Typed::load::<u64>(mm, offset!(mm_env_start))?;
        let env_end = Typed::load::<u64>(mm, offset!(mm_env_end))?;
        Some(Self {
            args_start,
            args_len: args_end.wrapping_sub(args_start) as u32,
            env_len: env_end.wrapping_sub(env_start) as u32,
        })
    }
}

fn tier_for(bytes: u64) -> usize {
    if bytes <= TIERS[0] as u64 {
        0
    } else if bytes <= TIERS[1] as u64 {
        1
    } else {
        2
    }
}

/// Smaller captures as the ring fills: a cut argument list is worth more than a lost exec.
fn allowed_tier(room: &Room) -> usize {
    if room.waiting() > u64::from(setting!(minimal_bytes)) {
        0
    } else if room.waiting() > u64::from(setting!(degrade_bytes)) {
        1
    } else {
        2
    }
}

/// Who it is. Whether that can be told at all is kept in memory: in a register the verifier would follow all that comes next
/// once for either.
#[inline(always)]
fn describe(exec: &mut Exec, current: Ptr) {
    let header = &raw mut exec.header;
    // SAFETY: points into the map's value.
    unsafe { (&raw mut (*header).flags).write_volatile(0) };
    let is_known = task::describe::<Typed>(&mut exec.header, current, flag::TASK_FAULT).is_some();
    let kind = if is_known { kind::EXEC } else { 0 };
    // SAFETY: as above.
    unsafe { (&raw mut (*header).kind).write_volatile(kind) };
}

#[inline(always)]
fn is_known(exec: &Exec) -> bool {
    // SAFETY: points into the map's value.
    let kind = unsafe { (&raw const exec.header.kind).read_volatile() };
    kind == kind::EXEC
}

/// Puts what is known into the record, and the arguments behind it.
#[inline(always)]
fn fill<const N: usize>(record: &mut ExecRecord<N>, exec: &Exec, block: &Block) -> Option<()> {
    const WORDS: usize = core::mem::offset_of!(Exec, filename) / size_of::<u64>();
    let told = &mut record.exec;
    let (source, target) = ((&raw const *exec).cast::<u64>(), (&raw mut *told).cast::<u64>());
    // SAFETY: so much lies before the names in both, and both are aligned to words.
    unsafe { core::ptr::copy_nonoverlapping(source, target, WORDS) };
    copy_used(&mut told.filename.bytes, &exec.filename.bytes, exec.filename.len);
    (told.filename.len, told.filename._pad) = (exec.filename.len, 0);
    copy_used(&mut told.interp.bytes, &exec.interp.bytes, exec.interp.len);
    (told.interp.len, told.interp._pad) = (exec.interp.len, 0);
    copy_walk(&mut told.exe, &exec.exe);
    copy_walk(&mut told.cwd, &exec.cwd);
    copy_walk(&mut told.cgroup, &exec.cgroup);
    capture(told, &mut record.capture, block);
    Some(())
}

#[inline(always)]
fn copy_walk<const N: usize>(target: &mut Walk<N>, source: &Walk<N>) {
    copy_used(&mut target.bytes, &source.bytes, source.len);
    (target.len, target.depth) = (source.len, source.depth);
}

/// Copies the bytes that are in use. What is behind them is nobody's, here as in the ring.
#[inline(always)]
fn copy_used<const N: usize>(target: &mut [u8; N], source: &[u8; N], len: u32) {
    let len = core::hint::black_box(len).min(N as u32);
    // SAFETY: both have room for `len`; the helper reads any address.
    unsafe { bpf_probe_read_kernel(target.as_mut_ptr().cast(), len, source.as_ptr().cast()) };
}

/// Bits, whatever struct the kernel keeps them in: two words of 32 before 6.3, one of 64 since.
#[inline(always)]
fn capabilities(exec: &mut Exec, current: Ptr) {
    let cred = Typed::load::<Ptr>(current, offset!(task_cred)).unwrap_or(core::ptr::null());
    exec.cap_effective = Typed::load(cred, offset!(cred_cap_effective)).unwrap_or(0);
    exec.cap_permitted = Typed::load(cred, offset!(cred_cap_permitted)).unwrap_or(0);
}

/// The path as given, and that of the file which runs in the end.
#[inline(always)]
fn names(exec: &mut Exec, program: Ptr) {
    let filename = Typed::load::<Ptr>(program, offset!(bprm_filename)).unwrap_or(core::ptr::null());
    let interp = Typed::load::<Ptr>(program, offset!(bprm_interp)).unwrap_or(core::ptr::null());
    if !copy_text(&mut exec.filename, filename) {
        raise(&mut exec.header, flag::FILENAME_TRUNCATED);
    }
    if !copy_text(&mut exec.interp, interp) {
        raise(&mut exec.header, flag::INTERP_TRUNCATED);
    }
    if filename != interp {
        raise(&mut exec.header, flag::SCRIPT);
    }
}

/// The mapped executable: path and inode.
#[inline(always)]
fn file(exec: &mut Exec, program: Ptr) {
    (exec.exe_inode, exec.exe_dev, exec.exe_nlink, exec.exe_mode) = (0, 0, 0, 0);
    (exec.exe.len, exec.exe.depth) = (0, 0);
    let Some(file) = Typed::load::<Ptr>(program, offset!(bprm_file)) else {
        raise(&mut exec.header, flag::EXE_TRUNCATED);
        return;
    };
    if inode(exec, file).is_none() {
        raise(&mut exec.header, flag::TASK_FAULT);
    }
    match walk(&mut exec.exe, file.wrapping_add(offset!(file_path) as usize)) {
        Ended::Complete => {}
        Ended::Truncated => raise(&mut exec.header, flag::EXE_TRUNCATED),
        Ended::Detached => raise(&mut exec.header, flag::EXE_DETACHED),
    }
}

#[inline(always)]
fn inode(exec: &mut Exec, file: Ptr) -> Option<()> {
    let inode = Typed::load::<Ptr>(file, offset!(file_inode))?;
    exec.exe_inode = Typed::load(inode, offset!(inode_ino))?;
    exec.exe_mode = u32::from(Typed::load::<u16>(inode, offset!(inode_mode))?);
    let n_links = Typed::load(inode, offset!(inode_nlink))?;
    exec.exe_nlink = n_links;
    if n_links == 0 {
        raise(&mut exec.header, flag::EXE_DELETED);
    }
    let sb = Typed::load::<Ptr>(inode, offset!(inode_sb))?;
    exec.exe_dev = Typed::load(sb, offset!(sb_dev))?;
    Some(())
}

/// Working directory and cgroup.
#[inline(always)]
fn surroundings(exec: &mut Exec, current: Ptr) {
    (exec.cwd.len, exec.cwd.depth) = (0, 0);
    (exec.cgroup.len, exec.cgroup.depth) = (0, 0);
    let cwd = Typed::load::<Ptr>(current, offset!(task_fs))
        .map(|fs| walk(&mut exec.cwd, fs.wrapping_add(offset!(fs_pwd) as usize)));
    if cwd != Some(Ended::Complete) {
        raise(&mut exec.header, flag::CWD_TRUNCATED);
    }
    // A kernel without cgroups has no node, and nothing is missing then.
    if let Some(node) = task::cgroup_node::<Typed>(current)
        && walk_cgroup(&mut exec.cgroup, node) != Ended::Complete
    {
        raise(&mut exec.header, flag::CGROUP_TRUNCATED);
    }
}

/// Copies the arguments, and as much of the environment as there is room for, chunk by chunk.
#[inline(always)]
fn capture<const N: usize>(exec: &mut Exec, room: &mut [u8; N], block: &Block) {
    let args = u64::from(block.args_len);
    let total = args + u64::from(block.env_len);
    if args > N as u64 {
        raise(&mut exec.header, flag::ARGS_TRUNCATED);
    }
    if total > N as u64 {
        raise(&mut exec.header, flag::ENV_TRUNCATED);
    }
    exec.captured = total.min(N as u64) as u32;
    let gaps = &raw mut exec.gaps;
    // SAFETY: points into the record.
    unsafe { gaps.write_volatile(0) };
    for chunk in 0..N / CHUNK_BYTES {
        let start = chunk * CHUNK_BYTES;
        // Read back each time, like the flags: a number that the verifier knows nothing of is one it need not
        // follow from chunk to chunk.
        // SAFETY: points into the record.
        let captured = unsafe { (&raw const exec.captured).read_volatile() } as usize;
        if captured <= start {
            break;
        }
        // The compiler knows that the rest is small enough; the verifier has lost sight of it by now.
        let len = core::hint::black_box(captured - start).min(CHUNK_BYTES) as u32;
        // SAFETY: `start + CHUNK_BYTES` is within the room; the helper takes any address and reports a fault.
        let status = unsafe {
            let target = room.as_mut_ptr().add(start);
            bpf_probe_read_user(target.cast(), len, (block.args_start + start as u64) as *const _)
        };
        if status != 0 {
            // SAFETY: points into the record.
            unsafe { gaps.write_volatile(gaps.read_volatile() | 1 << chunk) };
            raise(&mut exec.header, flag::ARGS_FAULT);
        }
    }
}
