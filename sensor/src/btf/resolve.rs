//! Questions: the offset of a field, the size of a struct, the number of a function's parameters.

use super::types::{Kind, Type};
use super::{Btf, BtfError};

/// Nesting and chains of modifiers beyond this do not occur; the bound keeps hostile bytes from looping.
const MAX_DEPTH: u32 = 12;

impl Btf<'_> {
    /// Offset in bytes of `path`, such as `"sock.__sk_common.skc_family"`: a struct, then fields, each inside
    /// the one before. Anonymous structs and unions on the way need not be named.
    ///
    /// # Errors
    /// `NoStruct` or `NoField` for what is missing; `Disagree` if structs of the same name would give
    /// different answers, since nothing tells which of them a pointer points to.
    pub fn offset(&self, path: &str) -> Result<u32, BtfError> {
        let (name, fields) = path.split_once('.').unwrap_or((path, ""));
        let no_field = || BtfError::NoField(name.to_owned(), fields.to_owned());
        let ids = self.structs.get(name.as_bytes()).ok_or_else(|| BtfError::NoStruct(name.to_owned()))?;
        let mut answers = ids.iter().map(|&id| self.descend(id, fields));
        let first = answers.next().ok_or_else(no_field)?;
        if answers.any(|answer| answer != first) {
            return Err(BtfError::Disagree(name.to_owned(), fields.to_owned()));
        }
        first.ok_or_else(no_field)
    }

    /// Size in bytes of the struct `name`.
    ///
    /// # Errors
    /// As for [`Btf::offset`].
    pub fn size(&self, name: &str) -> Result<u32, BtfError> {
        let ids = self.structs.get(name.as_bytes()).ok_or_else(|| BtfError::NoStruct(name.to_owned()))?;
        let mut sizes = ids.iter().filter_map(|&id| Some(self.get(id)?.size_or_type));
        let first = sizes.next().ok_or_else(|| BtfError::NoStruct(name.to_owned()))?;
        if sizes.any(|size| size != first) {
            return Err(BtfError::Disagree(name.to_owned(), "size".to_owned()));
        }
        Ok(first)
    }

    /// Number of arguments that the tracepoint `name` passes, without the private one the kernel puts first.
    ///
    /// # Errors
    /// `NoType` if this kernel has no such tracepoint.
    pub fn n_tracepoint_args(&self, name: &str) -> Result<usize, BtfError> {
        let name = format!("btf_trace_{name}");
        let count = || {
            let (_, typedef) = self.named(&name, Kind::Typedef)?;
            let pointer = self.get(typedef.size_or_type).filter(|ty| ty.kind() == Some(Kind::Ptr))?;
            let proto = self.get(pointer.size_or_type).filter(|ty| ty.kind() == Some(Kind::FuncProto))?;
            proto.n_parts().checked_sub(1)
        };
        count().ok_or_else(|| BtfError::NoType(name.clone()))
    }

    /// Number of arguments of the kernel function `name`.
    ///
    /// # Errors
    /// `NoType` if this kernel has no such function, or not one that programs can be attached to.
    pub fn n_function_args(&self, name: &str) -> Result<usize, BtfError> {
        let count = || {
            let (_, function) = self.named(name, Kind::Func)?;
            let proto = self.get(function.size_or_type).filter(|ty| ty.kind() == Some(Kind::FuncProto))?;
            Some(proto.n_parts())
        };
        count().ok_or_else(|| BtfError::NoType(name.to_owned()))
    }

    fn descend(&self, id: u32, fields: &str) -> Option<u32> {
        let (field, rest) = fields.split_once('.').unwrap_or((fields, ""));
        let (offset, ty) = self.member(&self.composite(id)?, field, 0)?;
        if rest.is_empty() { Some(offset) } else { offset.checked_add(self.descend(ty, rest)?) }
    }

    /// Offset and type of the member `field`, looked for in anonymous members too.
    fn member(&self, composite: &Type<'_>, field: &str, depth: u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH {
            return None;
        }
        composite.members().find_map(|member| {
            if member.name != 0 {
                let is_it = self.is_named(member.name, field.as_bytes());
                return is_it.then_some((member.offset_bytes?, member.ty));
            }
            let (offset, ty) = self.member(&self.composite(member.ty)?, field, depth + 1)?;
            Some((member.offset_bytes?.checked_add(offset)?, ty))
        })
    }

    /// The struct or union behind typedefs and modifiers.
    fn composite(&self, id: u32) -> Option<Type<'_>> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_DEPTH {
            match ty.kind()? {
                Kind::Struct | Kind::Union => return Some(ty),
                Kind::Typedef | Kind::Modifier => ty = self.get(ty.size_or_type)?,
                _ => return None,
            }
        }
        None
    }
}
