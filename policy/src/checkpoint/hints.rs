//! What may be the cause of a tensor that is missing or has no place.

use crate::config::ModelConfig;

/// The hint for a missing head.
pub(super) const NO_HEAD: &str = "; tie_word_embeddings in config.json does not tie it to the embedding: set that to \
                                  true if the model has no head of its own";

/// The hint for an unexpected tensor: the end of a sentence, or nothing.
pub(super) fn unexpected(config: &ModelConfig, name: &str, is_expected: impl Fn(&str) -> bool) -> String {
    if name.contains(".lora_") {
        return "; adapters are read from a directory of their own, with their adapter_config.json".to_owned();
    }
    if is_expected(&format!("model.{name}")) {
        return "; it lacks the prefix \"model.\": save the model as AutoModelForCausalLM, with its head".to_owned();
    }
    let without_wrapper = name.replace("_orig_mod.", "");
    let prefix = name
        .match_indices('.')
        .map(|(dot, _)| &name[..=dot])
        .find(|prefix| is_expected(&name[prefix.len()..]));
    match prefix {
        Some(prefix) => {
            return format!("; without the prefix {prefix:?} it would: save the model that the wrapper holds");
        }
        None if without_wrapper != name && is_expected(&without_wrapper) => {
            return "; without \"_orig_mod.\" it would: save the model that torch.compile holds".to_owned();
        }
        None => {}
    }
    let layer = name
        .strip_prefix("model.layers.")
        .and_then(|rest| rest.split('.').next()?.parse().ok());
    if layer.is_some_and(|layer: usize| layer >= config.num_hidden_layers) {
        return format!("; num_hidden_layers in config.json is {}", config.num_hidden_layers);
    }
    if name.contains(".self_attn.") && name.ends_with("_proj.bias") && !config.attention_bias {
        return "; attention_bias in config.json is not true".to_owned();
    }
    String::new()
}
