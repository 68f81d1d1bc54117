//! `anytime presets`: what there is, and one of them as a job file.

use anyhow::Context as _;
use serde_json::json;

use crate::arguments::PresetsArgs;
use crate::output::{print_json, print_line};
use crate::presets::{self, Base, Method};

pub(super) fn run(arguments: &PresetsArgs, json: bool) -> anyhow::Result<()> {
    match &arguments.name {
        Some(name) => show(name, json),
        None => list(json),
    }
}

fn show(name: &str, json: bool) -> anyhow::Result<()> {
    let spec = presets::job(name)?;
    if json {
        return print_json(&spec);
    }
    let (base, method) = presets::split_name(name)?;
    let (base, method) = (Base::find(base)?, Method::find(method)?);
    let file = toml::to_string_pretty(&spec).context("job file")?;
    let text = format!("# {name}: {}; {}\n{file}", base.description, method.description);
    print_line(text.trim_end())
}

fn list(json: bool) -> anyhow::Result<()> {
    let mut entries = Vec::new();
    for base in Base::names() {
        let base = Base::find(base)?;
        for method in Method::names() {
            let method = Method::find(method)?;
            let description = format!("{}; {}", method.description, base.description);
            entries.push((format!("{}/{}", base.name, method.name), description));
        }
    }
    if json {
        let documents: Vec<_> = entries
            .iter()
            .map(|(name, description)| json!({ "name": name, "description": description }))
            .collect();
        return print_json(&documents);
    }
    let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, description) in entries {
        print_line(&format!("{name:width$}  {description}"))?;
    }
    Ok(())
}
