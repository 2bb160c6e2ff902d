//! What a Parquet file claims of itself, held to bounds before its reader believes it: a few bytes may say that they unpack to
//! gigabytes, or stand for billions of values, and memory is set aside for what they say.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::Fault;
use super::thrift::{BYTES, Compact, I32, LIST, STRUCT};

/// Writers' footers have some hundred bytes for each column of each group of rows.
const MAX_FOOTER_BYTES: u64 = 8 << 20;
const MAX_SCHEMA_NODES: u64 = 10_000;
/// The reader goes down by recursion.
const MAX_SCHEMA_DEPTH: usize = 32;
/// Pages have one megabyte in all known writers, more only where one value is larger.
const MAX_PAGE_BYTES: u64 = 32 << 20;
const MAX_PAGES: u64 = 1 << 20;
/// Of values that are packed as differences to one another: the reader takes memory for their number.
const MAX_DELTA_VALUES: u64 = 4 << 20;
/// Values are unfolded so many at once where each may repeat the one before.
pub(super) const UNFOLDED_AT_ONCE: u64 = 8;

const DICTIONARY: i64 = 2;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;

/// What is left of a file's allowance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) max_bytes: u64,
    bytes: u64,
    pages: u64,
}

/// What was counted of one group of rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// Values that are held at the same time, however many rows are read at once: dictionaries, and lists of one row.
    held: u64,
    /// Bytes of the largest pages whose values repeat one another.
    pub(super) unfolding: u64,
}

impl Allowance {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, bytes: max_bytes, pages: MAX_PAGES }
    }

    /// Takes what comes out of the file, and what it is kept in.
    pub(super) fn take(&mut self, n_bytes: u64) -> Result<(), Fault> {
        match self.bytes.checked_sub(n_bytes) {
            Some(left) => self.bytes = left,
            None => return Err(self.too_much()),
        }
        Ok(())
    }

    fn too_much(&self) -> Fault {
        Fault::TooLarge(format!(
            "unpacks to more than {} bytes; raise \"max_file\" of the source if such files are real",
            self.max_bytes
        ))
    }

    /// Looks at every page of a group of rows.
    pub(super) fn group(&mut self, file: &File, group: &RowGroupMetaData) -> Result<Counted, Fault> {
        let mut counted = Counted::default();
        for column in group.columns() {
            self.column(file, column, &mut counted)?;
        }
        Ok(counted)
    }

    fn column(
        &mut self,
        file: &File,
        column: &ColumnChunkMetaData,
        counted: &mut Counted,
    ) -> Result<(), Fault> {
        let (start, len) =
            (column.dictionary_page_offset().unwrap_or(column.data_page_offset()), column.compressed_size());
        let (Ok(start), Ok(len)) = (u64::try_from(start), u64::try_from(len)) else {
            return Err(Fault::damaged("a column lies nowhere"));
        };
        let is_repeated = column.column_descr().max_rep_level() > 0;
        self.pages(file, start, len, is_repeated, counted)
    }

    fn pages(
        &mut self,
        file: &File,
        start: u64,
        len: u64,
        is_repeated: bool,
        counted: &mut Counted,
    ) -> Result<(), Fault> {
        let file_len = file.metadata().map_err(|error| Fault::damaged(&error.to_string()))?.len();
        let end = start.checked_add(len).filter(|end| *end <= file_len);
        let Some(end) = end else { return Err(Fault::damaged("a column ends behind the file")) };
        let (mut at, mut unfolding) = (start, 0);
        while at < end {
            let (page, header_len) = read_header(file, at, end)?;
            at += header_len;
            if page.packed > end - at {
                return Err(Fault::damaged("a page ends behind its column"));
            }
            at += page.packed;
            self.pages =
                self.pages.checked_sub(1).ok_or_else(|| Fault::damaged("more pages than a file has"))?;
            let n_bytes = page.unpacked.max(page.packed);
            if n_bytes > MAX_PAGE_BYTES {
                return Err(Fault::TooLarge(format!(
                    "a page of {n_bytes} bytes, where {MAX_PAGE_BYTES} is the most: write the file with smaller ones"
                )));
            }
            self.take(n_bytes)?;
            let is_delta = matches!(page.encoding, DELTA_LENGTH_BYTE_ARRAY | DELTA_BYTE_ARRAY);
            if page.kind == DICTIONARY && page.n_values > n_bytes
                || is_delta && page.n_values > MAX_DELTA_VALUES
            {
                return Err(Fault::damaged("a page says that it holds more values than it can"));
            }
            if page.kind == DICTIONARY || is_repeated {
                counted.held += page.n_values;
            }
            if page.encoding == DELTA_BYTE_ARRAY {
                unfolding = unfolding.max(n_bytes);
            }
            // A value that is held takes about as much as this, with the name it goes by.
            if counted.held.saturating_mul(64) > self.max_bytes {
                return Err(self.too_much());
            }
        }
        counted.unfolding += unfolding;
        if counted.unfolding.saturating_mul(UNFOLDED_AT_ONCE) > self.max_bytes {
            return Err(self.too_much());
        }
        Ok(())
    }
}

