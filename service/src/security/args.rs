//! The arguments for TLS and tokens. Each is the same in every process that takes it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;

/// The variables of all these arguments. Whoever starts a process that is to have none of them removes these.
pub const SECURITY_VARIABLES: [&str; 8] = [
    "ANYTIME_TLS_CERT",
    "ANYTIME_TLS_KEY",
    "ANYTIME_INSECURE",
    "ANYTIME_TLS_CLIENT_CA",
    "ANYTIME_ACCESS",
    "ANYTIME_MAX_CONNECTION_AGE",
    "ANYTIME_TLS_CA",
    "ANYTIME_TOKEN_FILE",
];

/// How a process shows itself, to those who call it and to those whom it calls.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdentityArgs {
    /// This process's certificate, with those that sign it (PEM): what listens speaks TLS with it, and servers that ask for
    /// a certificate are shown it
    #[arg(long, env = "ANYTIME_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM)
    #[arg(long, env = "ANYTIME_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS and tokens, and send tokens unencrypted: for networks that nobody else is on
    #[arg(long, env = "ANYTIME_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
}

/// Whom a server lets in.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServingArgs {
    /// Callers must show a certificate that this CA has signed (PEM)
    #[arg(long, env = "ANYTIME_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
    /// Who may do what, a line each: a role (submit, act, read), `token` or `certificate`, and the token or the
    /// certificate's common name; read again when it changes. Without it everybody may do everything
    #[arg(long, env = "ANYTIME_ACCESS", value_name = "FILE")]
    pub access: Option<PathBuf>,
    /// A connection that is open for longer takes no new calls, so that callers connect again: to another server behind a
    /// balancer, and with their renewed certificates. Calls under way may end; streams go on over the next connection
    #[arg(
        long,
        env = "ANYTIME_MAX_CONNECTION_AGE",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = connection_age
    )]
    pub max_connection_age: Option<Duration>,
}

/// At least a second, so that callers do more than connecting.
fn connection_age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let longest = Duration::from_secs(365 * 24 * 3600);
    if age < Duration::from_secs(1) || age > longest {
        return Err("it must be at least 1s and at most 365d".to_owned());
    }
    Ok(age)
}

/// Whom a caller trusts, and what it shows.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CallingArgs {
    /// The CA that has signed the certificates of the servers that are called (PEM) [default: those of the system]
    #[arg(long, env = "ANYTIME_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// File with the token that is shown to the servers; read again when it changes
    #[arg(long, env = "ANYTIME_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}
