//! The canonical form itself: terms, what they are made of, and their order.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use compact_str::CompactString;
use dashu_ratio::RBig;
use smallvec::{SmallVec, smallvec};

use super::digest::Digest;
use super::exponent::Exponent;
use super::numbers;
use crate::expression::Function;
use crate::steps::Stop;

/// Largest size of a compound, counted as a tree. Sharing could make a form exponentially larger as a tree than in
/// memory, and comparing walks the tree.
const MAX_WEIGHT: u32 = 8192;

/// The number that the empty sum is.
static ZERO: RBig = RBig::ZERO;

/// An expression in canonical form: the sum of terms with different monomials, sorted; none of them is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Form {
    pub(crate) terms: SmallVec<[Term; 1]>,
}

/// A rational number other than zero times a monomial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Term {
    // The order of the fields is the order of terms.
    pub(crate) monomial: Monomial,
    pub(crate) coefficient: RBig,
}

/// A product of powers of different atoms, sorted by atom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Monomial {
    pub(crate) factors: SmallVec<[Factor; 2]>,
}

/// An atom to a power other than zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Factor {
    pub(crate) atom: Atom,
    pub(crate) exponent: Exponent,
}

/// The parts that a form does not look into.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Atom {
    /// A prime; its exponent is between 0 and 1, as whole powers are part of the coefficient.
    Prime(u64),
    /// The imaginary unit; its exponent is 1.
    Imaginary,
    Pi,
    Euler,
    /// The natural logarithm of a prime.
    Logarithm(u64),
    Symbol(CompactString),
    /// −1 as the base of a power with an exponent that is not a number; nowhere else.
    MinusOne,
    /// +∞; it stands alone, with the coefficient 1 or −1.
    Infinity,
    Compound(Arc<Compound>),
}

/// An atom that is made of forms. It is shared, as expansion copies it into many terms.
#[derive(Debug)]
pub(crate) struct Compound {
    digest: u64,
    weight: u32,
    constant: bool,
    opaque: bool,
    pub(crate) content: Content,
}

/// The content of a compound.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Content {
    /// A base to an exponent that holds a symbol or an irrational number. The exponent has no coefficient: that is the
    /// exponent of the factor.
    Exponential(Atom, Monomial),
    Call(Function, SmallVec<[Form; 1]>),
    /// The base of a power that is not expanded.
    Base(Form),
}

impl PartialEq for Compound {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.content == other.content
    }
}

impl Eq for Compound {}

impl Hash for Compound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Not the digest: it is the same in every process, so that one could look for compounds that share it, while
        // a hasher may start from a random seed.
        self.content.hash(state);
    }
}

impl PartialOrd for Compound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Compound {
    fn cmp(&self, other: &Self) -> Ordering {
        if std::ptr::eq(self, other) {
            return Ordering::Equal;
        }
        // The digest first, so that different ones are told apart without a walk.
        let by_digest = self.digest.cmp(&other.digest);
        by_digest.then_with(|| self.content.cmp(&other.content))
    }
}

impl Content {
    /// The atom with this content.
    pub(crate) fn into_atom(self) -> Result<Atom, Stop> {
        let (weight, constant, opaque) = match &self {
            Self::Exponential(base, exponent) => (
                base.weight().saturating_add(exponent.weight()),
                base.is_constant() && exponent.is_constant(),
                exponential_is_opaque(base, exponent),
            ),
            Self::Call(function, arguments) => {
                let named = matches!(function, Function::Named(_));
                (
                    arguments
                        .iter()
                        .fold(1, |sum: u32, form| sum.saturating_add(form.weight())),
                    !named && arguments.iter().all(Form::is_constant),
                    !named || arguments.iter().any(Form::is_opaque),
                )
            }
            Self::Base(form) => (form.weight(), form.is_constant(), true),
        };
        if weight > MAX_WEIGHT {
            return Err(Stop::TooLarge);
        }
        let mut digest = Digest::default();
        self.hash(&mut digest);
        Ok(Atom::Compound(Arc::new(Compound {
            digest: digest.finish(),
            weight: weight + 1,
            constant,
            opaque,
            content: self,
        })))
    }
}

/// Whether the power may be related to others by an identity that its form does not show.
fn exponential_is_opaque(base: &Atom, exponent: &Monomial) -> bool {
    // Powers of primes, e and symbols with exponents that are different monomials in the symbols, with algebraic
    // coefficients, are independent functions (Ax, with Baker's theorem for the logarithms of the primes).
    let base_is_plain = matches!(base, Atom::Prime(_) | Atom::Euler | Atom::Symbol(_));
    let plain_in_exponent = |factor: &Factor| match &factor.atom {
        Atom::Prime(_) | Atom::Imaginary | Atom::Symbol(_) => true,
        Atom::Pi => *base == Atom::Euler && factor.exponent.is_one(),
        _ => false,
    };
    !base_is_plain || exponent.is_constant() || !exponent.factors.iter().all(plain_in_exponent)
}

impl Atom {
    /// The base of a power that is not expanded.
    pub(crate) fn base(form: Form) -> Result<Self, Stop> {
        Content::Base(form).into_atom()
    }

    pub(crate) fn weight(&self) -> u32 {
        match self {
            Self::Compound(compound) => compound.weight,
            _ => 1,
        }
    }

