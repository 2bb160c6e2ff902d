//! A small reader of the kernel's type information (BTF): where does a field lie on this kernel?
//!
//! Pure and total: any bytes in, an answer or an error out. It keeps the position of each type and nothing
//! else, so reading a kernel's 100,000 types costs milliseconds and a megabyte. It leaves the list of fields
//! that matter to [`crate::offsets`].

mod resolve;
mod skeleton;
#[cfg(test)]
mod tests;
mod types;

use std::collections::HashMap;

use thiserror::Error;

use types::{Kind, Type, u32_at};

/// Where the kernel shows its own type information.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

/// Why a question could not be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("this is not kernel type information (BTF) in the machine's byte order")]
    NotBtf,
    #[error("kernel type information is cut short in {0}")]
    Truncated(&'static str),
    #[error("kernel type information holds type {id} of unknown kind {kind}: this sensor is too old for it")]
    UnknownKind { id: u32, kind: u32 },
    #[error("the kernel has no struct \"{0}\"")]
    NoStruct(String),
    #[error("the kernel's struct \"{0}\" has no field \"{1}\"")]
    NoField(String, String),
    #[error("the kernel has several structs \"{0}\" that disagree on \"{1}\"")]
    Disagree(String, String),
    #[error("the kernel has no type \"{0}\"")]
    NoType(String),
}

/// Indexed type information.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` the type of each id starts; id 0 is `void` and has no entry, so id 1 is at 0.
    starts: Vec<u32>,
    /// Ids of the structs and unions of each name.
    structs: HashMap<&'a [u8], Vec<u32>>,
}

impl<'a> Btf<'a> {
    /// Indexes `bytes`.
    ///
    /// # Errors
    /// `NotBtf`, `Truncated` or `UnknownKind`, the last because an unknown kind's length is unknown too.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let magic = bytes.get(..2).ok_or(BtfError::NotBtf)?;
        if magic != MAGIC.to_ne_bytes() || bytes.get(2) != Some(&1) {
            return Err(BtfError::NotBtf);
        }
        let header = bytes.get(..HEADER_BYTES).ok_or(BtfError::Truncated("its header"))?;
        let word = |at| u32_at(header, at).ok_or(BtfError::Truncated("its header"));
        let body = bytes.get(word(4)? as usize..).ok_or(BtfError::Truncated("its header"))?;
        let section = |at: u32, len: u32| body.get(at as usize..)?.get(..len as usize);
        let types = section(word(8)?, word(12)?).ok_or(BtfError::Truncated("its types"))?;
        let strings = section(word(16)?, word(20)?).ok_or(BtfError::Truncated("its strings"))?;
        let mut btf = Self { types, strings, starts: Vec::new(), structs: HashMap::new() };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = self.starts.len() as u32 + 1;
            let ty = Type::read(self.types, at).ok_or(BtfError::Truncated("its types"))?;
            let size = ty.size_in_table().ok_or(BtfError::UnknownKind { id, kind: ty.raw_kind() })?;
            if self.types.len() - at < size {
                return Err(BtfError::Truncated("its types"));
            }
            self.starts.push(at as u32);
            if ty.kind().is_some_and(Kind::is_composite) && ty.name != 0 {
                self.structs.entry(text(self.strings, ty.name)).or_default().push(id);
            }
            at += size;
        }
        Ok(())
    }

    /// Number of types, without `void`.
    #[cfg(test)]
    fn n_types(&self) -> usize {
        self.starts.len()
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let start = *self.starts.get(id.checked_sub(1)? as usize)?;
        Type::read(self.types, start as usize)
    }

    /// Whether that is the name at `offset`. Hundreds of thousands are asked, and most differ in their first letter: none is
    /// measured for it.
    fn is_named(&self, offset: u32, name: &[u8]) -> bool {
        let there = self.strings.get(offset as usize..).unwrap_or(&[]);
        there.starts_with(name) && there.get(name.len()) == Some(&0)
    }

    fn named(&self, name: &str, kind: Kind) -> Option<(u32, Type<'a>)> {
        (1..=self.starts.len() as u32)
            .filter_map(|id| Some((id, self.get(id)?)))
            .find(|(_, ty)| ty.kind() == Some(kind) && self.is_named(ty.name, name.as_bytes()))
    }
}

/// The NUL-terminated text at `offset`; empty where there is none.
fn text(strings: &[u8], offset: u32) -> &[u8] {
    let tail = strings.get(offset as usize..).unwrap_or(&[]);
    let len = tail.iter().position(|&byte| byte == 0).unwrap_or(tail.len());
    &tail[..len]
}
