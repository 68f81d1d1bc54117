//! Which file takes which name from which other file of its crate: by `use`, and by paths in the code and in the
//! arguments of macros. A name that a module passes on counts as taken from the file that defines it.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemUse, Macro, Path, Visibility};

use super::sources::{Module, ModulePath, Sources, names_of};

/// One name that a file takes from another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The file that uses the name.
    pub from: String,
    /// The file that defines it.
    pub to: String,
    /// The name as it is defined.
    pub name: String,
}

/// All imports between the files of a crate, each once.
pub fn imports_of(sources: &Sources) -> Vec<Import> {
    let mut imports = Vec::new();
    for (path, module) in &sources.modules {
        let mut finder = Finder {
            sources,
            path,
            module,
            found: Vec::new(),
        };
        for item in &module.items {
            finder.visit_item(item);
        }
        let from = module.file.clone();
        imports.extend(finder.found.into_iter().map(|(to, name)| Import {
            from: from.clone(),
            to,
            name,
        }));
    }
    imports.retain(|import| import.from != import.to);
    imports.sort();
    imports.dedup();
    imports
}

struct Finder<'a> {
    sources: &'a Sources,
    path: &'a ModulePath,
    module: &'a Module,
    /// File and name.
    found: Vec<(String, String)>,
}

impl Finder<'_> {
    fn take(&mut self, written: Vec<String>) {
        let Some(absolute) = absolute(self.sources, self.path, self.module, &written) else {
            return;
        };
        if let Some((module, name)) = resolve(self.sources, &absolute, 0) {
            self.found.push((module.file.clone(), name));
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    /// A `pub use` of names from modules below is no import. A `pub use` of anything else is one.
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let passes_on = !matches!(item.vis, Visibility::Inherited);
        for (_, written) in names_of(&item.tree) {
            let absolute = absolute(self.sources, self.path, self.module, &written);
            if !passes_on || !absolute.is_some_and(|absolute| absolute.starts_with(self.path)) {
                self.take(written);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let written: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if written.len() > 1 {
            self.take(written);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        for written in paths_in(invocation.tokens.clone()) {
            self.take(written);
        }
    }
}

/// Every `a::b` in the arguments of a macro.
fn paths_in(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut current: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    paths.push(std::mem::take(&mut current));
                }
                current.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                paths.push(std::mem::take(&mut current));
                paths.extend(paths_in(group.stream()));
                colons = 0;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                paths.push(std::mem::take(&mut current));
                colons = 0;
            }
        }
    }
    paths.push(current);
    paths.retain(|path| path.len() > 1);
    paths
}

/// The path from the crate's root that a written path means; none where it leads out of the crate.
fn absolute(sources: &Sources, path: &ModulePath, module: &Module, written: &[String]) -> Option<ModulePath> {
    let (first, rest) = written.split_first()?;
    let root: ModulePath = path
        .iter()
        .take(1)
        .filter(|name| name.starts_with('<'))
        .cloned()
        .collect();
    let mut start = match first.as_str() {
        "crate" => root,
        "self" => path.clone(),
        "super" => parent(path),
        name if name == sources.library => ModulePath::new(),
        name => {
            let child: ModulePath = path.iter().cloned().chain([name.to_owned()]).collect();
            if sources.modules.contains_key(&child) {
                child
            } else {
                let (_, target) = module
                    .uses
                    .iter()
                    .find(|(used, target)| used == name && target[..] != *written)?;
                absolute(sources, path, module, target)?
            }
        }
    };
    let mut rest = rest;
    while let Some((next, after)) = rest.split_first()
        && next == "super"
    {
        start = parent(&start);
        rest = after;
    }
    start.extend(rest.iter().cloned());
    Some(start)
}

fn parent(path: &ModulePath) -> ModulePath {
    path[..path.len().saturating_sub(1)].to_vec()
}

/// The module that defines what an absolute path means, and the name in it; none where the path ends at a module that
/// only passes on, or does not lead to anything of this crate.
fn resolve<'a>(sources: &'a Sources, wanted: &[String], depth: usize) -> Option<(&'a Module, String)> {
    // A chain of names passed on that is longer than this runs in a circle.
    const LONGEST_CHAIN: usize = 16;
    if depth > LONGEST_CHAIN {
        return None;
    }
    let length = (0..=wanted.len())
        .rev()
        .find(|length| sources.modules.contains_key(&wanted[..*length]))?;
    let (path, rest) = wanted.split_at(length);
    let module = &sources.modules[path];
    let Some((name, after)) = rest.split_first() else {
        let has_children = sources
            .modules
            .keys()
            .any(|other| other.len() > path.len() && other.starts_with(path));
        return (!has_children).then(|| (module, path.last().cloned().unwrap_or_default()));
    };
    if defines(module, name) {
        return Some((module, name.clone()));
    }
    for (passed, target) in &module.uses {
        if passed != name && passed != "*" {
            continue;
        }
        let mut target = absolute(sources, &path.to_vec(), module, target)?;
        if passed == "*" {
            target.push(name.clone());
        }
        target.extend(after.iter().cloned());
        if let Some(found) = resolve(sources, &target, depth + 1) {
            return Some(found);
        }
    }
    None
}

fn defines(module: &Module, name: &str) -> bool {
    module.items.iter().any(|item| match item {
        Item::Const(item) => item.ident == name,
        Item::Enum(item) => item.ident == name,
        Item::Fn(item) => item.sig.ident == name,
        Item::Static(item) => item.ident == name,
        Item::Struct(item) => item.ident == name,
        Item::Trait(item) => item.ident == name,
        Item::Type(item) => item.ident == name,
        Item::Union(item) => item.ident == name,
        Item::Macro(item) => item.ident.as_ref().is_some_and(|ident| ident == name),
        _ => false,
    })
}
