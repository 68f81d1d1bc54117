//! Functions of libtorch that a training update needs and tch has no binding for; `training.cpp` calls them.

// FFI: pointers to live tensors.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr::null;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use super::call::{checked, owned};

unsafe extern "C" {
    fn anytime_adamw(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        first: *const *const C_tensor,
        second: *const *const C_tensor,
        count: i64,
        step: *const C_tensor,
        gradient_divisor: *const C_tensor,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn anytime_drop_gradient(parameter: *const C_tensor);
    fn anytime_set_gradient(parameter: *const C_tensor, gradient: *const C_tensor) -> *mut c_char;
    fn anytime_backward(output: *const C_tensor, gradient: *const C_tensor) -> *mut c_char;
    fn anytime_product(input: *const C_tensor, weight: *const C_tensor, output: *mut *mut C_tensor) -> *mut c_char;
    fn anytime_training_linear(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn anytime_adapted_linear(
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        a: *const C_tensor,
        b: *const C_tensor,
        scale: f64,
        dropout: f64,
        seed: i64,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
    fn anytime_training_embedding(
        weight: *const C_tensor,
        ids: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> *mut c_char;
}

/// One parameter of an optimiser step with its gradient and moments, all of one shape, kind and device.
#[derive(Debug)]
pub struct AdamWParameter {
    /// Changed in place.
    pub parameter: Tensor,
    /// Read; divided in place where the step has a divisor.
    pub gradient: Tensor,
    /// Moving mean of the gradient, changed in place.
    pub first: Tensor,
    /// Moving mean of its square, changed in place.
    pub second: Tensor,
}

/// The settings of one AdamW step, the same for all parameters.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Which step this is, from 1.
    pub step: u64,
    /// Gradients are divided by it first; 1 leaves them as they are.
    pub gradient_divisor: f64,
    /// The learning rate, which the weight decay is multiplied by too.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// The weight decay, decoupled from the gradient.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

/// One step of AdamW over all parameters, in one pass over memory.
///
/// # Errors
/// libtorch's text: tensors that do not fit each other or are not contiguous. Nothing has been changed then.
pub fn adamw(parameters: &[AdamWParameter], step: AdamWStep) -> Result<(), String> {
    let Some(any) = parameters.first() else {
        return Ok(());
    };
    let device = any.parameter.device();
    let scalar = |value: f32| Tensor::from(value).to_device(device);
    let count = scalar(step.step as f32);
    let divisor = (step.gradient_divisor != 1.0).then(|| scalar(step.gradient_divisor as f32));
    let pointers = |tensor: fn(&AdamWParameter) -> &Tensor| -> Vec<*const C_tensor> {
        parameters.iter().map(|parameter| tensor(parameter).as_ptr()).collect()
    };
    let weights = pointers(|parameter| &parameter.parameter);
    let gradients = pointers(|parameter| &parameter.gradient);
    let first = pointers(|parameter| &parameter.first);
    let second = pointers(|parameter| &parameter.second);
    // SAFETY: the four lists have `parameters.len()` live tensors each, and none of them is kept.
    unsafe {
        checked(anytime_adamw(
            weights.as_ptr(),
            gradients.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            parameters.len() as i64,
            count.as_ptr(),
            divisor.as_ref().map_or(null(), |divisor| divisor.as_ptr()),
            step.learning_rate,
            step.beta1,
            step.beta2,
            step.weight_decay,
            step.epsilon,
        ))
    }
}

/// Makes `gradient`, of the parameter's shape, kind and device, that of the parameter.
pub fn set_gradient(parameter: &Tensor, gradient: &Tensor) {
    // SAFETY: two live tensors. libtorch refuses what does not fit.
    let set = unsafe { checked(anytime_set_gradient(parameter.as_ptr(), gradient.as_ptr())) };
    set.expect("a gradient has the shape of its parameter");
}

/// Takes its gradient from a parameter, and with it the memory of it.
pub fn drop_gradient(parameter: &Tensor) {
    // SAFETY: the parameter lives through the call.
    unsafe { anytime_drop_gradient(parameter.as_ptr()) };
}

/// The largest block that [`super::keep_freed_memory`] keeps, in bytes.
const KEPT_BLOCK: usize = 32 << 20;

/// Clears `gradient`, which is that of `parameter`, for the next update. A small gradient on the CPU is dropped: the
/// next backward pass then writes into memory that the process has kept, and need not read zeros and add to them. Any
/// other is set to zero in place, because allocating its memory again would cost more.
pub fn clear_gradient(parameter: &Tensor, mut gradient: Tensor) {
    let bytes = gradient.numel() * gradient.kind().elt_size_in_bytes();
    if gradient.device() == Device::Cpu && bytes < KEPT_BLOCK {
        drop_gradient(parameter);
    } else {
        let _ = gradient.zero_();
    }
}

/// Runs the backward pass from `output`, whose gradient is `gradient` (of its shape and kind): gradients are added to
/// the leaves' own.
///
/// # Panics
/// Where libtorch refuses: without a graph, with another shape.
pub fn backward(output: &Tensor, gradient: &Tensor) {
    // SAFETY: both tensors live through the call.
    if let Err(problem) = unsafe { checked(anytime_backward(output.as_ptr(), gradient.as_ptr())) } {
        panic!("libtorch: {problem}");
    }
}

/// Whether layers over `weight` go through the functions of this file: on the CPU in f32, where they are faster.
/// Elsewhere libtorch's own layers are as good.
fn takes_own_layers(weight: &Tensor) -> bool {
    weight.device() == Device::Cpu && weight.kind() == Kind::Float
}

/// `input` [rows, inputs] times the transpose of `weight` [outputs, inputs], without a graph.
pub(crate) fn product(input: &Tensor, weight: &Tensor) -> Tensor {
    // SAFETY: the tensors live through the call, and the result is a tensor of its own.
    expected(unsafe { owned(|output| anytime_product(input.as_ptr(), weight.as_ptr(), output)) })
}

/// `input` [rows, inputs] through a linear layer. Where the weight already has a gradient, the backward pass adds to
/// it in place instead of making another one.
pub(crate) fn linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    if !takes_own_layers(weight) || input.dim() != 2 || !weight.requires_grad() {
        return input.linear(weight, bias);
    }
    let bias = bias.map_or(null(), |bias| bias.as_ptr());
    // SAFETY: as above.
    expected(unsafe { owned(|output| anytime_training_linear(input.as_ptr(), weight.as_ptr(), bias, output)) })
}

/// The adapter of a linear layer, as its gradient needs it.
pub(crate) struct LayerAdapter {
    /// [rank, inputs].
    pub(crate) a: Tensor,
    /// [outputs, rank].
    pub(crate) b: Tensor,
    pub(crate) scale: f64,
    /// Share of the inputs that A does not see, below 1.
    pub(crate) dropout: f64,
    /// What it follows from which inputs these are.
    pub(crate) seed: i64,
}

/// `input` [rows, inputs] through a linear layer whose `weight` holds the adapter already. Gradients reach the input and
/// the adapter alone.
pub(crate) fn adapted_linear(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, adapter: &LayerAdapter) -> Tensor {
    let LayerAdapter {
        a,
        b,
        scale,
        dropout,
        seed,
    } = adapter;
    let bias = bias.map_or(null(), |bias| bias.as_ptr());
    let (input, weight, a, b) = (input.as_ptr(), weight.as_ptr(), a.as_ptr(), b.as_ptr());
    // SAFETY: as above.
    expected(unsafe {
        owned(|output| anytime_adapted_linear(input, weight, bias, a, b, *scale, *dropout, *seed, output))
    })
}

/// Rows of `weight` [rows, width] by `ids` `[tokens]` int64. Gradients as in [`linear`].
pub(crate) fn embedding(weight: &Tensor, ids: &Tensor) -> Tensor {
    if !takes_own_layers(weight) || !weight.requires_grad() {
        return Tensor::embedding(weight, ids, -1, false, false);
    }
    // SAFETY: as above.
    expected(unsafe { owned(|output| anytime_training_embedding(weight.as_ptr(), ids.as_ptr(), output)) })
}

fn expected(outcome: Result<Tensor, String>) -> Tensor {
    match outcome {
        Ok(tensor) => tensor,
        Err(problem) => panic!("libtorch: {problem}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gradients of input, weight and bias after two passes, the second on top of the first.
    fn gradients(own: bool, [input, weight, bias, gradient]: &[Tensor; 4]) -> Vec<Tensor> {
        let leaf = |values: &Tensor| values.copy().set_requires_grad(true);
        let (input, weight, bias) = (leaf(input), leaf(weight), leaf(bias));
        for _ in 0..2 {
            let output = match own {
                true => linear(&input, &weight, Some(&bias)),
                false => input.linear(&weight, Some(&bias)),
            };
            backward(&output, gradient);
        }
        vec![input.grad(), weight.grad(), bias.grad()]
    }

    #[test]
    fn linear_layers_have_the_gradients_of_libtorchs() {
        tch::set_num_threads(1);
        // The second weight is large enough for oneDNN.
        for (rows, outputs, inputs) in [(7, 5, 3), (33, 260, 270)] {
            for kind in [Kind::Float, Kind::Double] {
                let sizes: [&[i64]; 4] = [&[rows, inputs], &[outputs, inputs], &[outputs], &[rows, outputs]];
                let values = sizes.map(|size| Tensor::randn(size, (kind, Device::Cpu)));
                let expected = gradients(false, &values);
                for (expected, found) in expected.iter().zip(gradients(true, &values)) {
                    let scale = expected.abs().max().double_value(&[]);
                    let difference = (expected - found).abs().max().double_value(&[]);
                    assert!(
                        difference <= 2e-6 * scale,
                        "{outputs} x {inputs}, {kind:?}: {difference} of {scale}"
                    );
                }
            }
        }
    }

    #[test]
    fn embeddings_add_up_repeated_ids() {
        let weight = Tensor::randn([6, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let ids = Tensor::from_slice(&[1_i64, 3, 1, 1]);
        let expected = Tensor::from_slice(&[0.0_f32, 3.0, 0.0, 1.0, 0.0, 0.0]).unsqueeze(1)
            * Tensor::ones([1, 4], (Kind::Float, Device::Cpu));
        for passes in [1.0, 2.0] {
            let embedded = embedding(&weight, &ids);
            assert!(embedded.equal(&weight.index_select(0, &ids)));
            backward(&embedded, &embedded.ones_like());
            assert!(weight.grad().equal(&(&expected * passes)), "{passes} passes");
        }
    }

    #[test]
    fn a_refused_step_says_why() {
        let tensor = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        let parameter = AdamWParameter {
            parameter: tensor(&[2, 3]).transpose(0, 1),
            gradient: tensor(&[3, 2]),
            first: tensor(&[3, 2]),
            second: tensor(&[3, 2]),
        };
        let step = AdamWStep {
            step: 1,
            gradient_divisor: 1.0,
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 0.0,
            epsilon: 1e-8,
        };
        let problem = adamw(&[parameter], step).unwrap_err();
        assert!(problem.contains("not contiguous"), "{problem}");
    }
}
