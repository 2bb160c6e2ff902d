//! The EC2 instance id, from what the hypervisor and cloud-init leave on the machine: no network, no guess.

use std::path::Path;

use super::line;

/// Tried in order: Nitro's DMI; cloud-init's note, which on Xen is the only local source.
pub fn instance_id(root: &Path) -> Option<String> {
    let tag = line(root, "sys/devices/virtual/dmi/id/board_asset_tag");
    if let Some(id) = tag.filter(|tag| is_instance_id(tag)) {
        return Some(id);
    }
    // cloud-init writes an id on every cloud, and one of its own for local datasources: shape alone is not enough.
    let noted = line(root, "var/lib/cloud/data/instance-id").filter(|id| is_instance_id(id))?;
    is_ec2(root).then_some(noted)
}

/// Whether the machine says that it is an EC2 instance, Nitro or Xen.
pub fn is_ec2(root: &Path) -> bool {
    let starts = |path: &str, start: &str| {
        line(root, path).is_some_and(|text| text.to_ascii_lowercase().starts_with(start))
    };
    starts("sys/hypervisor/uuid", "ec2")
        || starts("sys/devices/virtual/dmi/id/product_uuid", "ec2")
        || starts("sys/devices/virtual/dmi/id/sys_vendor", "amazon ec2")
}

/// `i-` and 8 or 17 hex digits; `mi-` for a managed hybrid node is none.
pub fn is_instance_id(text: &str) -> bool {
    text.strip_prefix("i-").is_some_and(|hex| {
        matches!(hex.len(), 8 | 17)
            && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(files: &[(&str, &str)], expect: Option<&str>) {
        let dir = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, text).expect("written");
        }
        assert_eq!(instance_id(dir.path()).as_deref(), expect, "{files:?}");
    }

    #[test]
    fn nitro_xen_and_strangers() {
        let tag = "sys/devices/virtual/dmi/id/board_asset_tag";
        let noted = "var/lib/cloud/data/instance-id";
        check(&[(tag, "i-0123456789abcdef0\n")], Some("i-0123456789abcdef0"));
        check(&[(tag, "i-01234567")], Some("i-01234567"));
        check(&[(tag, "Default string")], None);
        check(
            &[(noted, "i-01234567"), ("sys/hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef")],
            Some("i-01234567"),
        );
        check(&[(noted, "i-01234567")], None);
        check(&[(noted, "nocloud"), ("sys/hypervisor/uuid", "ec2e1916")], None);
        check(&[], None);
    }

    #[test]
    fn ids_have_one_shape() {
        for (text, is) in [
            ("i-0123456789abcdef0", true),
            ("i-012345678", false),
            ("mi-01234567", false),
            ("i-0123456G", false),
        ] {
            assert_eq!(is_instance_id(text), is, "{text}");
        }
    }
}
