//! The arguments of `anytime certs`.

use std::path::PathBuf;

/// The arguments of `anytime certs`.
#[derive(Clone, Debug, clap::Args)]
pub struct CertsArgs {
    /// Directory to write to; nothing may be in it
    pub directory: PathBuf,
    /// A name or address under which learner, verifier or Redis are called; repeatable
    #[arg(
        long,
        value_name = "NAME",
        default_values = ["localhost", "127.0.0.1", "::1", "learner", "verifier", "redis"]
    )]
    pub server: Vec<String>,
    /// A name or address under which the metrics of an actor are; repeatable
    #[arg(
        long,
        value_name = "NAME",
        default_values = ["localhost", "127.0.0.1", "::1", "actor-1", "actor-2"]
    )]
    pub actor: Vec<String>,
    /// For how long the certificates are good; never for longer than the CA
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Sign with this CA (PEM), those that sign it behind it [default: a new one]
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    pub ca: Option<PathBuf>,
    /// The private key of --ca (PEM, PKCS#8); it is read and not copied
    #[arg(long, value_name = "FILE", requires = "ca")]
    pub ca_key: Option<PathBuf>,
}
