//! The files of one crate as a tree of modules. What only tests compile is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Item, ItemMod, UseTree};

/// The way to a module from its root: the library's is empty, a binary's starts with its name in angle brackets, which
/// no module can have.
pub type ModulePath = Vec<String>;

/// One module.
pub struct Module {
    /// The file that it is in, from the workspace's folder.
    pub file: String,
    /// What it holds, without tests.
    pub items: Vec<Item>,
    /// Names that it passes on or uses, with where they come from: (name, path as written). A glob has the name `*`.
    pub uses: Vec<(String, Vec<String>)>,
}

/// All modules of one crate.
pub struct Sources {
    /// The crate's name in paths, as its binaries write it.
    pub library: String,
    /// The modules by their path.
    pub modules: BTreeMap<ModulePath, Module>,
}

impl Sources {
    /// Reads the crate in a folder of the workspace at `root`, its library and its binary.
    ///
    /// # Panics
    /// If a file is missing or is not Rust.
    pub fn read(root: &Path, folder: &str) -> Self {
        let manifest: toml::Table = read(&root.join(folder).join("Cargo.toml")).parse().expect("a manifest");
        let package = manifest["package"]["name"].as_str().expect("a package's name");
        let mut sources = Self {
            library: package.replace('-', "_"),
            modules: BTreeMap::new(),
        };
        for (name, path) in [("lib.rs", Vec::new()), ("main.rs", vec!["<main>".to_owned()])] {
            let file = Path::new(folder).join("src").join(name);
            if root.join(&file).is_file() {
                sources.read_file(root, &file, path);
            }
        }
        sources
    }

    /// The files, each once.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let mut files: Vec<&str> = self.modules.values().map(|module| module.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        files.into_iter()
    }

    fn read_file(&mut self, root: &Path, file: &Path, path: ModulePath) {
        let text = read(&root.join(file));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(root, file, path, parsed.items);
    }

    fn add(&mut self, root: &Path, file: &Path, path: ModulePath, all: Vec<Item>) {
        let mut items = Vec::new();
        let mut uses = Vec::new();
        for item in all {
            match item {
                item if is_for_tests(attributes(&item)) => {}
                Item::Mod(child) => self.add_child(root, file, &path, child),
                Item::Use(item) => {
                    uses.extend(names_of(&item.tree));
                    items.push(Item::Use(item));
                }
                item => items.push(item),
            }
        }
        let file = file.display().to_string();
        self.modules.insert(path, Module { file, items, uses });
    }

    fn add_child(&mut self, root: &Path, file: &Path, parent: &ModulePath, child: ItemMod) {
        let name = child.ident.to_string();
        let path: ModulePath = parent.iter().cloned().chain([name.clone()]).collect();
        match child.content {
            Some((_, items)) => self.add(root, file, path, items),
            None => {
                let folder = folder_of_children(file);
                let candidates = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
                let found = candidates.iter().find(|candidate| root.join(candidate).is_file());
                let found = found.unwrap_or_else(|| panic!("{}: no file for the module {name}", file.display()));
                self.read_file(root, found, path);
            }
        }
    }
}

/// Reads a text file.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

fn folder_of_children(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => folder.to_owned(),
        Some(stem) => folder.join(stem),
    }
}

fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether only tests compile it.
pub fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let argument = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("cfg") && argument.is_ok_and(|argument| argument == "test")
    })
}

/// Every name of a `use`, with the whole path that it is written with.
pub fn names_of(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    let mut names = Vec::new();
    flatten(tree, &mut Vec::new(), &mut names);
    names
}

fn flatten(tree: &UseTree, prefix: &mut Vec<String>, names: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, names);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            names.push((prefix.last().cloned().unwrap_or_default(), prefix.clone()));
        }
        UseTree::Name(name) => names.push((name.ident.to_string(), with(prefix, name.ident.to_string()))),
        UseTree::Rename(rename) if rename.ident == "self" => names.push((rename.rename.to_string(), prefix.clone())),
        UseTree::Rename(rename) => names.push((rename.rename.to_string(), with(prefix, rename.ident.to_string()))),
        UseTree::Glob(_) => names.push(("*".to_owned(), prefix.clone())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, names);
            }
        }
    }
}

fn with(prefix: &[String], name: String) -> Vec<String> {
    prefix.iter().cloned().chain([name]).collect()
}
