//! Parquet, as flow logs and Security Lake may be written: each row as the text that the readers of lines and documents know.

mod bounds;
mod guard;
mod lists;
mod thrift;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Row;
use parquet::record::reader::TreeBuilder;
use serde_json::Value;

use bounds::{Allowance, UNFOLDED_AT_ONCE};
use guard::Guarded;

/// Rows that are read at once, where their values are as long as they are in the file.
const AT_ONCE: usize = 1_024;

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A header and a line under it.
    Flow(String),
    /// JSON.
    Document(String),
}

/// Why a file is not read, or not to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged(String),
    /// It, or what it unpacks to.
    TooLarge(String),
}

impl Fault {
    fn damaged(reason: &str) -> Self {
        Self::Damaged(reason.to_owned())
    }
}

impl From<parquet::errors::ParquetError> for Fault {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl Line {
    /// Without a header, which is the same for all.
    fn len(&self) -> usize {
        match self {
            Self::Flow(text) => text.split_once('\n').map_or(0, |(_, line)| line.len()),
            Self::Document(text) => text.len(),
        }
    }
}

/// Hands every row to `each`, which says whether to go on. What is unpacked, and what is handed over, is no more than
/// `max_bytes` each.
///
/// # Errors
/// When the file is damaged or too large; rows before that were handed over.
pub(crate) fn rows(file: File, max_bytes: u64, each: &mut dyn FnMut(Line) -> bool) -> Result<(), Fault> {
    // The crate checks what it reads, and a file made to mislead it must not end the run where it does not.
    let read = catch_unwind(AssertUnwindSafe(|| read(file, max_bytes, each)));
    read.unwrap_or_else(|_panic| Err(Fault::damaged("in a way that its reader does not expect")))
}

fn read(file: File, max_bytes: u64, each: &mut dyn FnMut(Line) -> bool) -> Result<(), Fault> {
    // A panic of the reader's is one thing. Memory that is not there ends the process, so what asks for it is looked at first.
    bounds::footer(&file)?;
    let own = file.try_clone().map_err(|error| Fault::Damaged(error.to_string()))?;
    let reader = SerializedFileReader::new(file)?;
    let (mut unpacked, mut handed) = (Allowance::new(max_bytes), Allowance::new(max_bytes));
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    for (n, group) in reader.metadata().row_groups().iter().enumerate() {
        let counted = unpacked.group(&own, group)?;
        let at_once = if counted.unfolding > 0 { UNFOLDED_AT_ONCE as usize } else { AT_ONCE };
        let group = Guarded { inner: reader.get_row_group(n)?, max_bytes };
        for row in TreeBuilder::new().with_batch_size(at_once).as_iter(schema.clone(), &group)? {
            let line = line(&row?);
            handed.take(line.len() as u64 + ROW)?;
            if !each(line) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a row is counted as beside its text: one without any is work, too.
const ROW: u64 = 16;

fn line(row: &Row) -> Line {
    let value = row.to_json_value();
    let Value::Object(columns) = &value else { return Line::Document(value.to_string()) };
    if !["srcaddr", "dstaddr", "interface_id", "pkt_srcaddr"].iter().any(|name| columns.contains_key(*name)) {
        return Line::Document(value.to_string());
    }
    let (mut header, mut values) = (String::new(), String::new());
    for (column, value) in columns {
        let text = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) if text.is_empty() => "-".to_owned(),
            // A line is cut at its spaces.
            Value::String(text) => text.replace(char::is_whitespace, "_"),
            other => other.to_string(),
        };
        let space = if header.is_empty() { "" } else { " " };
        header += &format!("{space}{}", column.replace('_', "-"));
        values += &format!("{space}{text}");
    }
    Line::Flow(format!("{header}\n{values}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::sync::Arc;

    use parquet::basic::{Compression, Encoding};
    use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// Columns as flow logs have them; `None` is null.
    fn flows(compression: Compression) -> File {
        let schema = "message flows { optional int32 version; optional binary account_id (STRING); optional binary srcaddr (STRING);
            optional binary dstaddr (STRING); optional int32 dstport; optional int64 end; optional binary action (STRING);
            optional binary log_status (STRING); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let file = tempfile::tempfile().unwrap();
        let mut writer = SerializedFileWriter::new(file.try_clone().unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let text = |text: &str| ByteArray::from(text);
        for column in 0.. {
            let Some(mut writer) = group.next_column().unwrap() else { break };
            match column {
                0 => {
                    let _ = writer.typed::<Int32Type>().write_batch(&[5, 5], Some(&[1, 1]), None).unwrap();
                }
                4 => {
                    let _ = writer.typed::<Int32Type>().write_batch(&[443], Some(&[1, 0]), None).unwrap();
                }
                5 => {
                    let ends = [1_793_613_660, 1_793_613_661];
                    let _ = writer.typed::<Int64Type>().write_batch(&ends, Some(&[1, 1]), None).unwrap();
                }
                _ => {
                    let texts: [&[&str]; 8] = [
                        &[],
                        &["111122223333"; 2],
                        &["10.0.0.1"],
                        &["10.0.0.2"],
                        &[],
                        &[],
                        &["ACCEPT"],
                        &["OK", "NODATA"],
                    ];
                    let texts: Vec<ByteArray> = texts[column].iter().map(|one| text(one)).collect();
                    let levels = if texts.len() == 2 { [1, 1] } else { [1, 0] };
                    let _ = writer.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
                }
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
        writer.close().unwrap();
        let mut file = file;
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    fn all(file: File) -> (Vec<Line>, Result<(), Fault>) {
        all_of(file, 1 << 20)
    }

    fn all_of(file: File, max_bytes: u64) -> (Vec<Line>, Result<(), Fault>) {
        let mut found = Vec::new();
        let end = rows(file, max_bytes, &mut |line| {
            found.push(line);
            true
        });
        (found, end)
    }

    #[test]
    fn rows_of_flow_logs_are_lines_under_their_columns() {
        for compression in
            [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default())]
        {
            let (found, end) = all(flows(compression));
            assert_eq!(end, Ok(()));
            let Line::Flow(first) = &found[0] else { panic!("{found:?}") };
            let (header, values) = first.split_once('\n').unwrap();
            let at = |name: &str| {
                let place = header.split(' ').position(|column| column == name).unwrap();
                values.split(' ').nth(place).unwrap()
            };
            assert_eq!(
                (at("account-id"), at("srcaddr"), at("dstport"), at("end")),
                ("111122223333", "10.0.0.1", "443", "1793613660")
            );
            let Line::Flow(second) = &found[1] else { panic!("{found:?}") };
            assert!(second.contains("NODATA") && second.contains('-'), "{second}");
        }
    }

    /// One column of the same text over and over, in a few hundred bytes.
    fn repeated(text: &str, n_rows: usize, encoding: Option<Encoding>) -> File {
        let schema =
            Arc::new(parse_message_type("message m { required binary eventVersion (STRING); }").unwrap());
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let properties = match encoding {
            Some(encoding) => properties.set_dictionary_enabled(false).set_encoding(encoding),
            None => properties,
        };
        let mut file = tempfile::tempfile().unwrap();
        let mut writer =
            SerializedFileWriter::new(file.try_clone().unwrap(), schema, Arc::new(properties.build()))
                .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = vec![ByteArray::from(text); n_rows];
        let _ = column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    #[test]
    fn a_small_file_does_not_become_a_large_one() {
        let text = "x".repeat(1_000);
        let file = repeated(&text, 20_000, None);
        assert!(file.metadata().unwrap().len() < 10_000);
        let (found, end) = all(file);
        assert!(found.len() < 1_100, "{}", found.len());
        assert!(matches!(end, Err(Fault::TooLarge(reason)) if reason.contains("max_file")));
        // The whole of it is too much before any of it is handed over.
        let (found, end) = all_of(repeated(&text, 20_000, Some(Encoding::PLAIN)), 1 << 20);
        assert_eq!(found.len(), 0);
        assert!(matches!(end, Err(Fault::TooLarge(_))));
    }

    /// Rows with lists of a text.
    fn lists(text: &str, rows: &[usize], encoding: Option<Encoding>) -> File {
        let schema = "message m { required group tags (LIST) { repeated group list { required binary element (STRING); } } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder();
        let properties = match encoding {
            Some(encoding) => properties.set_dictionary_enabled(false).set_encoding(encoding),
            None => properties,
        };
        let mut file = tempfile::tempfile().unwrap();
        let mut writer =
            SerializedFileWriter::new(file.try_clone().unwrap(), schema, Arc::new(properties.build()))
                .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let texts = vec![ByteArray::from(text); rows.iter().sum()];
        let (mut there, mut places) = (Vec::new(), Vec::new());
        for n in rows {
            there.extend(vec![1; *n]);
            there.extend((*n == 0).then_some(0));
            places.push(0);
            places.extend(vec![1; n.saturating_sub(1)]);
        }
        let _ = column.typed::<ByteArrayType>().write_batch(&texts, Some(&there), Some(&places)).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    #[test]
    fn lists_are_read_and_have_their_bounds() {
        for encoding in [None, Some(Encoding::PLAIN), Some(Encoding::DELTA_BYTE_ARRAY)] {
            let (found, end) = all(lists("a", &[2, 0, 1, 300], encoding));
            assert_eq!((found.len(), end), (4, Ok(())), "{encoding:?}");
            assert_eq!(found[0], Line::Document(r#"{"tags":["a","a"]}"#.to_owned()));
            assert_eq!(found[1], Line::Document(r#"{"tags":[]}"#.to_owned()));
        }
        let long = "x".repeat(1_000);
        for encoding in [None, Some(Encoding::DELTA_BYTE_ARRAY)] {
            let file = lists(&long, &[1, 5_000], encoding);
            assert!(file.metadata().unwrap().len() < 30_000, "{:?}", file.metadata().unwrap().len());
            let (found, end) = all(file);
            assert_eq!(found.len(), 0, "{encoding:?}");
            assert!(end.is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn every_encoding_of_texts_is_read() {
        for encoding in [
            None,
            Some(Encoding::PLAIN),
            Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            Some(Encoding::DELTA_BYTE_ARRAY),
        ] {
            for n_rows in [1, 2, 33, 129, 1_000] {
                let (found, end) = all(repeated("text", n_rows, encoding));
                assert_eq!((found.len(), end), (n_rows, Ok(())), "{encoding:?}");
                assert_eq!(found[n_rows - 1], Line::Document(r#"{"eventVersion":"text"}"#.to_owned()));
            }
        }
    }

    #[test]
    fn a_damaged_file_is_said() {
        let file = flows(Compression::SNAPPY);
        let len = file.metadata().unwrap().len();
        file.set_len(len - 20).unwrap();
        assert!(all(file).1.is_err());
        for at in 4..len {
            let mut file = flows(Compression::SNAPPY);
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[0xff; 3]).unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            // Whatever it comes to, it comes to an end.
            let _ = all(file);
        }
    }
}
