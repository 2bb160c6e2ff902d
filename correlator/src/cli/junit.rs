//! Test results as JUnit XML, which every CI server reads.

use std::fmt::Write;

use crate::untrusted::is_active;

/// One rule file's cases.
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) cases: Vec<Case>,
}

pub(crate) struct Case {
    pub(crate) name: String,
    /// What was wrong; none if it passed.
    pub(crate) failure: Option<String>,
}

pub(crate) fn render(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let n_tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let n_failures: usize = suites.iter().map(failed).sum();
    // A rule without cases is a case that was skipped, or no server would show it.
    let n_untested = suites.iter().filter(|suite| suite.cases.is_empty()).count();
    let n_all = n_tests + n_untested;
    push(
        &mut out,
        format_args!(
            "<testsuites name=\"groundtrail test\" tests=\"{n_all}\" failures=\"{n_failures}\" skipped=\"{n_untested}\">\n"
        ),
    );
    for suite in suites {
        let (name, n_failures) = (escape(&suite.name), failed(suite));
        let (n_tests, n_skipped) = match suite.cases.len() {
            0 => (1, 1),
            n_cases => (n_cases, 0),
        };
        push(
            &mut out,
            format_args!(
                "  <testsuite name=\"{name}\" tests=\"{n_tests}\" failures=\"{n_failures}\" skipped=\"{n_skipped}\">\n"
            ),
        );
        if suite.cases.is_empty() {
            push(
                &mut out,
                format_args!(
                    "    <testcase classname=\"{name}\" name=\"has cases\">\n      <skipped message=\"the rule has no cases\"/>\n    </testcase>\n"
                ),
            );
        }
        for case in &suite.cases {
            let case_name = escape(&case.name);
            match &case.failure {
                None => push(
                    &mut out,
                    format_args!("    <testcase classname=\"{name}\" name=\"{case_name}\"/>\n"),
                ),
                Some(failure) => {
                    let first = escape(failure.lines().next().unwrap_or_default());
                    let all = escape(failure);
                    push(
                        &mut out,
                        format_args!("    <testcase classname=\"{name}\" name=\"{case_name}\">\n"),
                    );
                    push(
                        &mut out,
                        format_args!("      <failure message=\"{first}\">{all}</failure>\n    </testcase>\n"),
                    );
                }
            }
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn failed(suite: &Suite) -> usize {
    suite.cases.iter().filter(|case| case.failure.is_some()).count()
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

/// Text for an attribute or an element. XML 1.0 cannot hold most control characters in any form.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if is_active(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                push(&mut out, format_args!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::corpus::{assert_inert, hostile};
    use expect_test::expect;

    #[test]
    fn failures_are_counted_and_told() {
        let case = |name: &str, failure: Option<&str>| Case {
            name: name.to_owned(),
            failure: failure.map(String::from),
        };
        let cases =
            vec![case("fires", None), case("stays \"quiet\"", Some("expected 0 alerts, got 1\n<alert>"))];
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="groundtrail test" tests="3" failures="1" skipped="1">
              <testsuite name="a.toml" tests="2" failures="1" skipped="0">
                <testcase classname="a.toml" name="fires"/>
                <testcase classname="a.toml" name="stays &quot;quiet&quot;">
                  <failure message="expected 0 alerts, got 1">expected 0 alerts, got 1&#10;&lt;alert&gt;</failure>
                </testcase>
              </testsuite>
              <testsuite name="b.toml" tests="1" failures="0" skipped="1">
                <testcase classname="b.toml" name="has cases">
                  <skipped message="the rule has no cases"/>
                </testcase>
              </testsuite>
            </testsuites>
        "#]].assert_eq(&render(&[Suite { name: "a.toml".to_owned(), cases }, Suite { name: "b.toml".to_owned(), cases: Vec::new() }]));
    }

    #[test]
    fn hostile_strings_cannot_leave_their_place() {
        for text in hostile() {
            let cases = vec![Case { name: text.clone(), failure: Some(text.clone()) }];
            let shown = render(&[Suite { name: format!("\"/><x a=\"{text}"), cases }]);
            assert_inert(&shown);
            assert_eq!(shown.lines().count(), 8, "{shown}");
            assert!(!shown.contains("<x"));
        }
    }
}
