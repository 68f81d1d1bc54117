//! `anytime-learner leases`: which groups a job asks for, as a file for `anytime-actor generate`.

use std::io::Read as _;

use anyhow::Context as _;
use anytime_files::write_packed;
use anytime_proto::settings::with_defaults;
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use prost::Message as _;

use crate::args::LeasesArgs;
use crate::run::leases as leases_of;

/// `anytime-learner leases`
///
/// # Errors
/// [`ExitError`] with the configuration code: the first setting of the job that cannot work.
pub fn leases(args: &LeasesArgs) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).context("read the job")?;
    let spec = v1::JobSpec::decode(bytes.as_slice())
        .map_err(|error| ExitError::configuration(format!("standard input is no job: {error}")))?;
    let leases = leases_of(&spec, &args.root, args.first, args.groups).map_err(ExitError::configuration)?;
    let spec = with_defaults(&spec);
    let head = v1::KeptGroupsHead {
        job_id: spec.name().to_owned(),
        groups: leases.len() as u64,
        spec: Some(spec),
        ..Default::default()
    };
    let contents = leases.iter().map(v1::Lease::encode_to_vec);
    Ok(write_packed(&args.out, &head.encode_to_vec(), contents)?)
}
