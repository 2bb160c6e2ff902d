//! Files on watched paths.

use super::*;

#[test]
fn what_happens_to_watched_files_is_told() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(root.join("gt-watched/a/b")).unwrap();
    fs::create_dir(root.join("gt-else")).unwrap();
    fs::write(root.join("gt-secret"), "hush").unwrap();
    let pattern = |end: &str| vec![format!("{}/{end}", root.display())];
    let patterns = Patterns { changes: pattern("gt-watched/**"), reads: pattern("gt-secret") };
    let files = FileWatch::new(&patterns).unwrap();
    let mut kernel = load_with(&LoadOptions { files, ..plain() });
    if !has_functions(&kernel) {
        return;
    }
    let script = "echo x > gt-watched/a/b/new; echo y >> gt-watched/a/b/new; mv gt-watched/a/b/new gt-watched/moved; \
        ln gt-watched/moved gt-watched/linked; ln -s moved gt-watched/symbolic; cat gt-secret; \
        mv gt-watched/linked gt-else/out; cat gt-watched/moved; echo z > gt-else/unwatched; rm gt-watched/moved; \
        exit 3";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).current_dir(&root).stdout(std::process::Stdio::null());
    let (tgid, status, records) = watch(&mut kernel, shell.spawn().unwrap());
    assert_eq!(status.code(), Some(3));
    let below = |walk: &Walk<1024>| path(walk).strip_prefix(&root).map(Path::to_owned).unwrap_or_default();
    let told: Vec<(File, PathBuf)> = records
        .bytes
        .iter()
        .filter(|bytes| read::<Header>(bytes).kind == kind::FILE)
        .map(|bytes| read::<File>(bytes))
        .map(|file| (file, below(&file.path)))
        .filter(|(_, path)| path != Path::new(""))
        .collect();
    let seen: Vec<(u32, &str, String)> = told
        .iter()
        .map(|(file, path)| (file.op, path.to_str().unwrap(), below(&file.old_path).display().to_string()))
        .collect();
    let expect = [
        (op::CREATE, "gt-watched/a/b/new", ""),
        (op::WRITE, "gt-watched/a/b/new", ""),
        (op::RENAME, "gt-watched/moved", "gt-watched/a/b/new"),
        (op::LINK, "gt-watched/linked", "gt-watched/moved"),
        (op::SYMLINK, "gt-watched/symbolic", ""),
        (op::READ, "gt-secret", ""),
        (op::RENAME, "gt-else/out", "gt-watched/linked"),
        (op::DELETE, "gt-watched/moved", ""),
    ];
    let expect: Vec<_> = expect.into_iter().map(|(op, path, old)| (op, path, old.to_owned())).collect();
    assert_eq!(seen, expect);
    let made = &told[0].0;
    assert_eq!((made.header.process.tgid, made.header.flags), (tgid, 0));
    let inode = fs::metadata(root.join("gt-else/out")).unwrap();
    assert_eq!((made.inode, made.mode), (inode.ino(), inode.mode()));
    assert_eq!((made.dev >> 20, made.dev & 0xf_ffff), (libc::major(inode.dev()), libc::minor(inode.dev())));
}
