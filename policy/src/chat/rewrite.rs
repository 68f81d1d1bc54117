//! Puts checks into a parsed template. minijinja's own operators take whatever memory they are asked for, so that every
//! expression that makes or walks a value is written anew with a filter of `bounds` around it. This also keeps the
//! compiler from computing an expression of constants before any check.

use minijinja::machinery::Span;
use minijinja::machinery::ast::{
    AutoEscape, BinOp, BinOpKind, Block, Call, CallArg, CallBlock, Compare, CompareOp, Const, Do, EmitExpr, Expr,
    Extends, Filter, FilterBlock, ForLoop, FromImport, GetAttr, GetItem, IfCond, IfExpr, Import, Include, List, Macro,
    Map, Set, SetBlock, Slice, Spanned, Stmt, Template, Test, UnaryOp, UnaryOpKind, Var, WithBlock,
};
use minijinja::value::Value;

use super::bounds;

/// Tests that look at the kind of a value only, whatever its size.
const CHEAP_TESTS: [&str; 13] = [
    "defined",
    "undefined",
    "none",
    "string",
    "mapping",
    "number",
    "boolean",
    "true",
    "false",
    "integer",
    "float",
    "odd",
    "even",
];

/// The same template with the checks in it.
pub(super) fn with_checks<'a>(stmt: &Stmt<'a>) -> Stmt<'a> {
    let again = |stmts: &[Stmt<'a>]| -> Vec<Stmt<'a>> { stmts.iter().map(with_checks).collect() };
    match stmt {
        Stmt::Template(node) => {
            let children = again(&node.children);
            Stmt::Template(Spanned::new(Template { children }, node.span()))
        }
        Stmt::EmitExpr(node) => {
            let expr = checked(&node.expr);
            Stmt::EmitExpr(Spanned::new(EmitExpr { expr }, node.span()))
        }
        // What is printed as a value is counted.
        Stmt::EmitRaw(node) => {
            let expr = constant(Value::from_safe_string(node.raw.to_owned()), node.span());
            Stmt::EmitExpr(Spanned::new(EmitExpr { expr }, node.span()))
        }
        Stmt::ForLoop(node) => {
            let rewritten = ForLoop {
                target: plain(&node.target),
                iter: filtered(bounds::USED, checked(&node.iter)),
                filter_expr: node.filter_expr.as_ref().map(checked),
                recursive: node.recursive,
                body: again(&node.body),
                else_body: again(&node.else_body),
            };
            Stmt::ForLoop(Spanned::new(rewritten, node.span()))
        }
        Stmt::IfCond(node) => {
            let rewritten = IfCond {
                expr: checked(&node.expr),
                true_body: again(&node.true_body),
                false_body: again(&node.false_body),
            };
            Stmt::IfCond(Spanned::new(rewritten, node.span()))
        }
        Stmt::WithBlock(node) => {
            let assigned = |(target, value): &(Expr<'a>, Expr<'a>)| (plain(target), checked(value));
            let rewritten = WithBlock {
                assignments: node.assignments.iter().map(assigned).collect(),
                body: again(&node.body),
            };
            Stmt::WithBlock(Spanned::new(rewritten, node.span()))
        }
        Stmt::Set(node) => {
            let value = checked(&node.expr);
            let is_kept = matches!(node.target, Expr::GetAttr(_));
            let rewritten = Set {
                target: plain(&node.target),
                expr: if is_kept { filtered(bounds::KEPT, value) } else { value },
            };
            Stmt::Set(Spanned::new(rewritten, node.span()))
        }
        Stmt::SetBlock(node) => {
            let rewritten = SetBlock {
                target: plain(&node.target),
                filter: node.filter.as_ref().map(checked),
                body: again(&node.body),
            };
            Stmt::SetBlock(Spanned::new(rewritten, node.span()))
        }
        Stmt::AutoEscape(node) => {
            let rewritten = AutoEscape {
                enabled: checked(&node.enabled),
                body: again(&node.body),
            };
            Stmt::AutoEscape(Spanned::new(rewritten, node.span()))
        }
        Stmt::FilterBlock(node) => {
            let rewritten = FilterBlock {
                filter: checked(&node.filter),
                body: again(&node.body),
            };
            Stmt::FilterBlock(Spanned::new(rewritten, node.span()))
        }
        Stmt::Block(node) => {
            let rewritten = Block {
                name: node.name,
                required: node.required,
                body: again(&node.body),
            };
            Stmt::Block(Spanned::new(rewritten, node.span()))
        }
        // There is no second template that these could name.
        Stmt::Import(node) => {
            let (expr, name) = (checked(&node.expr), plain(&node.name));
            Stmt::Import(Spanned::new(Import { expr, name }, node.span()))
        }
        Stmt::FromImport(node) => {
            let named = |(name, alias): &(Expr<'a>, Option<Expr<'a>>)| (plain(name), alias.as_ref().map(plain));
            let rewritten = FromImport {
                expr: checked(&node.expr),
                names: node.names.iter().map(named).collect(),
            };
            Stmt::FromImport(Spanned::new(rewritten, node.span()))
        }
        Stmt::Extends(node) => {
            let name = checked(&node.name);
            Stmt::Extends(Spanned::new(Extends { name }, node.span()))
        }
        Stmt::Include(node) => {
            let (name, ignore_missing) = (checked(&node.name), node.ignore_missing);
            Stmt::Include(Spanned::new(Include { name, ignore_missing }, node.span()))
        }
        Stmt::Macro(node) => Stmt::Macro(definition(node)),
        Stmt::CallBlock(node) => {
            let rewritten = CallBlock {
                call: call(&node.call),
                macro_decl: definition(&node.macro_decl),
            };
            Stmt::CallBlock(Spanned::new(rewritten, node.span()))
        }
        Stmt::Continue(node) => Stmt::Continue(Spanned::new(minijinja::machinery::ast::Continue, node.span())),
        Stmt::Break(node) => Stmt::Break(Spanned::new(minijinja::machinery::ast::Break, node.span())),
        Stmt::Do(node) => Stmt::Do(Spanned::new(Do { call: call(&node.call) }, node.span())),
    }
}