    /// Whether it is a number.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Symbol(_) => false,
            Self::Compound(compound) => compound.constant,
            _ => true,
        }
    }

    /// Whether it may equal an expression in other atoms.
    pub(crate) fn is_opaque(&self) -> bool {
        match self {
            Self::Compound(compound) => compound.opaque,
            _ => false,
        }
    }

    /// Whether it is a positive real number, whatever the symbols stand for.
    pub(crate) fn is_positive(&self) -> bool {
        matches!(self, Self::Prime(_) | Self::Pi | Self::Euler | Self::Logarithm(_))
    }

    /// The form under the root or the fraction line, if this is one.
    pub(crate) fn as_base(&self) -> Option<&Form> {
        match self {
            Self::Compound(compound) => match &compound.content {
                Content::Base(form) => Some(form),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Monomial {
    /// One atom to a power.
    pub(crate) fn new(atom: Atom, exponent: Exponent) -> Self {
        if exponent.is_zero() {
            return Self::default();
        }
        Self {
            factors: smallvec![Factor { atom, exponent }],
        }
    }

    pub(crate) fn is_one(&self) -> bool {
        self.factors.is_empty()
    }

    pub(crate) fn is_constant(&self) -> bool {
        self.factors.iter().all(|factor| factor.atom.is_constant())
    }

    pub(crate) fn is_opaque(&self) -> bool {
        self.factors.iter().any(|factor| factor.atom.is_opaque())
    }

    pub(crate) fn weight(&self) -> u32 {
        let add = |sum: u32, factor: &Factor| sum.saturating_add(factor.atom.weight());
        self.factors.iter().fold(1, add)
    }
}

impl Term {
    /// A number other than zero.
    pub(crate) fn number(coefficient: RBig) -> Self {
        Self {
            monomial: Monomial::default(),
            coefficient,
        }
    }

    /// One times a power of an atom.
    pub(crate) fn atom(atom: Atom, exponent: Exponent) -> Self {
        Self {
            monomial: Monomial::new(atom, exponent),
            coefficient: RBig::ONE,
        }
    }

    /// Whether it is a real number of known sign: that of its coefficient.
    pub(crate) fn has_clear_sign(&self) -> bool {
        self.monomial.factors.iter().all(|factor| factor.atom.is_positive())
    }
}

impl Form {
    /// Zero.
    pub fn zero() -> Self {
        Self::default()
    }

    /// A rational number.
    pub fn number(value: RBig) -> Self {
        if value.is_zero() {
            return Self::zero();
        }
        Self::from(Term::number(value))
    }

    pub(crate) fn integer(value: i64) -> Self {
        Self::number(RBig::from(value))
    }

    pub(crate) fn atom(atom: Atom) -> Self {
        Self::from(Term::atom(atom, Exponent::ONE))
    }

    /// Whether it is the number zero.
    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether it is the number one.
    pub fn is_one(&self) -> bool {
        matches!(self.terms.as_slice(), [term] if term.monomial.is_one() && term.coefficient.is_one())
    }

    /// The rational number that it is, if it is one.
    pub fn as_rational(&self) -> Option<&RBig> {
        match self.terms.as_slice() {
            [] => Some(&ZERO),
            [term] if term.monomial.is_one() => Some(&term.coefficient),
            _ => None,
        }
    }

    /// Whether it holds no symbol and no function that nothing is known of.
    pub fn is_constant(&self) -> bool {
        self.terms.iter().all(|term| term.monomial.is_constant())
    }

    /// Whether it is ∞ or −∞.
    pub fn is_infinite(&self) -> bool {
        match self.terms.as_slice() {
            [term] => matches!(term.monomial.factors.as_slice(), [factor] if factor.atom == Atom::Infinity),
            _ => false,
        }
    }

    /// Whether it is made of rational numbers, radicals and i only.
    pub(crate) fn is_algebraic(&self) -> bool {
        let mut factors = self.terms.iter().flat_map(|term| &term.monomial.factors);
        factors.all(|factor| matches!(factor.atom, Atom::Prime(_) | Atom::Imaginary))
    }

    /// Whether a form that looks different may be equal to it.
    pub(crate) fn is_opaque(&self) -> bool {
        self.terms.iter().any(|term| term.monomial.is_opaque())
    }

    /// The sign, if it is a single real term whose sign does not depend on a symbol; zero is `Equal`.
    pub fn clear_sign(&self) -> Option<Ordering> {
        match self.terms.as_slice() {
            [] => Some(Ordering::Equal),
            [term] if term.has_clear_sign() => Some(match numbers::is_negative(&term.coefficient) {
                true => Ordering::Less,
                false => Ordering::Greater,
            }),
            _ => None,
        }
    }

    pub(crate) fn single(&self) -> Option<&Term> {
        match self.terms.as_slice() {
            [term] => Some(term),
            _ => None,
        }
    }

    pub(crate) fn weight(&self) -> u32 {
        let add = |sum: u32, term: &Term| sum.saturating_add(term.monomial.weight());
        self.terms.iter().fold(1, add)
    }

    /// The form with the opposite sign.
    #[must_use]
    pub fn negated(mut self) -> Self {
        for term in &mut self.terms {
            term.coefficient = -std::mem::take(&mut term.coefficient);
        }
        self
    }
}

impl From<Term> for Form {
    fn from(term: Term) -> Self {
        debug_assert!(!term.coefficient.is_zero());
        Self { terms: smallvec![term] }
    }
}
