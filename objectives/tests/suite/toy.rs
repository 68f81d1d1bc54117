//! A policy small enough to be summed over: a softmax over three tokens (two that think on, one that ends the thinking)
//! in every state of a tree, and scores that are drawn with a probability fixed by problem and prefix.

use anytime_objectives::segment_of_token;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Ends the thinking.
pub(crate) const END: usize = 2;
const TOKENS: usize = 3;
/// How hard each problem is, as a log-odds.
const PROBLEMS: [f64; 2] = [-1.5, 1.0];

/// The policy, and what it is rewarded for.
pub(crate) struct Toy {
    pub(crate) budgets: Vec<u32>,
    pub(crate) prior: Vec<f64>,
    /// Logits, [state·3 + token]; states are the prefixes without an end, in the order of a heap.
    logits: Vec<f64>,
}

/// One trace: its tokens and the probability with which it is right at each budget.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) tokens: Vec<usize>,
    pub(crate) probability: f64,
    pub(crate) right: Vec<f64>,
}

impl Toy {
    pub(crate) fn new(budgets: &[u32], prior: &[f64]) -> Self {
        let states = (1_usize << budgets[budgets.len() - 1]) - 1;
        // Any logits do; these are neither equal nor symmetric.
        let logits = (0..states * TOKENS)
            .map(|index| (index as f64 * 1.7).sin() * 0.6)
            .collect();
        Self {
            budgets: budgets.to_vec(),
            prior: prior.to_vec(),
            logits,
        }
    }

    pub(crate) fn parameters(&self) -> usize {
        self.logits.len()
    }

    /// The segment of the only tokens that a parameter has a part in.
    pub(crate) fn segment_of_parameter(&self, parameter: usize) -> usize {
        let state = parameter / TOKENS;
        let depth = (state + 1).ilog2() as usize;
        segment_of_token(&self.budgets, depth)
    }

    fn policy(&self, state: usize) -> [f64; TOKENS] {
        let of_state = &self.logits[state * TOKENS..(state + 1) * TOKENS];
        let sum: f64 = of_state.iter().map(|logit| logit.exp()).sum();
        [0, 1, 2].map(|token| of_state[token].exp() / sum)
    }

    /// The probability that a summary of this thinking is right. The first token counts most, an end counts nothing.
    fn right(problem: usize, thinking: &[usize]) -> f64 {
        let log_odds: f64 = thinking
            .iter()
            .enumerate()
            .map(|(depth, token)| [-1.0, 1.0, 0.0][*token] * 2.0 / (depth + 1) as f64)
            .sum();
        1.0 / (1.0 + (-PROBLEMS[problem] - log_odds).exp())
    }

    /// Every trace of a problem.
    pub(crate) fn traces(&self, problem: usize) -> Vec<Trace> {
        let largest = self.budgets[self.budgets.len() - 1] as usize;
        let mut open = vec![(Vec::new(), 1.0)];
        let mut complete = Vec::new();
        while let Some((tokens, probability)) = open.pop() {
            if tokens.len() == largest || tokens.last() == Some(&END) {
                let cut = |budget: &u32| tokens.len().min(*budget as usize);
                let right = self
                    .budgets
                    .iter()
                    .map(|budget| Self::right(problem, &tokens[..cut(budget)]))
                    .collect();
                complete.push(Trace {
                    tokens,
                    probability,
                    right,
                });
                continue;
            }
            for (token, share) in self.policy(state_of(&tokens)).into_iter().enumerate() {
                let mut longer = tokens.clone();
                longer.push(token);
                open.push((longer, probability * share));
            }
        }
        complete
    }

    pub(crate) fn problems(&self) -> std::ops::Range<usize> {
        0..PROBLEMS.len()
    }

    /// J_anytime (equation 3), problems being equally likely.
    fn objective(&self) -> f64 {
        let mut sum = 0.0;
        for problem in self.problems() {
            for trace in self.traces(problem) {
                let expected: f64 = trace
                    .right
                    .iter()
                    .zip(&self.prior)
                    .map(|(right, weight)| right * weight)
                    .sum();
                sum += trace.probability * expected / PROBLEMS.len() as f64;
            }
        }
        sum
    }

    /// ∇J_anytime by central differences, which know nothing of policy gradients.
    pub(crate) fn exact_gradient(&self) -> Vec<f64> {
        let step = 1e-4;
        let moved = |parameter: usize, by: f64| {
            let mut logits = self.logits.clone();
            logits[parameter] += by;
            let toy = Self {
                logits,
                budgets: self.budgets.clone(),
                prior: self.prior.clone(),
            };
            toy.objective()
        };
        (0..self.parameters())
            .map(|parameter| (moved(parameter, step) - moved(parameter, -step)) / (2.0 * step))
            .collect()
    }

    /// Adds scale · Σ_t ∇log π(z_t|z_<t) · A[segment of t] to a gradient.
    pub(crate) fn add_gradient(&self, gradient: &mut [f64], trace: &Trace, advantages: &[f64], scale: f64) {
        for (depth, token) in trace.tokens.iter().enumerate() {
            let state = state_of(&trace.tokens[..depth]);
            let advantage = advantages[segment_of_token(&self.budgets, depth)] * scale;
            for (other, share) in self.policy(state).into_iter().enumerate() {
                let is_drawn = if other == *token { 1.0 } else { 0.0 };
                gradient[state * TOKENS + other] += advantage * (is_drawn - share);
            }
        }
    }
}

/// Draws one of these traces.
pub(crate) fn draw<'a>(traces: &'a [Trace], random: &mut ChaCha8Rng) -> &'a Trace {
    let mut left: f64 = random.random();
    for trace in traces {
        left -= trace.probability;
        if left < 0.0 {
            return trace;
        }
    }
    &traces[traces.len() - 1]
}

/// The place of a prefix without an end in a heap.
fn state_of(tokens: &[usize]) -> usize {
    tokens.iter().fold(0, |state, token| 2 * state + 1 + token)
}