/// A macro. minijinja computes the default of its last parameter first, so that one which names an earlier parameter
/// would not see what that was given: defaults that are no constants become assignments at the head of the body.
fn definition<'a>(node: &Spanned<Macro<'a>>) -> Spanned<Macro<'a>> {
    let mut defaults = Vec::with_capacity(node.defaults.len());
    let mut body = Vec::with_capacity(node.body.len());
    let optional = &node.args[node.args.len().saturating_sub(node.defaults.len())..];
    for (parameter, default) in optional.iter().zip(&node.defaults) {
        match (parameter, default) {
            (_, Expr::Const(_)) => defaults.push(checked(default)),
            (Expr::Var(parameter), _) => {
                defaults.push(constant(Value::UNDEFINED, default.span()));
                body.push(assigned_unless_given(parameter, default));
            }
            _ => defaults.push(checked(default)),
        }
    }
    body.extend(node.body.iter().map(with_checks));
    let rewritten = Macro {
        name: node.name,
        args: node.args.iter().map(plain).collect(),
        defaults,
        body,
    };
    Spanned::new(rewritten, node.span())
}

/// `{% if parameter is undefined %}{% set parameter = default %}{% endif %}`.
fn assigned_unless_given<'a>(parameter: &Spanned<Var<'a>>, default: &Expr<'a>) -> Stmt<'a> {
    let span = default.span();
    let name = || Expr::Var(Spanned::new(Var { id: parameter.id }, span));
    let test = Test {
        name: "undefined",
        expr: name(),
        args: Vec::new(),
    };
    let set = Set {
        target: name(),
        expr: checked(default),
    };
    let condition = IfCond {
        expr: Expr::Test(Spanned::new(test, span)),
        true_body: vec![Stmt::Set(Spanned::new(set, span))],
        false_body: Vec::new(),
    };
    Stmt::IfCond(Spanned::new(condition, span))
}

