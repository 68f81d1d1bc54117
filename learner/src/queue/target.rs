//! Which Redis, and how it is reached: its URL, a password from a file, TLS.

use anytime_service::exit::ExitError;
use anytime_service::security::{Authority, Identity};
use redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};

/// Where Redis is and what it is shown.
#[derive(Clone, Default)]
pub struct RedisTarget {
    /// `redis://…`, or `rediss://…` for TLS; may hold user and password.
    pub url: String,
    /// The password, where it is not in the URL.
    pub password: Option<String>,
    /// The CA that has signed the certificate of Redis. None means those of the system.
    pub authority: Option<Authority>,
    /// The certificate that Redis is shown.
    pub identity: Option<Identity>,
}

/// Leaves out what is secret.
impl std::fmt::Debug for RedisTarget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RedisTarget")
            .field("has_password", &self.password.is_some())
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

impl RedisTarget {
    /// A client, which connects to nothing yet.
    ///
    /// # Errors
    /// [`ExitError`] that names `--redis` or the argument that does not go with it, and no password.
    pub(super) fn client(&self) -> Result<Client, ExitError> {
        let bad = |error: redis::RedisError| ExitError::configuration(format!("--redis: {error}"));
        let mut info: ConnectionInfo = self.url.as_str().into_connection_info().map_err(bad)?;
        if let Some(password) = &self.password {
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
        let own = self.identity.as_ref().map(|own| ClientTlsConfig {
            client_cert: own.certificate_pem().to_vec(),
            client_key: own.key_pem().to_vec(),
        });
        let certificates = TlsCertificates {
            client_tls: own,
            root_cert: self.authority.as_ref().map(|authority| authority.pem().to_vec()),
        };
        Client::build_with_tls(info, certificates).map_err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let target = RedisTarget {
            password: Some("hunter2".to_owned()),
            ..RedisTarget::from("redis://me:hunter3@127.0.0.1")
        };
        assert!(!format!("{target:?}").contains("hunter"), "{target:?}");
    }

    #[test]
    fn the_password_of_the_file_is_used() {
        let target = RedisTarget {
            password: Some("hunter2".to_owned()),
            ..RedisTarget::from("redis://me@127.0.0.1:7000/3")
        };
        let client = target.client().expect("a client");
        let settings = client.get_connection_info().redis_settings();
        assert_eq!(settings.password(), Some("hunter2"));
        assert_eq!((settings.username(), settings.db()), (Some("me"), 3));
    }
}
