//! Which container a process is in, from its cgroup path alone: no runtime socket, no guess by name.

use crate::process::weight::{Weigh, texts};

/// What a cgroup path says about containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The path itself; nothing for the root, where no one put the process anywhere.
    pub cgroup_path: Option<String>,
    pub id: Option<String>,
    /// Kubernetes pod UID in its usual spelling with dashes.
    pub pod_uid: Option<String>,
    pub ecs_task_id: Option<String>,
}

impl Weigh for Container {
    fn n_bytes(&self) -> usize {
        let held = [&self.cgroup_path, &self.id, &self.pod_uid, &self.ecs_task_id];
        size_of::<Self>() + texts(held.into_iter().flatten())
    }
}

/// Prefixes that runtimes put before the id in a systemd scope name.
const SCOPE_PREFIXES: [&str; 5] = ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"];

impl Container {
    pub fn from_cgroup(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Self {
            cgroup_path: (!parts.is_empty()).then(|| path.to_owned()),
            // The innermost one wins: docker in a pod is the container that the process sees.
            id: parts.iter().rev().find_map(|part| container_id(part)).map(str::to_owned),
            pod_uid: parts.iter().rev().find_map(|part| pod_uid(part)),
            ecs_task_id: ecs_task(&parts).map(str::to_owned),
        }
    }
}

fn container_id(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let name = SCOPE_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    // containerd's CRI under cgroupfs joins the pod and the container: `kubepods-…:cri-containerd:<id>`.
    let name = name.rsplit(':').next().unwrap_or(name);
    is_container_id(name).then_some(name)
}

/// 64 hex characters; ECS on EC2 and Fargate use 32 hex, a dash and a number for some runtimes.
fn is_container_id(name: &str) -> bool {
    match name.split_once('-') {
        None => name.len() == 64 && is_hex(name),
        Some((task, number)) => {
            task.len() == 32
                && is_hex(task)
                && number.len() >= 5
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
    }
}

fn pod_uid(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let (_, uid) = name.rsplit_once("pod")?;
    let plain: String = uid.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    if plain.len() != 32 || !is_hex(&plain) {
        return None;
    }
    let (a, b, c, d, e) = (&plain[..8], &plain[8..12], &plain[12..16], &plain[16..20], &plain[20..]);
    Some(format!("{a}-{b}-{c}-{d}-{e}"))
}

/// `/ecs/TASK/CONTAINER` and, with the long ARN format, `/ecs/CLUSTER/TASK/CONTAINER`; systemd's form is
/// `ecstasks-TASK.slice`.
fn ecs_task<'a>(parts: &[&'a str]) -> Option<&'a str> {
    if let Some(at) = parts.iter().position(|part| *part == "ecs") {
        return parts[at + 1..].iter().take(2).copied().find(|part| is_task_id(part));
    }
    parts.iter().find_map(|part| {
        let task = part.strip_prefix("ecstasks-")?.strip_suffix(".slice")?;
        is_task_id(task).then_some(task)
    })
}

/// 32 hex characters, or the older UUID spelling.
fn is_task_id(part: &str) -> bool {
    let plain: String = part.chars().filter(|c| *c != '-').collect();
    plain.len() == 32 && is_hex(&plain) && matches!(part.len(), 32 | 36)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4e8f6a6b1c4d2e9f00112233445566778899aabbccddeeff00112233445566";
    const POD: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    fn check(path: &str, id: Option<&str>, pod: Option<&str>, task: Option<&str>) {
        let expect = Container {
            cgroup_path: (path.len() > 1).then(|| path.into()),
            id: id.map(Into::into),
            pod_uid: pod.map(Into::into),
            ecs_task_id: task.map(Into::into),
        };
        assert_eq!(Container::from_cgroup(path), expect, "{path}");
    }

    #[test]
    fn runtimes_are_recognised_by_the_shape_of_their_cgroup() {
        check(&format!("/system.slice/docker-{ID}.scope"), Some(ID), None, None);
        check(&format!("/docker/{ID}"), Some(ID), None, None);
        check(&format!("/docker/{ID}/init.scope"), Some(ID), None, None);
        check(&format!("/machine.slice/libpod-{ID}.scope/container"), Some(ID), None, None);
        check(
            &format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"),
            Some(ID),
            None,
            None,
        );
        check(&format!("/system.slice/nerdctl-{ID}.scope"), Some(ID), None, None);
    }

    #[test]
    fn kubernetes_paths_give_the_pod_as_well() {
        let under = POD.replace('-', "_");
        check(
            &format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            Some(ID),
            Some(POD),
            None,
        );
        check(
            &format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{ID}.scope"),
            Some(ID),
            Some(POD),
            None,
        );
        check(&format!("/kubepods/besteffort/pod{POD}/{ID}"), Some(ID), Some(POD), None);
        check(
            &format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}"
            ),
            Some(ID),
            None,
            None,
        );
    }

    #[test]
    fn ecs_paths_give_the_task() {
        let task = "0123456789abcdef0123456789abcdef";
        check(&format!("/ecs/{task}/{ID}"), Some(ID), None, Some(task));
        check(&format!("/ecs/prod/{task}/{ID}"), Some(ID), None, Some(task));
        check(
            &format!("/ecs/{task}/{task}-1234567890"),
            Some("0123456789abcdef0123456789abcdef-1234567890"),
            None,
            Some(task),
        );
        check(
            &format!("/ecstasks.slice/ecstasks-{task}.slice/docker-{ID}.scope"),
            Some(ID),
            None,
            Some(task),
        );
        let old = "01234567-89ab-cdef-0123-456789abcdef";
        check(&format!("/ecs/{old}/{ID}"), Some(ID), None, Some(old));
    }

    #[test]
    fn ordinary_paths_are_no_container() {
        for path in [
            "/",
            "",
            "/user.slice/user-1000.slice/session-3.scope",
            "/system.slice/sshd.service",
            "/system.slice/docker.service",
            "/docker/abc",
            &format!("/x/{}", &ID[1..]),
            "/init.scope",
            "/podman/podcast",
        ] {
            check(path, None, None, None);
        }
    }
}
