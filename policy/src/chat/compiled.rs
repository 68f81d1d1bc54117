//! A template as minijinja's instructions, with the checks of `bounds` in it.

use std::collections::BTreeMap;
use std::thread;

use minijinja::machinery::{
    CodeGenerator, Instructions, Token, Vm, WhitespaceConfig, make_string_output, parse, tokenize,
};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error};

use super::bounds::refuse;
use super::rewrite::with_checks;

const NAME: &str = "chat_template";

/// Longer ones are not published: the longest has a thirtieth of this.
const LONGEST_SOURCE: usize = 1 << 20;

/// Words and signs of one tag, as many as `1+1+1+…` may nest expressions.
const MOST_IN_TAG: usize = 10_000;

/// What the parser, the compiler and what drops their trees need for so much nesting. It is taken where it is used.
const STACK: usize = 1 << 28;

const WHITESPACE: WhitespaceConfig = WhitespaceConfig {
    keep_trailing_newline: false,
    lstrip_blocks: true,
    trim_blocks: true,
};

pub(super) struct Compiled {
    instructions: Instructions<'static>,
    blocks: BTreeMap<&'static str, Instructions<'static>>,
}

impl Compiled {
    pub(super) fn new(source: &str) -> Result<Self, Error> {
        if source.len() > LONGEST_SOURCE {
            return Err(refuse(format!("it has more than {LONGEST_SOURCE} bytes")));
        }
        bound_tags(source)?;
        // Instructions borrow the source that they are compiled from; a process compiles the templates of few models.
        let source: &'static str = Box::leak(source.to_owned().into_boxed_str());
        let compiling = thread::Builder::new().stack_size(STACK).spawn(move || compile(source));
        let compiled = compiling.map_err(|error| refuse(format!("it takes a thread to compile: {error}")))?;
        compiled.join().unwrap_or_else(|_| Err(refuse("it cannot be compiled")))
    }

    /// The text that the template makes of the variables.
    pub(super) fn render(&self, environment: &Environment<'static>, variables: Value) -> Result<String, Error> {
        let mut text = String::new();
        let mut output = make_string_output(&mut text);
        let vm = Vm::new(environment);
        vm.eval(
            &self.instructions,
            variables,
            &self.blocks,
            &mut output,
            AutoEscape::None,
        )?;
        drop(output);
        Ok(text)
    }
}

fn compile(source: &'static str) -> Result<Compiled, Error> {
    let tree = parse(source, NAME, Default::default(), WHITESPACE)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&with_checks(&tree));
    let (instructions, blocks) = generator.finish();
    Ok(Compiled { instructions, blocks })
}

/// Refuses a tag that would take too much stack.
fn bound_tags(source: &str) -> Result<(), Error> {
    let mut in_tag = 0;
    for token in tokenize(source, false, Default::default(), WHITESPACE) {
        // The parser says what is wrong with it.
        let Ok((token, span)) = token else { return Ok(()) };
        in_tag = match token {
            Token::VariableStart | Token::BlockStart => 0,
            _ => in_tag + 1,
        };
        if in_tag > MOST_IN_TAG {
            let line = span.start_line;
            return Err(refuse(format!(
                "the tag on line {line} has more than {MOST_IN_TAG} words and signs"
            )));
        }
    }
    Ok(())
}
