use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::catalogue::shipped::FILES as SHIPPED;

#[track_caller]
fn check(text: &str, expect: Expect) {
    let once = format(text).unwrap();
    expect.assert_eq(&once);
    assert_eq!(format(&once).unwrap(), once, "laid out once more");
}

#[test]
fn tables_and_keys_come_in_order_and_comments_with_them() {
    check(
        "# Of the whole file.\n\n\n[[tests]]\nevents = ''''''\n  expect=1\nname   = \"c\"\n\n\n# about the rule\n\
         [rule] # here\nquery = 'a:b'\n\n  # how grave\nseverity=\"low\"   #  or so\nunknown = 1\nname = \"n\"\n\
         [[rule.threat]]\n[rule.threat.tactic]\nname=\"t\"\nid=\"TA0001\"\n[metadata]\nmaturity = \"x\"\n# The end.\n\n",
        expect![[r#"
            # Of the whole file.

            [metadata]
            maturity = "x"

            # about the rule
            [rule] # here
            name = "n"
            # how grave
            severity = "low" #  or so
            unknown = 1
            query = 'a:b'

            [[rule.threat]]

            [rule.threat.tactic]
            id = "TA0001"
            name = "t"

            [[tests]]
            name = "c"
            expect = 1
            events = ''''''
            # The end.
        "#]],
    );
}

#[test]
fn lists_are_short_or_have_an_item_a_line() {
    let long: Vec<String> = (0..20).map(|n| format!("\"Tactic: {n}\"")).collect();
    let text = format!("[rule]\nindex = [\n  \"a\",\n  \"b\"\n]\ntags = [{}]\n", long[..12].join(","));
    check(
        &text,
        expect![[r#"
            [rule]
            index = ["a", "b"]
            tags = [
                "Tactic: 0",
                "Tactic: 1",
                "Tactic: 2",
                "Tactic: 3",
                "Tactic: 4",
                "Tactic: 5",
                "Tactic: 6",
                "Tactic: 7",
                "Tactic: 8",
                "Tactic: 9",
                "Tactic: 10",
                "Tactic: 11",
            ]
        "#]],
    );
    check(
        "[rule]\ntags = [\"a\", # why\n  \"b\"]\n",
        expect![[r#"
            [rule]
            tags = ["a", # why
              "b"]
        "#]],
    );
}

#[test]
fn a_query_of_several_lines_stands_between_quotes() {
    check(
        "[rule]\nquery = \"\"\"\n\n  process.name:a  \n    and user.name:\\\"b\\\"\n\n\"\"\"\n",
        expect![[r#"
            [rule]
            query = '''
              process.name:a
                and user.name:"b"
            '''
        "#]],
    );
}

#[test]
fn a_query_with_texts_over_lines_is_left_as_it_is() {
    let text = "[rule]\nquery = '''\nprocess where x == \"\"\"a  \nb\"\"\"\n'''\n";
    assert_eq!(format(text).unwrap(), text);
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let error = format("[rule]\nname = \"a\nb = 1\n").unwrap_err();
    assert!(error.to_string().starts_with("line 2: "), "{error}");
}

#[test]
fn an_empty_file_stays_empty() {
    assert_eq!(format("\n\n").unwrap(), "");
    assert_eq!(format("# only this\r\n").unwrap(), "# only this\n");
}

#[test]
fn the_shipped_files_are_laid_out() {
    for (path, text) in SHIPPED {
        let laid_out = format(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(
            laid_out == *text,
            "{path} is not laid out: run `groundtrail rule fmt rules/catalogue rules/drop`"
        );
    }
}

/// A shipped file, with lines moved about and white space strewn in where it means nothing.
fn untidy(text: &str, seed: u64) -> String {
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut is_inside = false;
    let mut out = String::new();
    for line in text.lines() {
        let n_quotes = line.matches("'''").count() + line.matches("\"\"\"").count();
        if !is_inside {
            (0..next(3)).for_each(|_| out.push('\n'));
            if next(4) == 0 {
                out.push_str("  # why so\n");
            }
            if next(3) == 0 {
                out.push_str("\t ");
            }
        }
        let is_plain = !is_inside && n_quotes == 0 && line.contains(" = ") && !line.starts_with([' ', '#']);
        match is_plain && next(2) == 0 {
            true => out.push_str(&line.replacen(" = ", "=", 1)),
            false => out.push_str(line),
        }
        is_inside ^= n_quotes % 2 == 1;
        out.push('\n');
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn laid_out_twice_is_laid_out_once_and_no_comment_is_lost(at in 0..SHIPPED.len(), seed in any::<u64>()) {
        let (path, text) = SHIPPED[at];
        let untidy = untidy(text, seed);
        let once = format(&untidy).unwrap_or_else(|error| panic!("{path}: {error}\n{untidy}"));
        prop_assert_eq!(&format(&once).unwrap(), &once);
        let n_comments = |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
        prop_assert_eq!(n_comments(&once), n_comments(&untidy));
    }

    #[test]
    fn any_text_is_laid_out_or_refused(text in "[\\[\\]a-c=\"'#\\n ,.{}0-9]{0,60}") {
        if let Ok(once) = format(&text) {
            prop_assert_eq!(format(&once).unwrap(), once);
        }
    }
}
