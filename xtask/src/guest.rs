//! Emulated machines: a distribution's kernel, a small userland, and a job that runs as root and prints to the console.
//!
//! Everything is emulated (TCG), so neither hardware support nor privilege is needed, and one architecture can run
//! the other's kernels.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::debian::{List, Package, natural_order};
use crate::shell::{self, Failure};
use crate::statics::Arch;

/// The release whose emulator and userland are used. Older emulators crash newer kernels now and then.
const SUITE: &str = "trixie";
/// What the tests call, and so what they need.
const USERLAND: &[&str] =
    &["base-files", "bash", "dash", "coreutils", "util-linux", "mount", "iproute2", "procps", "grep"];
/// A guest that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A line of kernels, and where Debian has it.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    suites: &'static [&'static str],
    /// Given to the kernel besides what every guest gets.
    append: &'static str,
}

pub(crate) const KERNELS: [Kernel; 4] = [
    // 5.10 does not list BPF among its security modules by itself: its programs attach and are never called.
    Kernel { name: "5.10", suites: &["bullseye"], append: "lsm=lockdown,yama,apparmor,bpf" },
    Kernel { name: "6.1", suites: &["bookworm"], append: "" },
    Kernel { name: "6.12", suites: &["trixie"], append: "" },
    Kernel { name: "7", suites: &["forky", "sid", "trixie-backports"], append: "" },
];

/// A kernel that is at hand.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    file: PathBuf,
    pub(crate) version: String,
}

/// How a guest counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Two processors, as fast as they go.
    Free,
    /// One processor whose clock ticks once an instruction, so that a duration is a number of instructions.
    Counted,
}

fn place(part: &str, arch: Arch) -> PathBuf {
    shell::target().join("guests").join(format!("{part}-{}", arch.debian()))
}

impl Kernel {
    /// Finds or fetches the newest kernel of this line.
    pub(crate) fn image(&self, arch: Arch) -> Result<Image, Failure> {
        let folder = place(&format!("linux-{}", self.name), arch);
        if let Some(image) = image_in(&folder) {
            return Ok(image);
        }
        let mut said = Vec::new();
        for suite in self.suites {
            match self.fetch(suite, arch, &folder) {
                Ok(()) => {
                    return image_in(&folder).ok_or_else(|| {
                        Failure(format!("the package of Linux {} holds no kernel", self.name))
                    });
                }
                Err(err) => said.push(err.to_string()),
            }
        }
        Err(Failure(said.join("; ")))
    }

    fn fetch(&self, suite: &str, arch: Arch, into: &Path) -> Result<(), Failure> {
        let list = List::of(suite, arch.debian())?;
        let newest = list
            .packages()
            .filter(|package| self.is_of_line(package.name, arch))
            // From 7.x on the image's package is empty, and the binary's has the kernel.
            .max_by_key(|package| {
                (natural_order(release(package.name)), package.name.starts_with("linux-binary"))
            });
        let Some(newest) = newest else {
            return Err(Failure(format!("Debian {suite} has no kernel {}", self.name)));
        };
        list.unpack(&[newest], into, "the sensor is tested on it in an emulated machine")
    }

    fn is_of_line(&self, package: &str, arch: Arch) -> bool {
        let release = release(package);
        release != package
            && release.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.'))
            && release.ends_with(&format!("-cloud-{}", arch.debian()))
    }
}

/// `linux-image-6.1.0-50-cloud-amd64` is of `6.1.0-50-cloud-amd64`.
fn release(package: &str) -> &str {
    let kernel = package.strip_prefix("linux-image-").or_else(|| package.strip_prefix("linux-binary-"));
    kernel.unwrap_or(package)
}

fn image_in(folder: &Path) -> Option<Image> {
    let version = fs::read_dir(folder.join("usr/lib/modules"))
        .or_else(|_| fs::read_dir(folder.join("lib/modules")))
        .ok()?
        .flatten()
        .next()?
        .file_name()
        .into_string()
        .ok()?;
    let candidates = [
        folder.join(format!("boot/vmlinuz-{version}")),
        folder.join(format!("usr/lib/modules/{version}/vmlinuz")),
        folder.join(format!("lib/modules/{version}/vmlinuz")),
    ];
    let file = candidates.into_iter().find(|file| file.is_file())?;
    Some(Image { file, version })
}

/// The emulator for an architecture, with its own libraries, so that the machine's do not matter.
fn emulator(arch: Arch) -> Result<Command, Failure> {
    let own = Arch::own()?;
    let folder = place(&format!("qemu-{}", arch.machine()), own);
    if !folder.is_dir() {
        let packages: &[&str] = match arch {
            Arch::X86_64 => &["qemu-system-x86", "seabios", "ipxe-qemu"],
            Arch::Arm64 => &["qemu-system-arm"],
        };
        let list = List::of(SUITE, own.debian())?;
        let all = list.with_dependencies(packages)?;
        list.unpack(&all, &folder, "the emulator in which other kernels are tried, and its libraries")?;
    }
    let loader = match own {
        Arch::X86_64 => "usr/lib64/ld-linux-x86-64.so.2",
        Arch::Arm64 => "usr/lib/ld-linux-aarch64.so.1",
    };
    let libraries = folder.join(format!("usr/lib/{}-linux-gnu", own.machine()));
    let mut command = Command::new(folder.join(loader));
    command.arg("--library-path").arg(&libraries);
    command.arg(folder.join(format!("usr/bin/qemu-system-{}", arch.machine())));
    command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
    for data in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
        command.arg("-L").arg(folder.join(data));
    }
    match arch {
        Arch::X86_64 => command.args(["-machine", "q35", "-cpu", "max,la57=off"]),
        // Graviton 2 and later are Neoverse cores.
        Arch::Arm64 => command.args(["-machine", "virt", "-cpu", "neoverse-n1"]),
    };
    Ok(command)
}

