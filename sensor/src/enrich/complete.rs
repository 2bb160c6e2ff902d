//! What an exec record had no room for, from `/proc` while the process still runs that program.

use sensor_ebpf::abi::exec::Exec;
use sensor_ebpf::abi::header::{Key, flag};

use crate::clock::BootNs;
use crate::decode;
use crate::lookup::Lookups;
use crate::process::Image;
use crate::process::id::Tgid;
use crate::process::path;

/// The image with what was cut, as far as someone knows it. What stays cut stays marked.
pub(super) fn complete(mut image: Image, exec: &Exec, lookups: &mut dyn Lookups) -> Image {
    let flags = exec.header.flags;
    let is_path_cut = flags & (flag::EXE_TRUNCATED | flag::CWD_TRUNCATED) != 0;
    // The ring was filling up: a reader that looks at every process now would fall behind for good.
    let is_env_cut = flags & (flag::ENV_TRUNCATED | flag::ARGS_FAULT) != 0 && flags & flag::DEGRADED == 0;
    if !is_path_cut && !is_env_cut {
        return image;
    }
    let now = image_of(exec.header.process, lookups);
    if flags & flag::CWD_TRUNCATED != 0 {
        let cut = decode::path(&exec.cwd, false);
        let directory = |of: Option<&Image>| {
            of.and_then(|image| image.working_directory.clone()).filter(|path| continues(path, &cut))
        };
        // A child that is gone already most often ran where its parent is.
        let whole = directory(now.as_ref())
            .or_else(|| directory(image_of(exec.header.parent, lookups).as_ref()))
            .filter(|_| exec.cwd.depth > 0);
        image.working_directory = whole.or(image.working_directory);
    }
    if flags & flag::EXE_TRUNCATED != 0 {
        let cut = decode::path(&exec.exe, false);
        let told = now.as_ref().and_then(|now| now.executable.clone());
        // `/proc` first: it follows links, and a name leads to the same file by many ways.
        let candidates = [told, as_given(exec, &image)].into_iter().flatten();
        if let Some(whole) = candidates.into_iter().find(|path| continues(path, &cut)) {
            image.executable = Some(whole);
            image.executable_truncated = false;
        }
    }
    if let Some(now) = now.filter(|now| is_env_cut && is_same_program(&image, now)) {
        // What the kernel saw at the start stands: a process can rewrite what `/proc` shows.
        for variable in now.env_vars {
            if !image.env_vars.contains(&variable) {
                image.env_vars.push(variable);
            }
        }
        image.env_truncated = now.env_truncated;
    }
    image
}

/// The process' image by `/proc`, unless the pid is another's by now.
fn image_of(key: Key, lookups: &mut dyn Lookups) -> Option<Image> {
    let found = lookups.process(Tgid(key.tgid))?;
    (found.start() == BootNs(key.start_boot_ns).ticks()).then_some(found.image)
}

/// Whether `whole` ends with the names that the walk collected before it was cut.
fn continues(whole: &str, cut: &str) -> bool {
    whole.starts_with('/') && whole.ends_with(cut.trim_start_matches('…'))
}

/// The path to the mapped file as the caller of exec gave it, seen from its directory.
fn as_given(exec: &Exec, image: &Image) -> Option<String> {
    let flags = exec.header.flags;
    // A script's interpreter is mapped.
    let (name, cut) = match flags & flag::SCRIPT {
        0 => (exec.filename.as_bytes(), flag::FILENAME_TRUNCATED),
        _ => (exec.interp.as_bytes(), flag::INTERP_TRUNCATED),
    };
    let name = decode::text(name);
    let dir = image.working_directory.as_deref().filter(|dir| dir.starts_with('/'));
    if flags & cut != 0 || name.is_empty() || exec.exe.depth == 0 {
        return None;
    }
    if name.starts_with('/') { Some(path::join("/", &name)) } else { Some(path::join(dir?, &name)) }
}

/// Whether `/proc` still shows the program of the record and not one that was executed since, by its arguments. The last
/// one of either may be cut.
fn is_same_program(then: &Image, now: &Image) -> bool {
    let (n_then, n_now) = (then.args.count(), now.args.count());
    let is_whole = n_then == n_now && !then.args_truncated && !now.args_truncated;
    let n_sure = if is_whole { n_then } else { n_then.min(n_now).saturating_sub(1) };
    then.args.iter().take(n_sure).eq(now.args.iter().take(n_sure))
}
