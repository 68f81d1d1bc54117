//! Generation: new tokens over the cache, in a call for any rows or as a step that the device takes as a whole.

use tch::Tensor;

use super::{Decoder, Layer};
use crate::attention::attend_cache;
use crate::cache::{KvCache, LayerCache};
use crate::extension::{Extension, ExtensionPlan, as_step};
use crate::operators::elementwise::{HeadNorms, Store, rotate_and_store};
use crate::operators::{first_rows, kernels};
use crate::projection::{HeadProjection, Projection};
use crate::rope::Rotation;
use crate::steps::Step;

/// The new tokens of a pass over the cache, each `[tokens]` int64, and the rows of the cache that they are written to.
struct CacheInputs<'a> {
    ids: &'a Tensor,
    positions: &'a Tensor,
    writes: &'a Tensor,
}

impl Decoder {
    /// Feeds new tokens. The tokens of a row are written to its slot from position `start` on. They see what is
    /// before them in the slot and, in a branch, the tokens of the prefix that it continues. Returns the hidden state
    /// of the last new token of each row after the final normalisation: [rows, hidden].
    ///
    /// Rows of few and of many tokens may be mixed; nothing is padded outside attention. No gradient graph is built.
    ///
    /// # Panics
    /// If there are no rows, a row has no tokens, a slot is named twice or does not exist, or its capacity does not
    /// suffice; if the cache is of another kind or device than the decoder.
    pub fn extend(&self, cache: &mut KvCache, rows: &[Extension<'_>]) -> Tensor {
        let _guard = tch::no_grad_guard();
        if let Some(step) = as_step(&self.config, cache, rows) {
            return self.step(cache, &step);
        }
        let plan = ExtensionPlan::new(&self.config, cache, rows, self.kind(), self.device());
        let (kv_heads, tokens) = (self.config.num_key_value_heads, plan.ids.size()[0]);
        let inputs = CacheInputs {
            ids: &plan.ids,
            positions: &plan.positions,
            writes: &plan.writes,
        };
        let hidden = self.over_cache(&inputs, &mut cache.layers, |queries, layer_cache| {
            attend_cache(queries, layer_cache, &plan, kv_heads, self.is_row_independent)
        });
        let last = match &plan.last {
            Some(last) => hidden.index_select(0, last),
            None => first_rows(hidden, tokens),
        };
        self.normalise(&last, &self.final_norm)
    }

    /// [`Decoder::extend`] by a step.
    fn step(&self, cache: &mut KvCache, step: &Step) -> Tensor {
        let KvCache { layers, recordings, .. } = cache;
        recordings.run(self.number, &step.recordable(), self.device(), |numbers| {
            let plan = step.on_device(numbers);
            let inputs = CacheInputs {
                ids: &plan.ids,
                positions: &plan.positions,
                writes: &plan.writes,
            };
            let hidden = self.over_cache(&inputs, layers, |queries, layer_cache| {
                plan.sequences.attend(queries, layer_cache)
            });
            self.normalise(&hidden.index_select(0, &plan.last), &self.final_norm)
        })
    }

    /// All layers over the cache: the hidden states of the new tokens before the final normalisation, [tokens, hidden].
    /// `attend` takes queries [tokens, heads, head_dim] to [tokens, heads * head_dim] over a layer's cache, which holds
    /// the new tokens by then.
    fn over_cache(
        &self,
        inputs: &CacheInputs<'_>,
        caches: &mut [LayerCache],
        attend: impl Fn(&Tensor, &LayerCache) -> Tensor,
    ) -> Tensor {
        let rotation = self.rope.rotation(inputs.positions);
        let mut hidden = self.filled_up(self.embed(inputs.ids));
        for (layer, cache) in self.layers.iter().zip(caches) {
            let queries = match &layer.heads {
                HeadProjection::Joined(heads) if self.is_fused || cache.has_kernels => {
                    self.store_heads(layer, heads, &hidden, &rotation, cache, inputs)
                }
                _ => {
                    let (queries, keys, values) = self.project_heads(layer, &hidden, &rotation);
                    cache.write(inputs.writes, &keys, &values);
                    queries
                }
            };
            let attended = attend(&queries, cache);
            hidden = if self.adds_in_place {
                let hidden = layer.output.add_onto(hidden, &attended);
                let input = self.normalise(&hidden, &layer.post_attention_norm);
                layer.down.add_onto(hidden, &layer.gated.apply(&input))
            } else {
                self.finish_layer(layer, &hidden, &self.filled_up(attended))
            };
        }
        hidden
    }

    /// Rotated queries [tokens, heads, head_dim]; keys and values go straight into the cache.
    fn store_heads(
        &self,
        layer: &Layer,
        heads: &Projection,
        hidden: &Tensor,
        rotation: &Rotation,
        cache: &LayerCache,
        inputs: &CacheInputs<'_>,
    ) -> Tensor {
        let tokens = inputs.ids.size()[0];
        let input = self.normalise(hidden, &layer.input_norm);
        let projected = self.in_pieces([&input], |[input]| heads.apply(input));
        let projected = first_rows(projected, tokens).view([tokens, -1, self.config.head_dim]);
        let norms = layer.query_key_norm.as_ref().map(|(query, key)| HeadNorms {
            query,
            key,
            epsilon: self.config.rms_norm_eps,
        });
        let (cosine, sine) = rotation.parts();
        let store = Store {
            keys: &cache.keys,
            values: &cache.values,
            rows: inputs.writes,
        };
        let kv_heads = self.config.num_key_value_heads;
        if cache.has_kernels {
            return kernels::rotate_and_store(&projected, norms, cosine, sine, store, kv_heads);
        }
        rotate_and_store(&projected, norms, cosine, sine, store, kv_heads)
    }
}
