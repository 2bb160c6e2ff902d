//! What a person or a program that calls AWS has at home: profiles, keys, and the stand-ins' authority as the one to trust.

use std::fs;
use std::io;
use std::path::Path;

use crate::world::{self, Principal};

/// A profile per user, as `aws configure` would leave it, and the stage's authority as the one to trust.
///
/// # Errors
/// When the folder cannot be written.
pub fn configure(home: &Path, root_pem: &str, users: &[Principal]) -> io::Result<()> {
    let folder = home.join(".aws");
    fs::create_dir_all(&folder)?;
    let authority = folder.join("stage-ca.pem");
    fs::write(&authority, root_pem)?;
    let mut config = String::new();
    let mut credentials = String::new();
    let common = format!(
        "region = {}\noutput = json\nca_bundle = {}\ncli_pager =\naccount_id_endpoint_mode = disabled\nretry_mode = standard\n\n",
        world::REGION,
        authority.display()
    );
    config += &format!("[default]\n{common}");
    for user in users {
        let name = user.arn().rsplit('/').next().unwrap_or_default().to_owned();
        config += &format!("[profile {name}]\n{common}");
        let (key, secret) = (&user.access_key, &user.secret);
        credentials += &format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n\n");
    }
    fs::write(folder.join("config"), config)?;
    fs::write(folder.join("credentials"), credentials)
}