/// A name, or names, that a value is given to.
fn plain<'a>(target: &Expr<'a>) -> Expr<'a> {
    match target {
        Expr::Var(node) => Expr::Var(Spanned::new(Var { id: node.id }, node.span())),
        Expr::List(node) => {
            let items = node.items.iter().map(plain).collect();
            Expr::List(Spanned::new(List { items }, node.span()))
        }
        Expr::GetAttr(node) => {
            let (expr, name) = (plain(&node.expr), node.name);
            Expr::GetAttr(Spanned::new(GetAttr { expr, name }, node.span()))
        }
        other => checked(other),
    }
}

fn constant<'a>(value: Value, span: Span) -> Expr<'a> {
    Expr::Const(Spanned::new(Const { value }, span))
}

/// `expr|name`.
fn filtered<'a>(name: &'static str, expr: Expr<'a>) -> Expr<'a> {
    let span = expr.span();
    let filter = Filter {
        name,
        expr: Some(expr),
        args: Vec::new(),
    };
    Expr::Filter(Spanned::new(filter, span))
}

fn checked<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::Var(node) => Expr::Var(Spanned::new(Var { id: node.id }, node.span())),
        Expr::Const(node) => constant(node.value.clone(), node.span()),
        Expr::Slice(node) => slice(node),
        Expr::UnaryOp(node) => {
            // It cannot be cloned.
            let op = if matches!(node.op, UnaryOpKind::Not) {
                UnaryOpKind::Not
            } else {
                UnaryOpKind::Neg
            };
            let expr = checked(&node.expr);
            Expr::UnaryOp(Spanned::new(UnaryOp { op, expr }, node.span()))
        }
        Expr::BinOp(node) => operation(node),
        Expr::Compare(node) => {
            let compared = |expr: &Expr<'a>| filtered(bounds::USED, checked(expr));
            let op = |op: &CompareOp<'a>| CompareOp {
                op: op.op,
                expr: compared(&op.expr),
            };
            let rewritten = Compare {
                expr: compared(&node.expr),
                ops: node.ops.iter().map(op).collect(),
            };
            Expr::Compare(Spanned::new(rewritten, node.span()))
        }
        Expr::IfExpr(node) => {
            let rewritten = IfExpr {
                test_expr: checked(&node.test_expr),
                true_expr: checked(&node.true_expr),
                false_expr: node.false_expr.as_ref().map(checked),
            };
            Expr::IfExpr(Spanned::new(rewritten, node.span()))
        }
        Expr::Filter(node) => {
            let subject = node.expr.as_ref();
            let rewritten = Filter {
                name: node.name,
                expr: subject.map(|expr| filtered(bounds::USED, checked(expr))),
                args: arguments(&node.args),
            };
            filtered(bounds::MADE, Expr::Filter(Spanned::new(rewritten, node.span())))
        }
        Expr::Test(node) => {
            let subject = checked(&node.expr);
            let rewritten = Test {
                name: node.name,
                expr: if CHEAP_TESTS.contains(&node.name) {
                    subject
                } else {
                    filtered(bounds::USED, subject)
                },
                args: arguments(&node.args),
            };
            Expr::Test(Spanned::new(rewritten, node.span()))
        }
        Expr::GetAttr(node) => {
            let (expr, name) = (checked(&node.expr), node.name);
            Expr::GetAttr(Spanned::new(GetAttr { expr, name }, node.span()))
        }
        Expr::GetItem(node) => {
            let rewritten = GetItem {
                expr: filtered(bounds::INDEXED, checked(&node.expr)),
                subscript_expr: checked(&node.subscript_expr),
            };
            Expr::GetItem(Spanned::new(rewritten, node.span()))
        }
        Expr::Call(node) => filtered(bounds::MADE, Expr::Call(call(node))),
        Expr::List(node) => {
            let items = node.items.iter().map(checked).collect();
            filtered(bounds::MADE, Expr::List(Spanned::new(List { items }, node.span())))
        }
        Expr::Map(node) => {
            let keys = node.keys.iter().map(checked).collect();
            let values = node.values.iter().map(checked).collect();
            filtered(bounds::MADE, Expr::Map(Spanned::new(Map { keys, values }, node.span())))
        }
    }
}

