//! The BPF object: built in or from a file, and of the version this sensor speaks.

use std::borrow::Cow;
use std::path::Path;

use sensor_ebpf::abi::settings::MARKER;

use super::LoadError;

/// Written by `build.rs`.
static EMBEDDED: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/object.rs"));

/// True if this binary can load its programs without being given a file.
pub fn has_embedded_object() -> bool {
    EMBEDDED.is_some()
}

pub(super) fn read(path: Option<&Path>) -> Result<Cow<'static, [u8]>, LoadError> {
    let object = match path {
        Some(path) => {
            let read = std::fs::read(path);
            Cow::Owned(read.map_err(|source| LoadError::ReadObject { path: path.to_owned(), source })?)
        }
        None => Cow::Borrowed(EMBEDDED.ok_or(LoadError::NoObject)?),
    };
    check_version(&object)?;
    Ok(object)
}

/// Before the kernel sees a byte: a layout that differs would be read as nonsense, not refused.
fn check_version(object: &[u8]) -> Result<(), LoadError> {
    let at = object.windows(MARKER.len()).position(|window| window == MARKER).ok_or(LoadError::NotOurs)?;
    let version = object[at + MARKER.len()..].first_chunk::<4>().ok_or(LoadError::NotOurs)?;
    let (found, expected) = (u32::from_le_bytes(*version), sensor_ebpf::abi::VERSION);
    if found == expected { Ok(()) } else { Err(LoadError::AbiVersion { found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: u32) -> Vec<u8> {
        [&b"\x7fELF..."[..], &MARKER, &version.to_le_bytes()].concat()
    }

    #[test]
    fn only_an_object_of_our_version_is_taken() {
        assert!(check_version(&object(sensor_ebpf::abi::VERSION)).is_ok());
        let other = check_version(&object(u32::MAX));
        assert!(matches!(other, Err(LoadError::AbiVersion { found: u32::MAX, .. })));
        assert!(matches!(check_version(b"\x7fELF"), Err(LoadError::NotOurs)));
        assert!(matches!(check_version(&MARKER), Err(LoadError::NotOurs)));
    }

    #[test]
    fn a_missing_file_is_named() {
        let err = read(Some(Path::new("/nowhere/x.o"))).unwrap_err();
        assert_eq!(err.to_string(), "cannot read the BPF object \"/nowhere/x.o\"");
    }
}
