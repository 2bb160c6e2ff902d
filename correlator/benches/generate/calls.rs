//! CloudTrail records shaped after real ones: 1.2 to 1.6 KB, few principals, some of them instances, a handful of calls that make
//! up most of it, and one in a thousand that is worth an alert.

use super::random::Random;

const CALLS: &[(&str, &str, &str)] = &[
    ("DescribeInstances", "ec2", r#"{"instancesSet":{},"filterSet":{}}"#),
    ("AssumeRole", "sts", r#"{"roleArn":"arn:aws:iam::111122223333:role/deploy","roleSessionName":"ci"}"#),
    ("GetObject", "s3", r#"{"bucketName":"logs-111122223333","key":"a/b/c.gz","Host":"s3.amazonaws.com"}"#),
    ("Decrypt", "kms", r#"{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::logs-111122223333"}}"#),
    ("ListBuckets", "s3", "null"),
    ("GetCallerIdentity", "sts", "null"),
    ("DescribeVolumes", "ec2", r#"{"volumeSet":{},"filterSet":{},"maxResults":500}"#),
    ("DescribeSecurityGroups", "ec2", r#"{"securityGroupSet":{},"filterSet":{}}"#),
    ("UpdateInstanceInformation", "ssm", r#"{"instanceId":"i-0123456789abcdef0","agentVersion":"3.3.0.0"}"#),
    ("GetParameter", "ssm", r#"{"name":"/app/config","withDecryption":true}"#),
    ("DescribeLogStreams", "logs", r#"{"logGroupName":"/aws/lambda/app","descending":true}"#),
    ("ListRolePolicies", "iam", r#"{"roleName":"deploy"}"#),
    (
        "CreateTags",
        "ec2",
        r#"{"resourcesSet":{"items":[{"resourceId":"i-0123456789abcdef0"}]},"tagSet":{"items":[{"key":"Name","value":"web"}]}}"#,
    ),
];
const SELDOM: (&str, &str, &str) = (
    "SendCommand",
    "ssm",
    r#"{"documentName":"AWS-RunShellScript","instanceIds":["i-0123456789abcdef0"],"interactive":false}"#,
);

pub(crate) fn calls(seed: u64, n_calls: usize) -> Vec<String> {
    let mut random = Random::new(seed);
    (0..n_calls).map(|n| call(&mut random, n)).collect()
}

fn call(random: &mut Random, n: usize) -> String {
    let usual = CALLS[random.rank(CALLS.len())];
    let (name, service, parameters) = if random.below(1_000) == 0 { SELDOM } else { usual };
    let (second, principal) = (n / 20, random.rank(12));
    let (minute, second) = (second / 60 % 60, second % 60);
    let (low, high) = (random.next(), random.next());
    let (region, read_only) = (*random.one_of(&["eu-west-1", "us-east-1"]), random.percent(85));
    let padding = "x".repeat(random.below(300));
    // A fourth of them is software on an instance, whose sessions bear its name.
    let (session, delivery) = match principal % 4 {
        3 => (format!("i-0123456789abcde{principal:02x}"), r#","ec2RoleDelivery":"2.0""#),
        _ => (format!("session-{principal}"), ""),
    };
    format!(
        r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROAEXAMPLE{principal:09}:{session}","arn":"arn:aws:sts::111122223333:assumed-role/role-{principal}/{session}","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE{principal:09}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLE{principal:09}","arn":"arn:aws:iam::111122223333:role/role-{principal}","accountId":"111122223333","userName":"role-{principal}"}},"attributes":{{"creationDate":"2026-11-02T09:00:00Z","mfaAuthenticated":"false"}}{delivery}}}}},"eventTime":"2026-11-02T10:{minute:02}:{second:02}Z","eventSource":"{service}.amazonaws.com","eventName":"{name}","awsRegion":"{region}","sourceIPAddress":"198.51.100.{principal}","userAgent":"aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/GOOS#linux {padding}","requestParameters":{parameters},"responseElements":null,"requestID":"{low:032x}","eventID":"{high:016x}-{n:08x}","readOnly":{read_only},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{service}.{region}.amazonaws.com"}}}}"#
    )
}
