//! A set of certificates and tokens for development and for a cluster of one's own: a CA, a certificate and a token for
//! each role, the file of access that knows them, and a password for Redis. A cluster that already has a CA uses
//! certificates of that one instead.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use anytime_service::security::roles::Role;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

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
}

struct Entry {
    name: String,
    content: String,
    /// Whether only the owner may read it.
    is_secret: bool,
}

/// Writes the set into a directory that is empty or not there, and returns the paths of its files.
///
/// # Errors
/// [`ExitError`] with the configuration code for a directory that holds something, and for a name that no certificate can
/// have; else what the file system refused.
pub fn write(directory: &Path, wanted: &Wanted) -> anyhow::Result<Vec<PathBuf>> {
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
    let entries = make(wanted)?;
    // Only the owner may open the directory, whatever modes the files in it get later.
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(directory)
        .with_context(|| format!("make directory {}", directory.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = directory.join(&entry.name);
        let mode = if entry.is_secret { 0o600 } else { 0o644 };
        let open = File::options().write(true).create_new(true).mode(mode).open(&path);
        open.and_then(|mut file| {
            file.write_all(entry.content.as_bytes())?;
            file.sync_all()
        })
        .with_context(|| format!("write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// All files.
fn make(wanted: &Wanted) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let now = OffsetDateTime::now_utc();
    let span = (now - BACKDATED, now + Duration::days(i64::from(wanted.days)));

    let mut ca = CertificateParams::new(Vec::new())?;
    (ca.not_before, ca.not_after) = span;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.distinguished_name.push(DnType::CommonName, "anytime CA");
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let certificate = ca.self_signed(&ca_key)?;
    entries.extend(pair("ca", &certificate, &ca_key));
    let issuer = Issuer::new(ca, ca_key);

    let mut access =
        String::from("# Who may do what: a role, token or certificate, and the token or the common name.\n");
    let mut sign = |name: &str, names: &[String]| -> anyhow::Result<()> {
        let mut params = CertificateParams::new(names.to_vec())
            .map_err(|error| ExitError::configuration(format!("{names:?} cannot stand in a certificate: {error}")))?;
        (params.not_before, params.not_after) = span;
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
        let certificate = params.signed_by(&key, &issuer)?;
        entries.extend(pair(name, &certificate, &key));
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

fn pair(name: &str, certificate: &Certificate, key: &KeyPair) -> [Entry; 2] {
    let open = Entry {
        name: format!("{name}.pem"),
        content: certificate.pem(),
        is_secret: false,
    };
    [open, hidden(format!("{name}.key"), key.serialize_pem())]
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