/// Fetches what a guest needs, or says why it cannot.
pub(crate) fn can_boot(arch: Arch, kernel: &Kernel) -> Result<(), Failure> {
    if shell::find("dpkg").is_none() {
        return Err(Failure("dpkg, which unpacks the packages, is not on this machine".to_owned()));
    }
    kernel.image(arch)?;
    emulator(arch)?;
    userland(arch).map(drop)
}

/// A disk with the userland, these files at the places they have here, and the job.
pub(crate) fn disk(arch: Arch, files: &[PathBuf], job: &str) -> Result<PathBuf, Failure> {
    let base = userland(arch)?;
    let root = place("root", arch);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    shell::output(Command::new("cp").arg("-a").arg(&base).arg(&root))?;
    for folder in ["proc", "sys", "dev", "tmp", "run", "root", "etc"] {
        fs::create_dir_all(root.join(folder))?;
    }
    drop(fs::remove_file(root.join("usr/bin/sh")));
    symlink("dash", root.join("usr/bin/sh"))?;
    fs::write(root.join("etc/machine-id"), "00000000000040008000000000000001\n")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    write_program(&root.join("init"), include_bytes!("guest/init.sh"))?;
    write_program(&root.join("job"), job.as_bytes())?;
    for file in files {
        let place = root.join(file.strip_prefix("/").expect("cargo names absolute paths"));
        fs::create_dir_all(place.parent().expect("a file lies in a folder"))?;
        fs::copy(file, place)?;
    }
    let disk = place("disk", arch).with_extension("ext3");
    drop(fs::remove_file(&disk));
    let tool = shell::find("mke2fs").unwrap_or_else(|| PathBuf::from("/sbin/mke2fs"));
    let mut make = Command::new(tool);
    // The kernel's ext4 reads it, and no newer tool gives it a feature that an older kernel lacks.
    make.args(["-q", "-t", "ext3", "-d"]).arg(&root).arg(&disk);
    shell::output(make.arg("1G"))?;
    fs::remove_dir_all(&root)?;
    Ok(disk)
}

/// The shell and tools that the tests call.
fn userland(arch: Arch) -> Result<PathBuf, Failure> {
    let folder = place("userland", arch);
    if !folder.is_dir() {
        let list = List::of(SUITE, arch.debian())?;
        let all: Vec<Package<'_>> = list.with_dependencies(USERLAND)?;
        list.unpack(&all, &folder, "the shell and tools that the tests call inside the emulated machines")?;
        for superfluous in ["doc", "man", "locale", "info"] {
            drop(fs::remove_dir_all(folder.join("usr/share").join(superfluous)));
        }
    }
    Ok(folder)
}

fn write_program(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::File::create(path)?.write_all(bytes)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Boots the kernel, lets it run the disk's job, and returns what came over the console.
pub(crate) fn boot(
    arch: Arch,
    kernel: &Kernel,
    image: &Image,
    disk: &Path,
    pace: Pace,
) -> Result<String, Failure> {
    let logs = shell::target().join("guests/logs");
    fs::create_dir_all(&logs)?;
    let suffix = if pace == Pace::Counted { "-counted" } else { "" };
    let log = logs.join(format!("{}-{}{suffix}.log", arch.debian(), kernel.name));
    let console = match arch {
        Arch::X86_64 => "ttyS0",
        Arch::Arm64 => "ttyAMA0",
    };
    let mut command = emulator(arch)?;
    match pace {
        Pace::Free => command.args(["-accel", "tcg,thread=multi", "-smp", "2"]),
        Pace::Counted => {
            command.args(["-accel", "tcg,thread=single", "-smp", "1", "-icount", "shift=0,sleep=off"])
        }
    };
    command.args(["-m", "1536", "-nodefaults", "-no-reboot", "-display", "none", "-serial"]);
    command.arg(format!("file:{}", log.display())).arg("-kernel").arg(&image.file);
    // What is written stays in memory: the next kernel finds the disk as it was.
    command.arg("-drive").arg(format!("file={},if=none,id=disk,format=raw,snapshot=on", disk.display()));
    command.args(["-device", "nvme,serial=disk,drive=disk", "-append"]);
    command.arg(format!(
        "console={console} quiet loglevel=3 panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable \
         root=/dev/nvme0n1 rw init=/init {}",
        kernel.append
    ));
    let mut guest = command.spawn()?;
    let began = Instant::now();
    while guest.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            guest.kill()?;
            guest.wait()?;
            return Err(Failure(format!(
                "Linux {} did not power off within {} s; its console is in {}",
                image.version,
                PATIENCE.as_secs(),
                log.display()
            )));
        }
        thread::sleep(Duration::from_millis(100));
    }
    let console = String::from_utf8_lossy(&fs::read(&log)?).replace('\r', "");
    if console.lines().any(|line| line == "GUEST ENDS") {
        return Ok(console);
    }
    let last: Vec<&str> = console.lines().rev().take(12).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n    ");
    Err(Failure(format!(
        "Linux {} did not come to the job's end; {} ends with\n    {last}",
        image.version,
        log.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_kernels_is_told_from_its_neighbours() {
        let [_, v6_1, ..] = &KERNELS;
        assert!(v6_1.is_of_line("linux-image-6.1.0-50-cloud-amd64", Arch::X86_64));
        for other in [
            "linux-image-6.12.107+deb13-cloud-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-50-cloud-arm64",
            "linux-image-cloud-amd64",
        ] {
            assert!(!v6_1.is_of_line(other, Arch::X86_64), "{other}");
        }
        assert!(KERNELS[3].is_of_line("linux-binary-7.2.12+deb14-cloud-arm64", Arch::Arm64));
    }
}
