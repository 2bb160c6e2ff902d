//! System 5: the calls of the detection-engineering catalogue through the real CLI, and the two feeds that no CLI call makes.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::world;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::set::Set;

/// One call per row of the table; the last ten are the inventory sweep.
const CALLS: &[&str] = &[
    "iam attach-user-policy --user-name ci-deploy --policy-arn arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3",
    "ec2 create-key-pair --key-name spare --key-type ed25519",
    "ec2-instance-connect send-ssh-public-key --instance-id i-0a1b2c3d4e5f60718 --instance-os-user ec2-user --ssh-public-key \
     'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGroundtrailStageExampleKeyThatOpensNothing1'",
    "ec2-instance-connect send-serial-console-ssh-public-key --instance-id i-0a1b2c3d4e5f60718 --serial-port 0 --ssh-public-key \
     'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGroundtrailStageExampleKeyThatOpensNothing1'",
    "iam create-open-id-connect-provider --url https://idp.example.com --thumbprint-list 9999999999999999999999999999999999999999",
    "iam update-saml-provider --saml-provider-arn arn:aws:iam::111122223333:saml-provider/corp --saml-metadata-document \
     \"$(head -c 1200 /dev/zero | tr '\\0' x)\"",
    "iam delete-saml-provider --saml-provider-arn arn:aws:iam::111122223333:saml-provider/corp",
    "iam create-user --user-name backup-admin",
    "iam create-login-profile --user-name backup-admin --password not-a-password-1",
    "iam create-access-key --user-name backup-admin",
    "iam update-login-profile --user-name backup-admin --password not-a-password-2",
    "ec2 delete-flow-logs --flow-log-ids fl-0123456789abcdef0",
    "cloudtrail stop-logging --name org-trail",
    "cloudtrail update-trail --name org-trail --no-is-multi-region-trail",
    "cloudtrail delete-trail --name org-trail",
    "guardduty update-detector --detector-id 12abc34d567e8fa901bc2d34e56789f0 --no-enable",
    "guardduty create-ip-set --detector-id 12abc34d567e8fa901bc2d34e56789f0 --name trusted --format TXT --location \
     https://s3.amazonaws.com/lists/trusted.txt --activate",
    "guardduty delete-detector --detector-id 12abc34d567e8fa901bc2d34e56789f0",
    "ec2 create-instance-export-task --instance-id i-0a1b2c3d4e5f60718 --target-environment vmware --export-to-s3-task \
     DiskImageFormat=VMDK,ContainerFormat=ova,S3Bucket=exports",
    "ec2 run-instances --image-id ami-0123456789abcdef0 --instance-type t3.micro --user-data 'echo harmless'",
    "ec2 describe-instances",
    "ec2 describe-instance-types",
    "ec2 describe-instance-type-offerings",
    "ec2 describe-account-attributes",
    "ec2 describe-security-groups",
    "ec2 describe-key-pairs",
    "ec2 describe-availability-zones",
    "ec2 describe-regions",
    "ec2 describe-launch-templates",
    "ec2 describe-images --owners self",
];

/// An address that the demo's indicator list holds (RFC 5737).
const INDICATOR: &str = "192.0.2.66";

pub(super) fn play(set: &Set) -> io::Result<()> {
    for call in CALLS {
        set.aws("mallory", call)?;
    }
    other_feeds(set)
}

/// One row and the two feeds, for those who watch.
pub(super) fn play_short(set: &Set) -> io::Result<()> {
    set.aws("mallory", "cloudtrail stop-logging --name org-trail")?;
    other_feeds(set)
}

fn other_feeds(set: &Set) -> io::Result<()> {
    let now = Timestamp::now();
    finding(set, now)?;
    flow(set, now)
}

fn finding(set: &Set, now: Timestamp) -> io::Result<()> {
    let (account, region) = (world::ACCOUNT, world::REGION);
    let id = &harness::digest::hex("finding of the stage")[..32];
    let detector = "12abc34d567e8fa901bc2d34e56789f0";
    let seen = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let finding = json!({
        "schemaVersion": "2.0", "accountId": account, "region": region, "partition": "aws", "id": id,
        "arn": format!("arn:aws:guardduty:{region}:{account}:detector/{detector}/finding/{id}"),
        "type": "CryptoCurrency:EC2/BitcoinTool.B!DNS",
        "resource": { "resourceType": "Instance", "instanceDetails": {
            "instanceId": world::INSTANCE_ID, "instanceType": "t3.micro", "imageId": world::AMI,
            "networkInterfaces": [{ "privateIpAddress": world::PRIVATE_IP, "publicIp": world::PUBLIC_IP }],
        } },
        "service": {
            "serviceName": "guardduty", "detectorId": detector, "count": 1, "archived": false,
            "eventFirstSeen": seen, "eventLastSeen": seen, "resourceRole": "TARGET",
            "action": { "actionType": "DNS_REQUEST", "dnsRequestAction": { "domain": "pool.example.com", "protocol": "UDP" } },
        },
        "severity": 8, "createdAt": seen, "updatedAt": seen,
        "title": "Bitcoin-related domain name queried by EC2 instance.",
        "description": "The EC2 instance is querying a domain name that is associated with Bitcoin-related activity.",
    });
    let day = now.strftime("%Y/%m/%d");
    let key = format!("AWSLogs/{account}/GuardDuty/{region}/{day}/{}.jsonl.gz", harness::digest::uuid(&seen));
    set.put(&key, &gzip(&format!("{finding}\n"))?)
}

fn flow(set: &Set, now: Timestamp) -> io::Result<()> {
    let (account, region) = (world::ACCOUNT, world::REGION);
    let (start, end) = ((now - SignedDuration::from_secs(50)).as_second(), now.as_second());
    let text = format!(
        "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status \
         instance-id\n2 {account} eni-0123456789abcdef0 {} {INDICATOR} 44120 443 6 20 4200 {start} {end} ACCEPT OK {}\n",
        world::PRIVATE_IP,
        world::INSTANCE_ID,
    );
    let key = format!(
        "AWSLogs/{account}/vpcflowlogs/{region}/{}/{account}_vpcflowlogs_{region}_fl-0123456789abcdef0_{}_0a1b2c3d.log.gz",
        now.strftime("%Y/%m/%d"),
        now.strftime("%Y%m%dT%H%MZ"),
    );
    set.put(&key, &gzip(&text)?)
}

fn gzip(text: &str) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}