/// `left op right`. The left side is remembered until the right side is there, which looks at both before the operator
/// does.
fn operation<'a>(node: &Spanned<BinOp<'a>>) -> Expr<'a> {
    let (left, right) = (checked(&node.left), checked(&node.right));
    let (left, right) = match node.op {
        // Both sides become texts as Python writes them.
        BinOpKind::Concat => {
            let text = |expr: Expr<'a>| filtered(bounds::MADE, filtered("string", filtered(bounds::USED, expr)));
            (filtered(bounds::LEFT, text(left)), filtered(bounds::ADDED, text(right)))
        }
        BinOpKind::Add => (filtered(bounds::LEFT, left), filtered(bounds::ADDED, right)),
        BinOpKind::Mul => (filtered(bounds::LEFT, left), filtered(bounds::FACTOR, right)),
        BinOpKind::ScAnd | BinOpKind::ScOr => (left, right),
        _ => (filtered(bounds::USED, left), filtered(bounds::USED, right)),
    };
    let op = node.op;
    let rewritten = Expr::BinOp(Spanned::new(BinOp { op, left, right }, node.span()));
    match op {
        BinOpKind::Add | BinOpKind::Mul => filtered(bounds::MADE, rewritten),
        _ => rewritten,
    }
}

/// `expr[start:stop:step]`, which minijinja computes otherwise than Python where it runs backwards.
fn slice<'a>(node: &Spanned<Slice<'a>>) -> Expr<'a> {
    let bound = |bound: &Option<Expr<'a>>| {
        CallArg::Pos(match bound {
            Some(expr) => checked(expr),
            None => constant(Value::from(()), node.span()),
        })
    };
    let rewritten = Filter {
        name: bounds::SLICE,
        expr: Some(filtered(bounds::USED, checked(&node.expr))),
        args: vec![bound(&node.start), bound(&node.stop), bound(&node.step)],
    };
    filtered(bounds::MADE, Expr::Filter(Spanned::new(rewritten, node.span())))
}

/// A call. What is called keeps its form, by which minijinja tells a function from a method.
fn call<'a>(node: &Spanned<Call<'a>>) -> Spanned<Call<'a>> {
    let called = match &node.expr {
        Expr::GetAttr(attribute) if !matches!(&attribute.expr, Expr::Var(var) if var.id == "self") => {
            let rewritten = GetAttr {
                expr: filtered(bounds::USED, checked(&attribute.expr)),
                name: attribute.name,
            };
            Expr::GetAttr(Spanned::new(rewritten, attribute.span()))
        }
        other => checked(other),
    };
    let rewritten = Call {
        expr: called,
        args: arguments(&node.args),
    };
    Spanned::new(rewritten, node.span())
}

fn arguments<'a>(arguments: &[CallArg<'a>]) -> Vec<CallArg<'a>> {
    let again = |argument: &CallArg<'a>| match argument {
        CallArg::Pos(expr) => CallArg::Pos(checked(expr)),
        CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, checked(expr)),
        CallArg::PosSplat(expr) => CallArg::PosSplat(filtered(bounds::USED, checked(expr))),
        CallArg::KwargSplat(expr) => CallArg::KwargSplat(filtered(bounds::USED, checked(expr))),
    };
    arguments.iter().map(again).collect()
}
