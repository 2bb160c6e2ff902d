//! Arguments as one block, as the kernel keeps them: twenty thousand of one byte take forty kilobytes, not a megabyte.

use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

/// A process' arguments, or the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<String>")]
pub struct Args {
    /// Each closed by a NUL, which no argument can hold.
    block: Box<str>,
    /// How many there were before any was cut off.
    count: usize,
    is_cut: bool,
}

/// As many of the arguments as go into an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown<'a> {
    block: &'a str,
    count: usize,
    is_cut: bool,
}

impl Args {
    /// How many the process has, whatever is left of them here.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn n_bytes(&self) -> usize {
        self.block.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.block.split_terminator('\0')
    }

    /// Those that fit into so many bytes. The last of them may be cut itself: a script in one argument is told by its
    /// beginning.
    pub fn within(&self, max_bytes: usize) -> Shown<'_> {
        let (block, is_cut) = match self.block.len() {
            len if len <= max_bytes => (&*self.block, self.is_cut),
            _ => (&self.block[..self.block.floor_char_boundary(max_bytes)], true),
        };
        Shown { block, count: self.count, is_cut }
    }

    pub fn all(&self) -> Shown<'_> {
        self.within(usize::MAX)
    }

    /// What [`Args::within`] shows, to keep.
    pub fn cut(&self, max_bytes: usize) -> Self {
        let shown = self.within(max_bytes);
        let closing = if shown.block.is_empty() || shown.block.ends_with('\0') { "" } else { "\0" };
        Self { block: [shown.block, closing].concat().into(), count: shown.count, is_cut: shown.is_cut }
    }
}

impl<S: AsRef<str>> FromIterator<S> for Args {
    fn from_iter<I: IntoIterator<Item = S>>(args: I) -> Self {
        let (mut block, mut count) = (String::new(), 0);
        for arg in args {
            block.push_str(arg.as_ref());
            block.push('\0');
            count += 1;
        }
        Self { block: block.into(), count, is_cut: false }
    }
}

impl From<Vec<String>> for Args {
    fn from(args: Vec<String>) -> Self {
        args.iter().collect()
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.all().serialize(serializer)
    }
}

impl Shown<'_> {
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    pub fn count(&self) -> Option<usize> {
        (self.count > 0).then_some(self.count)
    }

    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub fn command_line(&self) -> Option<String> {
        let line = self.block.strip_suffix('\0').unwrap_or(self.block);
        (!self.is_empty()).then(|| line.replace('\0', " "))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        self.block.split_terminator('\0').try_for_each(|arg| seq.serialize_element(arg))?;
        seq.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shown: Shown<'_>, list: &str, line: Option<&str>, is_cut: bool) {
        assert_eq!(serde_json::to_string(&shown).expect("text"), list);
        assert_eq!((shown.command_line().as_deref(), shown.is_cut()), (line, is_cut), "{list}");
    }

    #[test]
    fn empty_arguments_survive() {
        let args = |list: &[&str]| list.iter().collect::<Args>();
        check(args(&[]).all(), "[]", None, false);
        check(args(&[""]).all(), r#"[""]"#, Some(""), false);
        check(args(&["ls", "", "-l", ""]).all(), r#"["ls","","-l",""]"#, Some("ls  -l "), false);
    }

    #[test]
    fn a_cut_keeps_the_beginning_and_the_true_count() {
        let args: Args = ["sh", "-c", "ä".repeat(10).as_str(), "x"].iter().collect();
        check(args.within(9), r#"["sh","-c","ä"]"#, Some("sh -c ä"), true);
        check(args.within(6), r#"["sh","-c"]"#, Some("sh -c"), true);
        let kept = args.cut(9);
        check(kept.all(), r#"["sh","-c","ä"]"#, Some("sh -c ä"), true);
        assert_eq!((kept.count(), kept.iter().count(), kept.all().count()), (4, 3, Some(4)));
        check(
            args.within(99),
            &serde_json::to_string(&args).expect("text"),
            args.all().command_line().as_deref(),
            false,
        );
    }

    #[test]
    fn they_read_back_from_a_recording() {
        let args: Args = ["aws", "", "s3"].iter().collect();
        let text = serde_json::to_string(&args).expect("text");
        assert_eq!(serde_json::from_str::<Args>(&text).expect("a list"), args);
    }
}