/// Looks at the end of the file, where its schema is.
pub(super) fn footer(file: &File) -> Result<(), Fault> {
    let unread = |error: std::io::Error| Fault::damaged(&error.to_string());
    let len = file.metadata().map_err(unread)?.len();
    let mut tail = [0; 8];
    let tail_at = len.checked_sub(8).filter(|at| *at >= 4);
    let Some(tail_at) = tail_at else { return Err(Fault::damaged("it is too short")) };
    file.read_exact_at(&mut tail, tail_at).map_err(unread)?;
    let footer_len = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    // What is no footer at all is said by the reader.
    let Some(at) = tail_at.checked_sub(footer_len).filter(|_| tail.ends_with(b"PAR1")) else { return Ok(()) };
    if footer_len > MAX_FOOTER_BYTES {
        return Err(Fault::TooLarge(format!(
            "a footer of {footer_len} bytes, where {MAX_FOOTER_BYTES} is the most: write the file with fewer groups of rows"
        )));
    }
    let mut footer = vec![0; footer_len as usize];
    file.read_exact_at(&mut footer, at).map_err(unread)?;
    match schema_fits(&footer) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::damaged("its schema has more columns, or deeper ones, than any log")),
        None => Err(Fault::damaged("its footer cannot be read")),
    }
}

/// Whether the tree of columns is small and flat enough; none where there is no telling.
fn schema_fits(footer: &[u8]) -> Option<bool> {
    let mut children: Option<Vec<u64>> = None;
    Compact::new(footer).fields(&mut |compact, id, kind| {
        if (id, kind) != (2, LIST) {
            return compact.skip(kind);
        }
        let (n_nodes, node) = compact.list()?;
        if node != STRUCT || n_nodes > MAX_SCHEMA_NODES {
            return None;
        }
        let mut held = Vec::new();
        for _ in 0..n_nodes {
            let mut n_children = 0;
            compact.fields(&mut |compact, id, kind| match (id, kind) {
                (5, I32) => {
                    n_children = u64::try_from(compact.int()?).ok()?;
                    Some(())
                }
                (5, _) => None,
                _ => compact.skip(kind),
            })?;
            held.push(n_children);
        }
        children = Some(held);
        Some(())
    })?;
    let children = children?;
    // Nodes come depth first: those that are still to come at each level above.
    let mut open: Vec<u64> = Vec::new();
    for n_children in &children {
        if *n_children > children.len() as u64 {
            return Some(false);
        }
        if *n_children > 0 {
            open.push(*n_children);
            if open.len() > MAX_SCHEMA_DEPTH {
                return Some(false);
            }
            continue;
        }
        while let Some(last) = open.last_mut() {
            *last -= 1;
            if *last > 0 {
                break;
            }
            open.pop();
        }
    }
    Some(true)
}

/// What a page's header says of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    kind: i64,
    unpacked: u64,
    packed: u64,
    n_values: u64,
    encoding: i64,
}

fn read_header(file: &File, at: u64, end: u64) -> Result<(Page, u64), Fault> {
    // With the smallest and largest value in it, one may be as long as a value; most have fifty bytes.
    for len in [4_096, 1 << 20] {
        let mut bytes = vec![0; len.min(end - at) as usize];
        file.read_exact_at(&mut bytes, at).map_err(|error| Fault::damaged(&error.to_string()))?;
        if let Some((page, len)) = page_header(&bytes) {
            return Ok((page, len as u64));
        }
    }
    Err(Fault::damaged("a page has a header that cannot be read"))
}

