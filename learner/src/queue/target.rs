//! Which Redis, and how it is reached: its URL, a password from a file, TLS. Files that change count for the connections
//! that are made from then on.

use std::path::{Path, PathBuf};

use anytime_service::exit::ExitError;
use anytime_service::security::{Authority, Identity, Origin, Watched, read_all, read_secret, secret_of};
use redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use tracing::warn;

/// Where Redis is and what it is shown.
#[derive(Clone, Default)]
pub struct RedisTarget {
    /// `redis://…`, or `rediss://…` for TLS; may hold user and password.
    pub url: String,
    /// The file with the password, where it is not in the URL.
    pub password: Option<PathBuf>,
    /// The file with the CA that has signed the certificate of Redis. None means those of the system.
    pub authority: Option<PathBuf>,
    /// The files with the certificate that Redis is shown, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Leaves out what is secret.
impl std::fmt::Debug for RedisTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisTarget")
            .field("password", &self.password)
            .field("authority", &self.authority)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl<Url: AsRef<str> + ?Sized> From<&Url> for RedisTarget {
    fn from(url: &Url) -> Self {
        Self {
            url: url.as_ref().to_owned(),
            ..Self::default()
        }
    }
}

/// Makes the connections to Redis, each with what the files hold then.
pub(super) enum Clients {
    /// No file is named.
    Fixed(Box<Client>),
    Watched(Watched<Client>),
}

impl Clients {
    /// The client for the next connection.
    pub(super) async fn next(&self) -> Client {
        match self {
            Self::Fixed(client) => client.as_ref().clone(),
            Self::Watched(client) => client.fresh().await.as_ref().clone(),
        }
    }
}

impl RedisTarget {
    /// Reads and checks every file, and watches them. Needs a runtime. Nothing is connected to yet.
    ///
    /// # Errors
    /// [`ExitError`] that names the argument, and no password.
    pub(super) fn clients(self) -> Result<(Clients, String), ExitError> {
        let paths = self.paths();
        let bytes = read_all(&paths).map_err(|problem| ExitError::configuration(format!("--redis: {problem}")))?;
        let client = self.client(&bytes, &mut Vec::new())?;
        let address = client.get_connection_info().addr().to_string();
        if paths.is_empty() {
            return Ok((Clients::Fixed(Box::new(client)), address));
        }
        let parse = move |bytes: &[Vec<u8>]| {
            let mut warnings = Vec::new();
            let client = self.client(bytes, &mut warnings).map_err(|error| error.message)?;
            for warning in warnings {
                warn!("{warning}");
            }
            Ok(client)
        };
        let watched = Watched::start_several(paths, bytes, client, parse);
        Ok((Clients::Watched(watched), address))
    }

    /// Checks every file; what an operator should know of them goes to `warnings`.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn check(&self, warnings: &mut Vec<String>) -> Result<(), ExitError> {
        // One after the other, so that an unreadable one is named with its argument.
        if let Some(path) = &self.password {
            read_secret(of_password(path), warnings)?;
        }
        if let Some(path) = &self.authority {
            Authority::read(of_authority(path), warnings)?;
        }
        if let Some((certificate, key)) = &self.identity {
            Identity::read(of_certificate(certificate), of_key(key), warnings)?;
        }
        Ok(())
    }

    /// All files: password, CA, certificate and key, those that there are.
    fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        let single = [&self.password, &self.authority].into_iter().flatten();
        single.chain(identity).cloned().collect()
    }

    /// A client of what the files hold, in the order of [`paths`](Self::paths).
    fn client(&self, bytes: &[Vec<u8>], warnings: &mut Vec<String>) -> Result<Client, ExitError> {
        let mut bytes = bytes.iter().cloned();
        let bad = |error: redis::RedisError| ExitError::configuration(format!("--redis: {error}"));
        let mut info: ConnectionInfo = self.url.as_str().into_connection_info().map_err(bad)?;
        if let (Some(path), Some(content)) = (&self.password, self.password.as_ref().and_then(|_| bytes.next())) {
            let password = secret_of(of_password(path), content)?;
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        let is_tls = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
        if !is_tls {
            if self.authority.is_some() || self.identity.is_some() {
                return Err(ExitError::configuration(
                    "--redis-ca and --redis-cert are for TLS, but --redis is not rediss://",
                ));
            }
            return Client::open(info).map_err(bad);
        }
        let mut certificates = TlsCertificates {
            client_tls: None,
            root_cert: None,
        };
        if let (Some(path), Some(pem)) = (&self.authority, self.authority.as_ref().and_then(|_| bytes.next())) {
            let authority = Authority::of_pem(of_authority(path), pem, warnings)?;
            authority.show_end(path);
            certificates.root_cert = Some(authority.pem().to_vec());
        }
        if let (Some((certificate, key)), Some(pem), Some(key_pem)) = (&self.identity, bytes.next(), bytes.next()) {
            let shown = (of_certificate(certificate), pem);
            let own = Identity::of_pem(shown, (of_key(key), key_pem), warnings)?;
            own.show_end(certificate);
            certificates.client_tls = Some(ClientTlsConfig {
                client_cert: own.certificate_pem().to_vec(),
                client_key: own.key_pem().to_vec(),
            });
        }
        Client::build_with_tls(info, certificates).map_err(bad)
    }
}

fn of_password(path: &Path) -> Origin<'_> {
    let flag = "--redis-password-file";
    Origin { flag, path }
}

fn of_authority(path: &Path) -> Origin<'_> {
    let flag = "--redis-ca";
    Origin { flag, path }
}

fn of_certificate(path: &Path) -> Origin<'_> {
    let flag = "--redis-cert";
    Origin { flag, path }
}

fn of_key(path: &Path) -> Origin<'_> {
    let flag = "--redis-key";
    Origin { flag, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password_file(directory: &tempfile::TempDir) -> PathBuf {
        let path = directory.path().join("password");
        std::fs::write(&path, "hunter2\n").expect("written");
        path
    }

    #[test]
    fn nothing_secret_is_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = RedisTarget {
            password: Some(password_file(&directory)),
            ..RedisTarget::from("redis://me:hunter3@127.0.0.1")
        };
        assert!(!format!("{target:?}").contains("hunter"), "{target:?}");
    }

    #[tokio::test]
    async fn the_password_of_the_file_is_used_and_another_one_for_the_next_connection() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = password_file(&directory);
        let target = RedisTarget {
            password: Some(path.clone()),
            ..RedisTarget::from("redis://me@127.0.0.1:7000/3")
        };
        let (clients, address) = target.clients().expect("clients");
        assert_eq!(address, "127.0.0.1:7000");
        let shown = async || {
            let client = clients.next().await;
            let settings = client.get_connection_info().redis_settings();
            assert_eq!((settings.username(), settings.db()), (Some("me"), 3));
            settings.password().expect("a password").to_owned()
        };
        assert_eq!(shown().await, "hunter2");
        std::fs::write(&path, "hunter4\n").expect("written");
        assert_eq!(shown().await, "hunter4");
        // What is no password leaves the one before in force.
        std::fs::write(&path, "two\nlines\n").expect("written");
        assert_eq!(shown().await, "hunter4");
    }
}
