//! Checks the sources of every crate against the table of rooms in ARCHITECTURE.md.
//!
//! A room is a file or a folder right below a crate's `src`. [`table`] reads which crate may use which, and the
//! order of the rooms of a crate; [`sources`] reads the files of a crate, [`imports`] finds which file takes names
//! from which other; [`check`] compares them and names every breach in a sentence.

pub mod imports;
pub mod sources;
pub mod table;

use std::collections::BTreeSet;
use std::path::Path;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use imports::{Import, imports_of};
use sources::Sources;
use table::Rooms;

/// Checks every crate below `root`, a folder with ARCHITECTURE.md and the workspace's Cargo.toml. Returns one sentence
/// per breach: a crate that knows another one it must not know, a crate or room that the table leaves out or invents,
/// an import that runs against the order of rooms, and a circle of files.
///
/// # Panics
/// If a file cannot be read or is not what its name says.
pub fn check(root: &Path) -> Vec<String> {
    let mut tables = table::read(&root.join("ARCHITECTURE.md"));
    let crates = tables.remove(table::CRATES).expect("a table of crates");
    let mut breaches = Vec::new();
    let members = workspace_members(root);
    for folder in &members {
        if crates.contains(folder) {
            breaches.extend(check_dependencies(root, folder, &crates));
        } else {
            breaches.push(format!("the table of crates leaves out `{folder}`"));
        }
        let rooms = tables.remove(folder).unwrap_or_default();
        breaches.extend(check_rooms(root, folder, &rooms));
    }
    for folder in crates.names().chain(tables.keys().map(String::as_str)) {
        if !members.iter().any(|member| member == folder) {
            breaches.push(format!("a table names the crate `{folder}`, which does not exist"));
        }
    }
    breaches
}

/// The folders of the workspace's crates.
///
/// # Panics
/// If the manifest cannot be read.
pub fn workspace_members(root: &Path) -> Vec<String> {
    let manifest = manifest(&root.join("Cargo.toml"));
    let members = manifest["workspace"]["members"].as_array().expect("a list of members");
    let name = |member: &toml::Value| member.as_str().expect("a folder's name").to_owned();
    members.iter().map(name).collect()
}

fn manifest(path: &Path) -> toml::Table {
    sources::read(path)
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A crate knows those that its Cargo.toml names, for its tests too.
fn check_dependencies(root: &Path, folder: &str, crates: &Rooms) -> Vec<String> {
    let known = manifest(&root.join(folder).join("Cargo.toml"));
    let mut breaches = Vec::new();
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let dependencies = known.get(section).and_then(toml::Value::as_table);
        for package in dependencies.into_iter().flat_map(toml::Table::keys) {
            let other = crates
                .names()
                .find(|other| package_name(root, other).as_ref() == Some(package));
            if let Some(other) = other
                && !crates.may_use(folder, other)
            {
                breaches.push(format!(
                    "`{folder}` must not know `{other}`, which it names in [{section}]"
                ));
            }
        }
    }
    breaches
}

fn package_name(root: &Path, folder: &str) -> Option<String> {
    let path = root.join(folder).join("Cargo.toml");
    let name = path.is_file().then(|| manifest(&path)["package"]["name"].clone())?;
    name.as_str().map(str::to_owned)
}

fn check_rooms(root: &Path, folder: &str, table: &Rooms) -> Vec<String> {
    let sources = Sources::read(root, folder);
    let imports = imports_of(&sources);
    let room_of = |file: &str| room_of(folder, file);
    let mut breaches = Vec::new();
    let existing: BTreeSet<String> = sources.files().map(room_of).collect();
    for room in &existing {
        // A crate's root that only declares its modules is no room.
        let is_room = room != "lib" || imports.iter().any(|import| room_of(&import.to) == "lib");
        if is_room && !table.contains(room) {
            breaches.push(format!("the table of `{folder}` leaves out the room `{room}`"));
        }
    }
    for room in table.names().filter(|room| !existing.contains(*room)) {
        breaches.push(format!(
            "the table of `{folder}` names the room `{room}`, which does not exist"
        ));
    }
    for Import { from, to, name } in &imports {
        let (user, used) = (room_of(from), room_of(to));
        let are_known = table.contains(&user) && table.contains(&used);
        if are_known && user != used && !table.may_use(&user, &used) {
            breaches.push(format!(
                "{from} takes {name} from {to}: the room `{user}` must not use `{used}`"
            ));
        }
    }
    breaches.extend(circles(&imports));
    breaches
}

/// The room that a file of the crate lies in.
fn room_of(folder: &str, file: &str) -> String {
    let below_source = file
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix("/src/"))
        .unwrap_or(file);
    let first = below_source.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// Every set of files that reach each other, with the names that tie it.
fn circles(imports: &[Import]) -> Vec<String> {
    let graph: DiGraphMap<&str, (), std::hash::RandomState> = imports
        .iter()
        .map(|import| (import.from.as_str(), import.to.as_str(), ()))
        .collect();
    let mut breaches = Vec::new();
    for component in tarjan_scc(&graph) {
        if component.len() < 2 {
            continue;
        }
        let inside = |file: &str| component.contains(&file);
        let ties = imports
            .iter()
            .filter(|import| inside(&import.from) && inside(&import.to));
        let mut ties: Vec<String> = ties
            .map(|tie| format!("{} takes {} from {}", tie.from, tie.name, tie.to))
            .collect();
        ties.sort();
        ties.dedup();
        breaches.push(format!("a circle of {} files: {}", component.len(), ties.join("; ")));
    }
    breaches
}
