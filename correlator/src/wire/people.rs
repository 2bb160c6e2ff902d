//! Users of this machine by name, as `/etc/passwd` has them: the correlator's own and the sensor's are system users, and
//! those are there.

use std::fs;

/// User and primary group of a name; a number stands for itself.
pub fn user(name: &str) -> Option<(u32, u32)> {
    find(&fs::read_to_string("/etc/passwd").unwrap_or_default(), name)
        .or_else(|| name.parse().ok().map(|id| (id, id)))
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        is_it.then_some((uid.parse().ok()?, gid.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\ngroundtrail-sensor:x:998:997::/:/usr/sbin/nologin\n";
        assert_eq!(find(passwd, "groundtrail-sensor"), Some((998, 997)));
        assert_eq!(find(passwd, "root"), Some((0, 0)));
        assert_eq!(find(passwd, "nobody"), None);
    }
}
