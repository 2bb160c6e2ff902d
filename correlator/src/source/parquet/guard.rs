//! Stands between a group of rows and its reader, and looks at pages once they are unpacked: values that are packed as
//! differences begin with their number, and the reader takes memory for as many before it looks for them. What lists may come
//! to is another thing that only their pages say.

use parquet::basic::{Encoding, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::lists::{self, Lists};
use super::thrift::{Compact, I32};

/// A group of rows whose pages are looked at.
pub(super) struct Guarded<'g> {
    pub(super) inner: Box<dyn RowGroupReader + 'g>,
    /// Of one row's values of one column.
    pub(super) max_bytes: u64,
}

impl RowGroupReader for Guarded<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.inner.metadata()
    }

    fn num_columns(&self) -> usize {
        self.inner.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>> {
        let description = self.inner.metadata().column(column).column_descr();
        let levels = (description.max_rep_level() > 0, description.max_def_level() > 0);
        let width = lists::width(description.max_rep_level());
        let is_text = description.physical_type() == Physical::BYTE_ARRAY;
        let lists = (levels.0 && is_text).then(Lists::default);
        let inner = self.inner.get_column_page_reader(column)?;
        Ok(Box::new(Pages { inner, levels, width, lists, max_bytes: self.max_bytes }))
    }

    fn get_column_bloom_filter(&self, column: usize) -> Option<&Sbbf> {
        self.inner.get_column_bloom_filter(column)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct Pages {
    inner: Box<dyn PageReader>,
    /// Whether values come with their places in lists, and with whether there is one.
    levels: (bool, bool),
    /// Bits of a place in a list.
    width: u32,
    /// Where there may be lists of texts.
    lists: Option<Lists>,
    max_bytes: u64,
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let refused = |reason: &str| Err(ParquetError::General(reason.to_owned()));
        let Some(page) = self.inner.get_next_page()? else { return Ok(None) };
        if !is_fit(&page, self.levels) {
            return refused("a page says that it holds more values than it can");
        }
        if let Some(lists) = &mut self.lists {
            if see(lists, &page, self.width).is_none() {
                return refused("a page's lists have no beginning or no end");
            }
            if lists.most() > self.max_bytes {
                return refused("a row has lists of more than any record is");
            }
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

/// Takes note of a page of a column that has lists.
fn see(lists: &mut Lists, page: &Page, width: u32) -> Option<()> {
    if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
        // Each may repeat the one before.
        lists.see_text(page.buffer().len() as u64);
    }
    match page {
        Page::DictionaryPage { buf, .. } => lists.see_texts(buf),
        Page::DataPage { buf, num_values, rep_level_encoding, .. } => {
            let (len, rest) = buf.split_first_chunk::<4>()?;
            let places = rest.get(..u32::from_le_bytes(*len) as usize)?;
            if *rep_level_encoding != Encoding::RLE {
                return None;
            }
            lists.see_places(places, width, u64::from(*num_values))?;
        }
        Page::DataPageV2 { buf, num_values, rep_levels_byte_len, .. } => {
            lists.see_places(buf.get(..*rep_levels_byte_len as usize)?, width, u64::from(*num_values))?;
        }
    }
    Some(())
}

fn is_fit(page: &Page, levels: (bool, bool)) -> bool {
    let n_runs = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return true,
    };
    let values = match page {
        Page::DataPage { buf, def_level_encoding, rep_level_encoding, .. } => {
            let held = [(levels.0, rep_level_encoding), (levels.1, def_level_encoding)];
            let mut values = Some(&buf[..]);
            for (_, encoding) in held.into_iter().filter(|(is_held, _)| *is_held) {
                // Only run lengths say how long they are.
                values = values.filter(|_| *encoding == Encoding::RLE).and_then(behind_levels);
            }
            values
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let len = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
            usize::try_from(len).ok().and_then(|len| buf.get(len..))
        }
        Page::DictionaryPage { .. } => return false,
    };
    let n_values = u64::from(page.num_values());
    values.is_some_and(|values| {
        counts(values, n_runs).is_some_and(|counts| counts.iter().all(|n| *n <= n_values))
    })
}

fn behind_levels(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.get(u32::from_le_bytes(*len) as usize..)
}

/// The numbers that runs of differences begin with; all but the last are passed over to its end, which is where its last block ends.
fn counts(bytes: &[u8], n_runs: usize) -> Option<Vec<u64>> {
    let mut bytes = Compact::new(bytes);
    let mut counts = Vec::new();
    for run in 1..=n_runs {
        let (block, n_parts, count) = (bytes.length()?, bytes.length()?, bytes.length()?);
        // The first value.
        bytes.skip(I32)?;
        counts.push(count);
        let part = block.checked_div(n_parts)?;
        let is_regular = block <= 1 << 20
            && block.is_multiple_of(128)
            && block.is_multiple_of(n_parts)
            && n_parts <= 512
            && part.is_multiple_of(32)
            && part > 0;
        if !is_regular {
            return None;
        }
        let mut left = if run < n_runs { count.saturating_sub(1) } else { 0 };
        while left > 0 {
            // The least difference.
            bytes.skip(I32)?;
            let mut len = 0;
            for width in bytes.take(n_parts)? {
                if left > 0 {
                    len += u64::from(*width) * part / 8;
                }
                left = left.saturating_sub(part);
            }
            bytes.take(len)?;
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of differences: blocks of 128 in four parts, all of one width.
    fn run(count: u64, width: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, 1, 4];
        let mut rest = count;
        while rest > 127 {
            bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        bytes.extend([rest as u8, 0]);
        let mut left = count.saturating_sub(1);
        while left > 0 && bytes.len() < 10_000 {
            bytes.extend([0, width, width, width, width]);
            let n_parts = left.div_ceil(32).min(4);
            bytes.extend(vec![0; n_parts as usize * usize::from(width) * 4]);
            left = left.saturating_sub(128);
        }
        bytes
    }

    #[test]
    fn a_run_says_how_many_it_holds() {
        for (count, width) in [(0, 0), (1, 0), (2, 3), (33, 1), (129, 8), (130, 0), (1_000, 20)] {
            assert_eq!(counts(&run(count, width), 1), Some(vec![count]));
            let two = [run(count, width), run(7, 2)].concat();
            assert_eq!(counts(&two, 2), Some(vec![count, 7]), "{count} of {width}");
        }
        assert_eq!(counts(&run(1 << 40, 0), 1), Some(vec![1 << 40]));
        assert_eq!(counts(&run(1 << 40, 0), 2), None);
        for bytes in [&b""[..], &[0x80, 1, 0, 1, 0], &[0x81, 1, 4, 1, 0], &[0, 4, 1, 0]] {
            assert_eq!(counts(bytes, 1), None);
        }
    }

    #[test]
    fn pages_that_hold_less_than_they_say_are_refused() {
        let page = |encoding, values: Vec<u8>, num_values| Page::DataPage {
            buf: [vec![2, 0, 0, 0, 9, 9], values].concat().into(),
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let levels = (false, true);
        assert!(is_fit(&page(Encoding::DELTA_LENGTH_BYTE_ARRAY, run(100, 0), 100), levels));
        assert!(!is_fit(&page(Encoding::DELTA_LENGTH_BYTE_ARRAY, run(101, 0), 100), levels));
        let two = |n, other| [run(n, 1), run(other, 1)].concat();
        assert!(is_fit(&page(Encoding::DELTA_BYTE_ARRAY, two(100, 100), 100), levels));
        assert!(!is_fit(&page(Encoding::DELTA_BYTE_ARRAY, two(100, 101), 100), levels));
        assert!(!is_fit(&page(Encoding::DELTA_BYTE_ARRAY, two(100, 1 << 40), 100), levels));
        assert!(is_fit(&page(Encoding::PLAIN, vec![], 1 << 30), levels), "those are read as they are found");
    }
}
