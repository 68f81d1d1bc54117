//! The texts of all refusals, as the sources have them: what is handed to the makers of errors that a user reads.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprStruct, Item, Lit, Member, Pat, Stmt};

use crate::rooms::sources::{Sources, is_for_tests};

/// One text, with `{…}` where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusalText {
    /// The file that it is in.
    pub file: String,
    /// The text as written.
    pub text: String,
}

/// Makers of refusals: type, function, how many arguments come before the text.
const MAKERS: [(&str, &str, usize); 5] = [
    ("ExitError", "configuration", 0),
    ("ExitError", "data", 0),
    ("InvalidSetting", "new", 2),
    ("InvalidSetting", "missing", 1),
    ("InvalidSetting", "because", 1),
];

/// Errors that are written as structures, and their fields that hold text.
const STRUCTURES: [(&str, &[&str]); 2] = [
    ("InvalidSetting", &["reason"]),
    ("PolicyError", &["problem", "allowed"]),
];

/// Enumerations whose `#[error("…")]` a user reads behind the name of a setting.
const ENUMERATIONS: [&str; 1] = ["PolicyError"];

/// Texts with fewer letters than this say nothing of their own: `{name}: {error}`.
const FEWEST_LETTERS: usize = 8;

/// The texts of a crate, each once, in order.
pub fn texts_of(sources: &Sources) -> Vec<RefusalText> {
    let mut found = Vec::new();
    for module in sources.modules.values() {
        let mut finder = Finder {
            scope: Vec::new(),
            found: Vec::new(),
        };
        for item in &module.items {
            finder.visit_item(item);
        }
        let texts = finder.found.into_iter().filter(|text| letters(text) >= FEWEST_LETTERS);
        found.extend(texts.map(|text| RefusalText {
            file: module.file.clone(),
            text,
        }));
    }
    found.sort();
    found.dedup();
    found
}

/// The parts of a text between its values: `{path} is missing` has ` is missing`.
pub fn fixed_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = parts.last_mut().expect("never empty");
        match character {
            '{' | '}' if characters.peek() == Some(&character) => {
                characters.next();
                last.push(character);
            }
            '{' => {
                while characters.next().is_some_and(|inner| inner != '}') {}
                parts.push(String::new());
            }
            other => last.push(other),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn letters(text: &str) -> usize {
    let parts = fixed_parts(text);
    parts
        .iter()
        .flat_map(|part| part.chars())
        .filter(|c| c.is_alphabetic())
        .count()
}

/// Collects the texts of one module.
struct Finder<'ast> {
    /// The `let`s of the functions around, innermost last.
    scope: Vec<Vec<(String, &'ast Expr)>>,
    found: Vec<String>,
}

impl<'ast> Finder<'ast> {
    fn take_text(&mut self, expression: &'ast Expr) {
        let mut texts = Texts {
            finder: self,
            depth: 0,
            found: Vec::new(),
        };
        texts.visit_expr(expression);
        let found = texts.found;
        self.found.extend(found);
    }

    fn local(&self, name: &str) -> Vec<&'ast Expr> {
        let all = self.scope.iter().flatten();
        all.filter(|(known, _)| known == name)
            .map(|(_, value)| *value)
            .collect()
    }

    fn with_block(&mut self, block: &'ast syn::Block, visit: impl FnOnce(&mut Self)) {
        let mut locals = Locals(Vec::new());
        locals.visit_block(block);
        self.scope.push(locals.0);
        visit(self);
        self.scope.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'ast> {
    fn visit_item(&mut self, item: &'ast Item) {
        if let Item::Enum(item) = item
            && ENUMERATIONS.iter().any(|name| item.ident == name)
        {
            let attributes = item.variants.iter().flat_map(|variant| &variant.attrs);
            for attribute in attributes.filter(|attribute| attribute.path().is_ident("error")) {
                if let syn::Meta::List(list) = &attribute.meta {
                    self.found.extend(first_literal(list.tokens.clone()));
                }
            }
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.with_block(&item.block, |finder| visit::visit_item_fn(finder, item));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            self.with_block(&item.block, |finder| visit::visit_impl_item_fn(finder, item));
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(path) = call.func.as_ref() {
            let names: Vec<String> = path.path.segments.iter().map(|part| part.ident.to_string()).collect();
            for (maker, function, before) in MAKERS {
                if names.ends_with(&[maker.to_owned(), function.to_owned()]) {
                    for argument in call.args.iter().skip(before) {
                        self.take_text(argument);
                    }
                }
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_struct(&mut self, made: &'ast ExprStruct) {
        let names: Vec<String> = made.path.segments.iter().map(|part| part.ident.to_string()).collect();
        for (structure, fields) in STRUCTURES {
            if names.iter().any(|name| name == structure) {
                for field in &made.fields {
                    if matches!(&field.member, Member::Named(name) if fields.iter().any(|field| name == field)) {
                        self.take_text(&field.expr);
                    }
                }
            }
        }
        visit::visit_expr_struct(self, made);
    }
}

/// The `let`s of a block and of the blocks in it.
struct Locals<'ast>(Vec<(String, &'ast Expr)>);

impl<'ast> Visit<'ast> for Locals<'ast> {
    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Local(local) = statement
            && let Some(value) = &local.init
        {
            let pattern = match &local.pat {
                Pat::Type(typed) => typed.pat.as_ref(),
                pattern => pattern,
            };
            if let Pat::Ident(name) = pattern {
                self.0.push((name.ident.to_string(), value.expr.as_ref()));
            }
        }
        visit::visit_stmt(self, statement);
    }
}

/// The literals of an expression that becomes a text, through the `let`s that it names.
struct Texts<'a, 'ast> {
    finder: &'a Finder<'ast>,
    depth: usize,
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Texts<'_, 'ast> {
    fn visit_expr_lit(&mut self, literal: &'ast syn::ExprLit) {
        if let Lit::Str(text) = &literal.lit {
            self.found.push(text.value());
        }
    }

    fn visit_expr_macro(&mut self, called: &'ast syn::ExprMacro) {
        if called.mac.path.is_ident("format") {
            self.found.extend(first_literal(called.mac.tokens.clone()));
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        // Deeper than this nothing is named in these sources, and a name may stand for itself.
        if let Some(name) = path.path.get_ident()
            && self.depth < 3
        {
            self.depth += 1;
            for value in self.finder.local(&name.to_string()) {
                self.visit_expr(value);
            }
            self.depth -= 1;
        }
    }

    // `.expect("…")` and `.context("…")` say something else.
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
    }
}

/// The first text among the tokens of a macro's arguments.
fn first_literal(tokens: TokenStream) -> Option<String> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Literal(literal) => match syn::parse_str::<Lit>(&literal.to_string()) {
            Ok(Lit::Str(text)) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}
