//! Files that are either whole or not there, and keys that their owner alone reads.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::CaError;

fn failed(path: &Path) -> impl Fn(io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::Io { path: path.clone(), source }
}

/// Open to look into: the certificate and the revocation list are everybody's, and the key protects itself.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path) -> Result<(), CaError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed(path))
}

pub(super) fn lock(path: &Path, dir: &Path) -> Result<File, CaError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CaError::Busy(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(CaError::Io { path: path.to_owned(), source }),
    }
}

pub(super) fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(failed(path))
}

/// Replaces a file that its owner alone may read.
///
/// # Errors
/// It cannot be written; what was there before stays.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    write(path, bytes, 0o600)
}

/// As [`write_private`], for everybody to read.
///
/// # Errors
/// As there.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    write(path, bytes, 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // Left behind by one that was killed: its mode is not ours to trust.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(new)(error)),
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = File::options().create_new(true).write(true).mode(mode).open(new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        path.parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(failed(path))
}
