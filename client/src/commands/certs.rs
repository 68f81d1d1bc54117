//! `anytime certs`: certificates and tokens for a cluster of one's own.

use serde_json::json;

use crate::arguments::CertsArgs;
use crate::certs::{Wanted, Written, write};
use crate::output::{print_json, print_line};

pub(super) fn run(arguments: &CertsArgs, json: bool) -> anyhow::Result<()> {
    let wanted = Wanted {
        servers: arguments.server.clone(),
        actors: arguments.actor.clone(),
        days: arguments.days,
        authority: arguments.ca.clone().zip(arguments.ca_key.clone()),
    };
    let Written { files, warnings } = write(&arguments.directory, &wanted)?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if json {
        return print_json(&json!({ "directory": arguments.directory, "files": files }));
    }
    for file in &files {
        print_line(&file.display().to_string())?;
    }
    Ok(())
}
