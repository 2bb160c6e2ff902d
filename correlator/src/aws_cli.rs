//! What a command line of the AWS CLI calls: service and operation, in the form in which its user agent names them in
//! CloudTrail (`ec2.describe-instances`), so that an equal value joins the two.

use crate::endpoint::arguments_of_aws;
use crate::source::{FieldSink, Scalar};

/// What an `aws` command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Called<'a> {
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) profile: Option<&'a str>,
    pub(crate) region: Option<&'a str>,
}

/// Options for all commands that stand alone. Any other takes what follows as its value.
const FLAGS: [&str; 9] = [
    "--debug",
    "--no-verify-ssl",
    "--no-paginate",
    "--no-sign-request",
    "--version",
    "--no-cli-pager",
    "--cli-auto-prompt",
    "--no-cli-auto-prompt",
    "--v2-debug",
];

impl<'a> Called<'a> {
    /// Nothing for another program, for help, and where the words are not all there.
    pub(crate) fn of_command(name: Option<&str>, args: &[&'a str]) -> Option<Self> {
        let rest = arguments_of_aws(name, args)?;
        let mut words = [None, None];
        let (mut profile, mut region) = (None, None);
        let mut rest = rest.iter().copied();
        while let Some(arg) = rest.next() {
            if !arg.starts_with('-') {
                // What follows the operation is its own: files, addresses of buckets.
                if let Some(word) = words.iter_mut().find(|word| word.is_none()) {
                    *word = Some(arg);
                }
                continue;
            }
            let is_of_operation = words[1].is_some();
            let (option, value) = match arg.split_once('=') {
                Some((option, value)) => (option, Some(value)),
                // An operation's own option may be a flag, so what follows is taken for no value of it.
                None if FLAGS.contains(&arg) => (arg, None),
                None if is_of_operation && !matches!(arg, "--profile" | "--region") => (arg, None),
                None => (arg, rest.next()),
            };
            match option {
                "--profile" => profile = value,
                "--region" => region = value,
                _ => {}
            }
        }
        let [service, operation] = words.map(|word| word.filter(|word| is_word(word)));
        let (service, operation) = (service?, operation?);
        (service != "help" && operation != "help").then_some(Self { service, operation, profile, region })
    }

    pub(crate) fn put(&self, sink: &mut dyn FieldSink) {
        let command = format!("{}.{}", self.service, self.operation);
        for (path, value) in [
            ("groundtrail.aws_cli.service", Some(self.service)),
            ("groundtrail.aws_cli.operation", Some(self.operation)),
            ("groundtrail.aws_cli.command", Some(command.as_str())),
            ("groundtrail.aws_cli.profile", self.profile),
            ("groundtrail.aws_cli.region", self.region),
        ] {
            if let Some(value) = value {
                sink.put(path, Scalar::Str(value));
            }
        }
    }
}

/// Services and operations are small letters, digits and dashes.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<(&str, Option<&str>, Option<&str>)>) {
        let args: Vec<&str> = line.split(' ').collect();
        let name = args[0].rsplit('/').next();
        let called = Called::of_command(name, &args);
        let told = called.map(|it| (format!("{}.{}", it.service, it.operation), it.profile, it.region));
        let expect = expect.map(|(command, profile, region)| (command.to_owned(), profile, region));
        assert_eq!(told, expect, "{line}");
    }

    #[test]
    fn service_and_operation_as_the_user_agent_has_them() {
        let plain = |command| Some((command, None, None));
        check("aws ec2 describe-instances", plain("ec2.describe-instances"));
        check("/usr/local/bin/aws s3 cp /etc/passwd s3://b/", plain("s3.cp"));
        check("/usr/bin/python3 /usr/bin/aws iam create-user --user-name x", plain("iam.create-user"));
        check("aws --debug --no-cli-pager sts get-caller-identity", plain("sts.get-caller-identity"));
        check("aws --endpoint-url http://127.0.0.1:9000 s3api list-buckets", plain("s3api.list-buckets"));
        check("aws --endpoint-url=http://127.0.0.1:9000 s3 ls", plain("s3.ls"));
        check("aws ec2 run-instances --dry-run run-it", plain("ec2.run-instances"));
    }

    #[test]
    fn profile_and_region_wherever_they_stand() {
        let both = Some(("ec2.run-instances", Some("prod"), Some("eu-west-1")));
        check("aws --profile prod ec2 --region eu-west-1 run-instances", both);
        check("aws ec2 run-instances --region=eu-west-1 --count 1 --profile prod", both);
    }

    #[test]
    fn what_calls_nothing() {
        for line in [
            "aws",
            "aws help",
            "aws ec2",
            "aws ec2 help",
            "aws --version",
            "aws $x y",
            "ls aws ec2",
            "vim -R aws",
        ] {
            check(line, None);
        }
    }
}