fn page_header(bytes: &[u8]) -> Option<(Page, usize)> {
    let mut page = Page::default();
    let mut compact = Compact::new(bytes);
    compact.fields(&mut |compact, id, kind| {
        let inner = match (id, kind) {
            (1, I32) => return compact.int().map(|value| page.kind = value),
            (2, I32) => return compact.size().map(|value| page.unpacked = value),
            (3, I32) => return compact.size().map(|value| page.packed = value),
            // Where the encoding is, in the headers of data, dictionaries and data of the second version.
            (5 | 7, STRUCT) => 2,
            (8, STRUCT) => 4,
            (1..=3 | 5 | 7 | 8, _) => return None,
            _ => return compact.skip(kind),
        };
        compact.fields(&mut |compact, id, kind| match (id, kind) {
            (1, I32) => compact.size().map(|value| page.n_values = page.n_values.max(value)),
            (id, I32) if id == inner => compact.int().map(|value| page.encoding = page.encoding.max(value)),
            (1, _) => None,
            (_, BYTES) => compact.skip(BYTES),
            _ => compact.skip(kind),
        })
    })?;
    Some((page, compact.n_read()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::thrift::tests::{field, number};
    use super::*;

    /// A header as writers make it, and some bytes behind it.
    fn page(kind: u64, unpacked: u64, packed: u64, n_values: u64, encoding: u64) -> Vec<u8> {
        let mut bytes =
            [field(1, I32), number(kind), field(1, I32), number(unpacked), field(1, I32), number(packed)]
                .concat();
        let (own, to_encoding) = match kind {
            0 => (2, 1),
            2 => (4, 1),
            _ => (5, 3),
        };
        bytes.extend(field(own, STRUCT));
        bytes.extend([field(1, I32), number(n_values), field(to_encoding, I32), number(encoding)].concat());
        bytes.extend([0, 0]);
        bytes.extend(vec![7; packed as usize]);
        bytes
    }

    fn walk(pages: &[Vec<u8>], is_repeated: bool, max_bytes: u64) -> Result<Counted, Fault> {
        let mut file = tempfile::tempfile().unwrap();
        let bytes = pages.concat();
        file.write_all(&bytes).unwrap();
        let mut counted = Counted::default();
        let mut allowance = Allowance::new(max_bytes);
        allowance.pages(&file, 0, bytes.len() as u64, is_repeated, &mut counted).map(|()| counted)
    }

    #[test]
    fn headers_say_what_pages_unpack_to() {
        for (kind, encoding) in [(0, 0), (2, 0), (3, 7)] {
            let bytes = page(kind, 70_000, 20, 300, encoding);
            let (found, len) = page_header(&bytes).unwrap();
            assert_eq!(len + 20, bytes.len());
            let expect = Page {
                kind: kind as i64,
                unpacked: 70_000,
                packed: 20,
                n_values: 300,
                encoding: encoding as i64,
            };
            assert_eq!(found, expect);
            for cut in 0..len {
                assert_eq!(page_header(&bytes[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn claims_are_not_believed() {
        const MAX: u64 = 1 << 20;
        let huge = i32::MAX as u64;
        let two = [page(2, 4_000, 10, 1_000, 0), page(0, 4_000, 10, 50_000_000, 8)];
        // A column of few different values has many of them in few bytes, and they are read by and by.
        assert_eq!(walk(&two, false, MAX).unwrap(), Counted { held: 1_000, unfolding: 0 });
        for (pages, is_repeated, is_too_large) in [
            (vec![page(0, huge, 10, 1, 0)], false, true),
            (vec![page(0, 600_000, 10, 1, 0), page(0, 600_000, 10, 1, 0)], false, true),
            (vec![page(2, 4_000, 10, huge, 0)], false, false),
            (vec![page(0, 4_000, 10, huge, 6)], false, false),
            (two.to_vec(), true, true),
            (vec![page(3, 600_000, 10, 9, 7)], false, true),
        ] {
            let fault = walk(&pages, is_repeated, MAX).unwrap_err();
            assert_eq!(matches!(fault, Fault::TooLarge(_)), is_too_large, "{fault:?}");
        }
        assert_eq!(walk(&[page(3, 60_000, 10, 9, 7)], false, MAX).unwrap().unfolding, 60_000);
        let mut short = page(0, 10, 10, 1, 0);
        short.truncate(short.len() - 1);
        assert!(walk(&[short], false, MAX).is_err());
        // Sizes below nought.
        let negative =
            [field(1, I32), number(0), field(1, I32), vec![1], field(1, I32), number(0), vec![0]].concat();
        assert!(walk(&[negative], false, MAX).is_err());
    }

    #[test]
    fn trees_of_columns_are_small_and_flat() {
        // The list of nodes is a footer's second field; each node has its number of children.
        let footer = |children: &[u64]| {
            let mut bytes = [field(2, LIST), vec![0xf0 | STRUCT]].concat();
            // A length is no signed number.
            let mut len = children.len();
            while len > 127 {
                bytes.push(len as u8 | 0x80);
                len >>= 7;
            }
            bytes.push(len as u8);
            for n_children in children {
                bytes.extend([field(5, I32), number(*n_children), vec![0]].concat());
            }
            bytes.push(0);
            bytes
        };
        let deep = |depth: usize| {
            let mut children = vec![1; depth];
            children.push(0);
            footer(&children)
        };
        assert_eq!(schema_fits(&footer(&[3, 0, 2, 0, 0, 0])), Some(true));
        assert_eq!((schema_fits(&deep(32)), schema_fits(&deep(33))), (Some(true), Some(false)));
        let beside: Vec<u64> = [40].into_iter().chain([1, 0].repeat(40)).collect();
        assert_eq!(schema_fits(&footer(&beside)), Some(true), "beside one another they are not deep");
        assert_eq!(schema_fits(&footer(&[i32::MAX as u64, 0])), Some(false));
        assert_eq!(schema_fits(&footer(&vec![0; 10_001])), None);
        assert_eq!(schema_fits(b"\x19\xff\xff\xff\xff\x7f"), None);
        assert_eq!(schema_fits(b""), None);
    }
}
