//! What shows that an actor was given a lease: a keyed hash over job, group and actor. Nobody without the key can make
//! one, so that nobody can push a group, or give one back, that was never leased to it. The key lies beside the jobs, so
//! that leases of before a restart are still good.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use anytime_files::write_durably;

/// The file of the key in the runs directory.
const KEY_FILE: &str = ".lease_key";

/// Makes and checks the tokens of leases.
#[derive(Clone)]
pub struct LeaseTokens {
    key: [u8; 32],
}

impl LeaseTokens {
    /// Reads the key of a runs directory, or makes one where there is none.
    ///
    /// # Errors
    /// If the key cannot be read or written.
    pub fn of_directory(runs_directory: &Path) -> anyhow::Result<Self> {
        let path = runs_directory.join(KEY_FILE);
        if !path.exists() {
            let key: [u8; 32] = rand::random();
            write_durably(&path, key)?;
        }
        // Done at every start, because an earlier one may have been killed between the two steps.
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .with_context(|| format!("close {} to others", path.display()))?;
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        ensure!(
            bytes.len() == 32,
            "{} has {} bytes and not 32; remove it, and leases that are out are given again",
            path.display(),
            bytes.len()
        );
        let mut key = [0; 32];
        key.copy_from_slice(&bytes);
        Ok(Self { key })
    }

    /// The token of a lease.
    pub fn token(&self, job_id: &str, group_id: &str, actor_id: &str) -> Vec<u8> {
        self.hash(job_id, group_id, actor_id).as_bytes().to_vec()
    }

    /// Whether what a push shows is the token of this lease.
    pub fn is_of(&self, shown: &[u8], job_id: &str, group_id: &str, actor_id: &str) -> bool {
        let Ok(shown) = <[u8; 32]>::try_from(shown) else {
            return false;
        };
        // This comparison takes constant time.
        blake3::Hash::from_bytes(shown) == self.hash(job_id, group_id, actor_id)
    }

    fn hash(&self, job_id: &str, group_id: &str, actor_id: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [job_id, group_id, actor_id] {
            hasher
                .update(&(part.len() as u64).to_le_bytes())
                .update(part.as_bytes());
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_lease_and_survives_a_restart() {
        let directory = tempfile::tempdir().expect("directory");
        let token = LeaseTokens::of_directory(directory.path())
            .expect("made")
            .token("job", "job/train/1", "a");
        let tokens = LeaseTokens::of_directory(directory.path()).expect("read again");
        assert!(tokens.is_of(&token, "job", "job/train/1", "a"));
        assert!(!tokens.is_of(&token, "job", "job/train/2", "a"));
        assert!(!tokens.is_of(&token, "job", "job/train/1", "b"));
        assert!(!tokens.is_of(&[], "job", "job/train/1", "a"));
        let mut other = token;
        other[7] ^= 1;
        assert!(!tokens.is_of(&other, "job", "job/train/1", "a"));
        // Where a name ends counts.
        assert_ne!(tokens.token("j", "ob", "a"), tokens.token("jo", "b", "a"));
        let mode = fs::metadata(directory.path().join(KEY_FILE))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_another_size_is_refused() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join(KEY_FILE), "short").expect("written");
        let error = LeaseTokens::of_directory(directory.path()).err().expect("refused");
        assert!(error.to_string().contains("5 bytes and not 32"), "{error}");
    }
}
