//! A set of certificates and tokens for development and for a cluster of one's own: a CA, a certificate and a token for
//! each role, the file of access that knows them, and a password for Redis. A CA that is there already can sign them.

mod authority;

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use anytime_service::security::roles::Role;
use rcgen::{Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use authority::Authority;

/// The certificate of learner, verifier and Redis. It has no role.
const SERVER: &str = "server";

/// A clock that is behind by less than this accepts the certificates too.
const BACKDATED: Duration = Duration::hours(1);

/// What the certificates are made for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The names and addresses under which servers are called.
    pub servers: Vec<String>,
    /// The names and addresses under which the metrics of actors are scraped.
    pub actors: Vec<String>,
    /// For how many days the certificates are valid.
    pub days: u32,
    /// The files of the CA that signs them, and of its key; a new CA without them.
    pub authority: Option<(PathBuf, PathBuf)>,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Written {
    /// The paths of the files.
    pub files: Vec<PathBuf>,
    /// What the user should know of them.
    pub warnings: Vec<String>,
}

struct Entry {
    name: String,
    content: String,
    /// Whether only the owner may read it.
    is_secret: bool,
}

/// Writes the set into a directory that is empty or not there.
///
/// # Errors
/// [`ExitError`] with the configuration code for a directory that holds something, for a name that no certificate can
/// have, and for a CA that cannot sign; else what the file system refused.
pub fn write(directory: &Path, wanted: &Wanted) -> anyhow::Result<Written> {
    let is_taken = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(ExitError::configuration(format!("{}: {error}", directory.display())).into()),
    };
    if is_taken {
        return Err(ExitError::configuration(format!(
            "{} is not empty, and certificates and tokens in use are not overwritten; name another directory",
            directory.display()
        ))
        .into());
    }
    let mut warnings = Vec::new();
    let entries = make(wanted, &mut warnings)?;
    // Only the owner may open the directory, whatever modes the files in it get later.
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .with_context(|| format!("make directory {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = directory.join(&entry.name);
        let mode = if entry.is_secret { 0o600 } else { 0o644 };
        let created = File::options().write(true).create_new(true).mode(mode).open(&path);
        created
            .and_then(|mut file| {
                file.write_all(entry.content.as_bytes())?;
                file.sync_all()
            })
            .with_context(|| format!("write {}", path.display()))?;
        files.push(path);
    }
    Ok(Written { files, warnings })
}

/// All files.
fn make(wanted: &Wanted, warnings: &mut Vec<String>) -> anyhow::Result<Vec<Entry>> {
    let now = OffsetDateTime::now_utc();
    let span = (now - BACKDATED, now + Duration::days(i64::from(wanted.days)));
    let authority = match &wanted.authority {
        Some((certificate, key)) => Authority::read(certificate, key, span, warnings)?,
        None => Authority::generate(span)?,
    };
    let mut entries = vec![open("ca.pem".to_owned(), authority.pem.clone())];
    if let Some(key) = &authority.new_key {
        entries.push(hidden("ca.key".to_owned(), key.clone()));
    }

    let mut access =
        String::from("# Who may do what: a role, token or certificate, and the token or the common name.\n");
    let mut sign = |name: &str, names: &[String]| -> anyhow::Result<()> {
        let mut params = CertificateParams::new(names.to_vec())
            .map_err(|error| ExitError::configuration(format!("{names:?} cannot stand in a certificate: {error}")))?;
        (params.not_before, params.not_after) = authority.span;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every certificate may be shown by a caller: the learner shows the servers' one to Redis. Only one with names
        // may be a server's, so that a mere caller cannot pose as a server.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = authority.sign(params, &key)?;
        entries.extend(pair(name, &certificate, &authority.chain, &key));
        Ok(())
    };
    sign(SERVER, &wanted.servers)?;
    for role in Role::ALL {
        let names: &[String] = if role == Role::Act { &wanted.actors } else { &[] };
        sign(role.name(), names)?;
    }
    for role in Role::ALL {
        let (name, token) = (role.name(), secret());
        access.push_str(&format!("{name} token {token}\n{name} certificate {name}\n"));
        entries.push(hidden(format!("{name}.token"), format!("{token}\n")));
    }
    entries.push(hidden("access".to_owned(), access));
    entries.push(hidden("redis.password".to_owned(), format!("{}\n", secret())));
    Ok(entries)
}

/// A certificate with those behind it, and its key.
fn pair(name: &str, certificate: &Certificate, chain: &str, key: &KeyPair) -> [Entry; 2] {
    let pem = format!("{}{chain}", certificate.pem());
    [
        open(format!("{name}.pem"), pem),
        hidden(format!("{name}.key"), key.serialize_pem()),
    ]
}

fn open(name: String, content: String) -> Entry {
    Entry {
        name,
        content,
        is_secret: false,
    }
}

fn hidden(name: String, content: String) -> Entry {
    Entry {
        name,
        content,
        is_secret: true,
    }
}

/// 256 random bits in hexadecimal digits, which every configuration file takes without quotes.
fn secret() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
