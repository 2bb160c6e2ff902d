//! Parquet, as flow logs and Security Lake may be written: each row as the text that the readers of lines and documents know.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Row;
use serde_json::Value;

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A header and a line under it.
    Flow(String),
    /// JSON.
    Document(String),
}

/// Hands every row to `each`, which says whether to go on.
///
/// # Errors
/// In words, when the file is damaged; rows before that were handed over.
pub(crate) fn rows(file: File, each: &mut dyn FnMut(Line) -> bool) -> Result<(), String> {
    // The crate checks what it reads, and a file made to mislead it must not end the run where it does not.
    let read = catch_unwind(AssertUnwindSafe(|| read(file, each)));
    read.unwrap_or_else(|_panic| Err("damaged in a way that its reader does not expect".to_owned()))
}

fn read(file: File, each: &mut dyn FnMut(Line) -> bool) -> Result<(), String> {
    let reader = SerializedFileReader::new(file).map_err(|error| error.to_string())?;
    let rows = reader.get_row_iter(None).map_err(|error| error.to_string())?;
    for row in rows {
        let row = row.map_err(|error| error.to_string())?;
        if !each(line(&row)) {
            break;
        }
    }
    Ok(())
}

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

    use parquet::basic::Compression;
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

    fn all(file: File) -> (Vec<Line>, Result<(), String>) {
        let mut found = Vec::new();
        let end = rows(file, &mut |line| {
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
