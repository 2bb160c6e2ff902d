//! A set of networks.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::literal::parse_ip;

/// Networks, any of which may hold an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CidrSet(Box<[IpNet]>);

impl CidrSet {
    pub fn new(mut nets: Vec<IpNet>) -> Self {
        nets.sort_unstable();
        nets.dedup();
        Self(nets.into())
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&ip))
    }

    pub fn nets(&self) -> &[IpNet] {
        &self.0
    }
}

/// Reads `10.0.0.0/8`, or an address as a network of its own. Host bits may be set.
pub fn parse_net(text: &str) -> Option<IpNet> {
    match text.split_once('/') {
        None => parse_ip(text).map(IpNet::from),
        Some(_) => text.parse::<IpNet>().ok().map(|net| net.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_addresses_of_its_networks() {
        let nets = ["10.0.0.0/8", "169.254.169.254", "fe80::/10"];
        let set = CidrSet::new(nets.iter().filter_map(|net| parse_net(net)).collect());
        assert_eq!(set.nets().len(), 3);
        for (ip, is_held) in
            [("10.9.8.7", true), ("11.0.0.1", false), ("169.254.169.254", true), ("fe80::1", true)]
        {
            assert_eq!(set.contains(ip.parse().expect("an address")), is_held, "{ip}");
        }
        assert_eq!(parse_net("10.0.0.0/33"), None);
    }
}
