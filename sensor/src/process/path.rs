//! One spelling of paths, whoever tells them: the kernel's walk, `/proc`, or the caller of exec.

/// What `/proc` appends to the path of a file that has lost its name.
const DELETED: &str = " (deleted)";

/// A link of `/proc` as the kernel's walk spells it: without the mark of a deleted file, and a program in memory without
/// a root it does not lie under. `is_literal` says of a path whether it is the file's real name, mark and all.
pub fn from_proc(link: &str, is_literal: impl FnOnce(&str) -> bool) -> String {
    match link.strip_suffix(DELETED).filter(|_| !is_literal(link)) {
        Some(path) if path.starts_with("/memfd:") => path[1..].to_owned(),
        Some(path) => path.to_owned(),
        None => link.to_owned(),
    }
}

/// `name` seen from `dir`, without `.`, `..` and empty components. Links are not followed.
pub fn join(dir: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let dir = if name.starts_with('/') { "" } else { dir };
    for part in dir.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether a path given to exec is an open file alone (`fexecve`), which says nothing of the program's name.
pub fn is_descriptor(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let is_number =
        parts.next().is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()));
    is_number && parts.next() == Some("fd") && (path.starts_with("/dev/") || path.starts_with("/proc/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_spelled_as_the_kernel_does() {
        let check = |link: &str, expect: &str| assert_eq!(from_proc(link, |_| false), expect);
        check("/usr/bin/bash", "/usr/bin/bash");
        check("/g (deleted)", "/g");
        check("/g (deleted) (deleted)", "/g (deleted)");
        check("/memfd:x (deleted)", "memfd:x");
        check("/memfd:a/b (deleted)", "memfd:a/b");
        check("/memfd:x", "/memfd:x");
        assert_eq!(from_proc("/g (deleted)", |_| true), "/g (deleted)");
    }

    #[test]
    fn names_are_joined_without_detours() {
        assert_eq!(join("/tmp/a/b", "../c/./tool"), "/tmp/a/c/tool");
        assert_eq!(join("/tmp", "/bin//x/../ls"), "/bin/ls");
        assert_eq!(join("/", "../../x"), "/x");
        assert_eq!(join("/tmp", "x"), "/tmp/x");
    }

    #[test]
    fn descriptors_are_told_from_files_below_them() {
        for (path, is) in [
            ("/dev/fd/3", true),
            ("/proc/self/fd/12", true),
            ("/proc/7/task/8/fd/3", true),
            ("/dev/fd/3/tool", false),
            ("/dev/fd/", false),
            ("/tmp/fd/3", false),
            ("fd/3", false),
        ] {
            assert_eq!(is_descriptor(path), is, "{path}");
        }
    }
}
